"""How well `sam_nano` segments what it is pointed at: `python -m bench.sam.evaluate [FOLDER ...]`.

Every object is prompted once with its tight box and once with one click at its innermost point;
reported is the mean over objects of the IoU at the resolution of the model's input. For a click,
the mask that the model itself judges best of its three is taken, as SAM does.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from torch import Tensor

from bench.data.bank import resize_image
from bench.data.decode import decode, read_instances
from bench.data.folder.read import read_folder
from bench.errors import UserError
from bench.sam.build import load_sam
from bench.sam.decoder import predict_masks
from bench.sam.nano.corpus import make_scene
from bench.sam.nano.pretrain import SIZE, normalise
from bench.sam.prompts import nearest, object_prompts
from bench.spec import Task

Scene = tuple[np.ndarray, np.ndarray]  # image (S, S, 3) uint8, instances (S, S)
HELD_OUT_SEED = 1_000_003  # no training run uses it


def held_out(count: int) -> Iterator[Scene]:
    """Procedural scenes that no training saw."""
    for index in range(count):
        yield make_scene(np.random.default_rng((HELD_OUT_SEED, index)), SIZE)


def labelled(folder: Path) -> Iterator[Scene]:
    """Images and instances of the test part of a folder (all of it where there is no split)."""
    collection = read_folder(folder)
    names = (collection.official or {}).get("test")
    for item in collection.items:
        if names is not None and item.name not in names:
            continue
        if item.instances is None:
            raise UserError(f"{folder} has no instances: give a folder with instances/<id>.png")
        image, _ = decode(item, collection)
        yield resize_image(image, SIZE), nearest(read_instances(item.instances), SIZE)


@torch.no_grad()
def prompted_iou(sam: Sam, scenes: Iterable[Scene], chunk: int = 64) -> dict[str, Tensor]:
    """IoU of every object, prompted by box and by click; name to (objects,) in [0, 1].

    Also "oracle click": the best of the three masks by the truth, the ambiguity taken away.
    """
    found: dict[str, list[Tensor]] = {"box": [], "click": [], "oracle click": []}
    for image, instances in scenes:
        boxes, clicks, numbers = object_prompts(instances)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        embedding = sam.image_encoder(normalise(pixels))
        truth = torch.from_numpy(instances.astype(np.int64))[None] == numbers[:, None, None]
        for part in torch.arange(len(numbers)).split(chunk):
            by_box, _ = _masks(sam, embedding, sam.prompt_encoder(None, boxes[part], None))
            positive = torch.ones(len(part), 1, dtype=torch.int)
            click = sam.prompt_encoder((clicks[part][:, None], positive), None, None)
            by_click, quality = _masks(sam, embedding, click)
            found["box"].append(_iou(by_box[:, 0], truth[part]))
            three = torch.stack([_iou(by_click[:, i], truth[part]) for i in (1, 2, 3)], dim=1)
            judged = quality[:, 1:].argmax(1, keepdim=True)
            found["click"].append(three.gather(1, judged)[:, 0])
            found["oracle click"].append(three.amax(1))
    return {name: torch.cat(values) for name, values in found.items()}


def _masks(sam: Sam, embedding: Tensor, prompt: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    sparse, dense = prompt
    source = embedding.expand(len(sparse), -1, -1, -1)
    positions = sam.prompt_encoder.get_dense_pe()
    logits, quality = predict_masks(sam.mask_decoder, source, positions, sparse, dense)
    full = F.interpolate(logits, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return full > 0, quality


def _iou(masks: Tensor, truth: Tensor) -> Tensor:
    return (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2)).clamp(min=1)


def main(arguments: list[str] | None = None) -> int:
    """Print one line a set of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="*", type=Path, help="folders with instances/")
    parser.add_argument("--checkpoint", default="pretrained", help="weights other than the shipped")
    parser.add_argument("--scenes", type=int, default=200, help="procedural scenes held out")
    asked = parser.parse_args(arguments)
    try:
        sam = load_sam(Task(2, SIZE, "sam_nano", asked.checkpoint)).eval()
        sets = {"procedural, held out": held_out(asked.scenes)}
        sets |= {folder.name: labelled(folder) for folder in asked.folders}
        for name, scenes in sets.items():
            found = prompted_iou(sam, scenes)
            values = ", ".join(f"{key} {value.mean():.3f}" for key, value in found.items())
            print(f"{name}: mean IoU over {len(found['box'])} objects: {values}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
