"""How well `sam_nano` segments what it is pointed at: `python -m bench.sam.nano.evaluate`.

Every object is prompted once with its tight box and once with one click at its innermost point;
reported is the mean over objects of the IoU at the resolution of the model's input, for all and by
the longer side of the box. For a click, the mask that the model itself judges best of its three is
taken, as SAM does; "click, single" takes the mask that SAM keeps for unambiguous prompts instead.
Two rows need no model: the ellipse inscribed in the tight box, and that box filled.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from torch import Tensor

from bench.data.decode import decode
from bench.data.fit import resize_image
from bench.data.folder.read import read_folder
from bench.data.masks import read_instances
from bench.errors import UserError
from bench.sam.build import load_sam
from bench.sam.decoder import predict_masks
from bench.sam.nano.corpus import make_scene, renumber
from bench.sam.nano.domains import make_domain_scene
from bench.sam.nano.objective import normalise
from bench.sam.nano.plan import SIZE
from bench.sam.prompts import nearest, object_prompts
from bench.spec import Task

Scene = tuple[np.ndarray, np.ndarray]  # image (S, S, 3) uint8, instances (S, S)
HELD_OUT_SEED = 1_000_003  # no training run uses it
CLASSES = (0, 12, 24, 48, SIZE + 1)  # px, bounds of the longer side of the box
WATCHED_SCENES, WATCHED_TILES = 64, 48  # of each kind and of each folder, along a training


def held_out(count: int, side: int = SIZE, domains: bool = False) -> Iterator[Scene]:
    """Yield procedural scenes that no training uses (`HELD_OUT_SEED`); the same in every call.

    More scenes begin with the same ones.

    Args:
        count: number of scenes.
        side: S in pixels.
        domains: scenes that resemble micrographs (`make_domain_scene`) instead of `make_scene`.
    """
    make = make_domain_scene if domains else make_scene
    for index in range(count):
        yield make(np.random.default_rng((HELD_OUT_SEED, index)), side)


def labelled(folder: Path, part: str = "test") -> Iterator[Scene]:
    """Yield images and instances of one part of a labelled folder, resized to `SIZE` px.

    Args:
        folder: with images/, masks/ and instances/.
        part: "train", "val" or "test" of its split; without a split all images are yielded.

    Raises:
        UserError: the folder or a file cannot be read, its split does not have this part, or an
            image has no instances. It is raised when images are taken from the iterator.
    """
    collection = read_folder(folder)
    names = [item.name for item in collection.items]
    if collection.official is not None:
        names = list(collection.official.get(part, ()))
    if not names:
        raise UserError(
            f"the split of {folder} has no images in the part '{part}': add images to this part, or"
            " remove the file of the split to use all images"
        )
    for item in collection.items:
        if item.name not in names:
            continue
        if item.instances is None:
            raise UserError(f"{folder} has no instances: give a folder with instances/<id>.png")
        image, _ = decode(item, collection)
        yield resize_image(image, SIZE), nearest(read_instances(item.instances), SIZE)


def tiles(scenes: Iterable[Scene], side: int) -> Iterator[Scene]:
    """Cut scenes into squares without overlap, at the same resolution.

    A part of an object that a cut leaves is an object if it has at least `MIN_AREA` pixels. Squares
    without objects are left out.

    Args:
        scenes: images (S, S, 3) and instances (S, S).
        side: side of the squares in pixels; a rest at the right and at the bottom is left out.
    """
    for image, instances in scenes:
        for top in range(0, len(image) - side + 1, side):
            for left in range(0, len(image) - side + 1, side):
                window = slice(top, top + side), slice(left, left + side)
                _, flat = np.unique(instances[window], return_inverse=True)
                objects = flat.reshape(side, side).astype(np.int32)
                if instances[window].all():
                    objects += 1  # no background: np.unique took an object for it
                objects = renumber(objects)
                if objects.max():
                    yield image[window], objects


@torch.no_grad()
def prompted_iou(sam: Sam, scenes: Iterable[Scene], chunk: int = 64) -> dict[str, Tensor]:
    """Prompt every object by its tight box and by one click, and compute the IoU of the masks.

    Args:
        sam: in evaluation mode, on the CPU.
        scenes: one or more, images (S, S, 3) uint8 and instances (S, S), at the side of the model's
            input.
        chunk: number of prompts that are decoded at once.

    Returns:
        Name to a tensor (objects,). In [0, 1] are the IoU of "box", "click" (the mask of three that
        the model rates best), "click, single" (SAM's mask for unambiguous prompts), "oracle click"
        (the mask of three with the highest true IoU), "ellipse" and "filled box" (see
        `box_shapes`). "side" is the longer side of the object's box in pixels.
    """
    names = ("box", "click", "click, single", "oracle click", "ellipse", "filled box", "side")
    values: dict[str, list[Tensor]] = {name: [] for name in names}
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
            four = torch.stack([_iou(by_click[:, i], truth[part]) for i in range(4)], dim=1)
            judged = quality[:, 1:].argmax(1, keepdim=True) + 1
            values["box"].append(_iou(by_box[:, 0], truth[part]))
            values["click"].append(four.gather(1, judged)[:, 0])
            values["click, single"].append(four[:, 0])
            values["oracle click"].append(four[:, 1:].amax(1))
            for name, shapes in box_shapes(boxes[part], len(image)).items():
                values[name].append(_iou(shapes, truth[part]))
        values["side"].append((boxes[:, 2:] - boxes[:, :2]).amax(1))
    return {name: torch.cat(parts) for name, parts in values.items()}


def box_shapes(boxes: Tensor, side: int) -> dict[str, Tensor]:
    """Two masks for each box, made without a model; a pixel is inside if its centre is.

    Args:
        boxes: (n, 4) x0 y0 x1 y1 in pixels.
        side: side of the masks in pixels.

    Returns:
        "ellipse" (inscribed in the box) and "filled box", each (n, side, side) bool.
    """
    at = torch.arange(side) + 0.5
    middle, radius = (boxes[:, 2:] + boxes[:, :2]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    away = (at - middle[..., None]) / radius[..., None]  # (n, 2, side): x, y
    x, y = away[:, 0, None, :], away[:, 1, :, None]
    return {"ellipse": x**2 + y**2 <= 1, "filled box": (x.abs() <= 1) & (y.abs() <= 1)}


def _masks(sam: Sam, embedding: Tensor, prompt: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    sparse, dense = prompt
    source = embedding.expand(len(sparse), -1, -1, -1)
    positions = sam.prompt_encoder.get_dense_pe()
    logits, quality = predict_masks(sam.mask_decoder, source, positions, sparse, dense)
    side = sam.image_encoder.img_size
    full = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
    return full > 0, quality


def _iou(masks: Tensor, truth: Tensor) -> Tensor:
    return (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2)).clamp(min=1)


def by_size(values: dict[str, Tensor]) -> pd.DataFrame:
    """Mean IoU of all objects and of each class of sizes.

    Args:
        values: result of `prompted_iou`.

    Returns:
        One row for all objects and one for each class of the longer side of the box (`CLASSES`);
        the column "objects" has their number, the other columns the mean for each other name of
        `values`, NaN if the class has no objects.
    """
    table = pd.DataFrame({name: value.numpy() for name, value in values.items()})
    bounds = list(pairwise(CLASSES))
    names = ["all", *(f"{low} to {high - 1} px" for low, high in bounds)]
    sides = table.pop("side")
    chosen = [sides >= 0, *((sides >= low) & (sides < high) for low, high in bounds)]
    rows = [table[rows].mean() for rows in chosen]
    means = pd.DataFrame(rows, index=pd.Index(names, name="longer side"))
    means.insert(0, "objects", [int(rows.sum()) for rows in chosen])
    return means


@cache
def watch_scenes(side: int, folders: tuple[Path, ...]) -> dict[str, list[Scene]]:
    """The images on which `sam_nano` is evaluated during its training.

    They are kept in memory: a second call with equal arguments returns the same object.

    Args:
        side: side of the images in pixels.
        folders: labelled folders, each of another name; the first `WATCHED_TILES` tiles of the
            validation part are used, or of all images if the folder has no split.

    Returns:
        "procedural" and "domains" (scenes that resemble micrographs), `WATCHED_SCENES` each, and
        the name of each folder, to images and instances.

    Raises:
        UserError: a folder cannot be read, or has no instances or an empty validation part.
    """
    sets = {
        "procedural": list(held_out(WATCHED_SCENES, side)),
        "domains": list(held_out(WATCHED_SCENES, side, domains=True)),
    }
    for folder in folders:
        sets[folder.name] = list(islice(tiles(labelled(folder, "val"), side), WATCHED_TILES))
    return sets


def watched_iou(sam: Sam, sets: dict[str, list[Scene]]) -> dict[str, float]:
    """Mean IoU of each set of images by each kind of prompt.

    Args:
        sam: in evaluation mode, on the CPU.
        sets: result of `watch_scenes`; none may be empty.

    Returns:
        "<set> <prompt>", with the prompts "box", "click" and "click, single", to the mean IoU in
        [0, 1], rounded to four digits.
    """
    return {
        f"{name} {kind}": round(float(value.mean()), 4)
        for name, scenes in sets.items()
        for kind, value in prompted_iou(sam, scenes).items()
        if kind in ("box", "click", "click, single")
    }


def main(arguments: list[str] | None = None) -> int:
    """Print one table for each set of images.

    Args:
        arguments: words of the command line; None for those of this process.

    Returns:
        The exit code: 0, or 2 for a mistake of the user, after a message on stderr.

    Raises:
        SystemExit: the words are not options of this command, or ask for help.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="*", type=Path, help="folders with instances/")
    parser.add_argument("--checkpoint", default="pretrained", help="weights other than the shipped")
    parser.add_argument("--scenes", type=int, default=200, help="held-out procedural scenes")
    options = parser.parse_args(arguments)
    try:
        sam = load_sam(Task(2, SIZE, "sam_nano", options.checkpoint)).eval()
        sets = {"procedural, held out": held_out(options.scenes)}
        # Micrographs are crowded: a quarter of the scenes holds as many objects.
        sets["resembling micrographs, held out"] = held_out(options.scenes // 4, domains=True)
        sets |= {folder.name: labelled(folder) for folder in options.folders}
        for name, scenes in sets.items():
            table = by_size(prompted_iou(sam, scenes))
            digits = ("", ".0f", *[".3f"] * (table.shape[1] - 1))
            print(f"{name}: mean IoU\n{table.to_markdown(floatfmt=digits)}\n", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
