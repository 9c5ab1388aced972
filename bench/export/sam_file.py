"""The file of a prompted model that `segment_anything` loads."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor

from bench.export.plain_sam import SamSizes
from bench.sam.prompts import Prompts
from bench.spec import Task

HEADER = "header.json"
# `segment_anything.sam_model_registry` builds these, for images of 1024 px only.
REGISTRY = {"sam_vit_b": "vit_b", "sam_vit_l": "vit_l", "sam_vit_h": "vit_h"}
REGISTRY_SIDE = 1024


def how_to_build(task: Task) -> dict[str, str]:
    """The entries of the header that say how to build the SAM of the file without this project.

    Returns:
        "registry": name in `segment_anything`'s registry, "" if its sizes are not there;
        "modeling_arguments": all sizes as JSON.

    Raises:
        UnsupportedError: as `SamSizes.of`.
    """
    name = REGISTRY.get(task.backbone) if task.image_size == REGISTRY_SIDE else None
    return {
        "registry": name or "",
        "modeling_arguments": json.dumps(asdict(SamSizes.of(task))),
    }


def write_sam(sam: Sam, path: Path, header: Mapping[str, str]) -> None:
    """Write the tensors as `torch.save` does, and the header as a record of the same archive.

    `torch.load` ignores the record; `zipfile` reads it without torch.

    Args:
        sam: the model.
        path: of the file, which is replaced.
        header: name to text.
    """
    torch.save(sam.state_dict(), path)
    with zipfile.ZipFile(path, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{folder}/{HEADER}", json.dumps(header, indent=1))


def predictor_masks(
    sam: Sam, image: npt.NDArray[np.uint8], prompts: Prompts, several: bool, points: bool
) -> tuple[Tensor, Tensor]:
    """Predict the first prompt of an image with `SamPredictor`.

    Args:
        sam: the model.
        image: (S, S, 3) uint8 RGB.
        prompts: of one image.
        several: whether to return three masks instead of one.
        points: use the clicks of the prompt, not its box.

    Returns:
        Mask logits (M, h, w) and predicted IoU (M,); M is 3 if `several`, otherwise 1.
    """
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    clicks = prompts.clicks[0][0].numpy()
    prompt = (
        {"point_coords": clicks, "point_labels": np.ones(len(clicks), int)}
        if points
        else {"box": prompts.boxes[0][0].numpy()}
    )
    _, quality, masks = predictor.predict(**prompt, multimask_output=several, return_logits=True)
    return torch.from_numpy(masks), torch.from_numpy(quality)
