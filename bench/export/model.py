"""Export a kept model to a format of another library, checked against the model itself."""

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.data.fit import FITS
from bench.errors import UnsupportedError, UserError
from bench.export.agreement import check_images, largest_difference, require_agreement, to_unit
from bench.export.onnx_file import onnx_difference, onnx_program, write_onnx
from bench.export.peft_adapter import adapter_difference, base_sam, lora_layers, write_adapter
from bench.export.peft_tuner import has_tuner, tuner_base, write_tuner
from bench.export.plain_sam import merged_copy, plain_sam, prompted_difference
from bench.export.sam_file import HEADER, how_to_build, predictor_masks, write_sam
from bench.export.transformers_sam import (
    load_transformers_sam,
    transformers_masks,
    transformers_sam,
)
from bench.files import (
    atomic_path,
    file_sha256,
    new_folder,
    remove_leftovers_of,
    write_atomic,
)
from bench.predict.model import KeptModel
from bench.sam.prompts import Prompts
from bench.sam.segmenter import SamSegmenter

# Formats, each with the largest allowed difference of its outputs, as a part of the largest output.
LIMITS = {"sam": 1e-4, "transformers": 1e-4, "peft": 1e-5, "onnx": 1e-5, "merged": 1e-5}
FOLDERS = ("transformers", "peft")  # formats of several files
SQUARES = (
    "images were resized to squares of {side} px in training, but {library} resizes the longer"
    " side and pads the other: resize images to {side} x {side} px before, or use predict"
)
PADDED = (
    "images were resized and padded in training as {library} does it: give it images of any size"
)
STRETCH = "the method stretches the values of each image to 0 to 255: do this before"


@dataclass(frozen=True)
class Export:
    """A written export.

    Attributes:
        path: of the file or folder.
        difference: largest difference of its outputs and the model's, see `largest_difference`.
        notes: what a user of the file must know, in sentences without a full stop.
    """

    path: Path
    difference: float
    notes: tuple[str, ...]


@dataclass
class _Job:
    """One export: the model, where to, and what the header says."""

    model: KeptModel
    to: str
    notes: list[str] = field(default_factory=list)

    @property
    def module(self) -> nn.Module:
        return self.model.model.module

    def header(self, difference: float, **more: str) -> dict[str, str]:
        """Text for the metadata of the file."""
        kept = self.model.header.to_metadata()
        words = ("project", "version", "model", "cell", "classes", "prompts", "scaling", "fit")
        return {
            **{name: kept[name] for name in (*words, "images")},
            "made_from_sha256": file_sha256(self.model.path),
            "export": self.to,
            "largest_difference": f"{difference:.3e}",
            "allowed_difference": f"{LIMITS[self.to]:.0e}",
            "precision": "fp32",
            "notes": json.dumps(self.notes),
            **more,
        }


def export_model(model: KeptModel, to: str, out: Path) -> Export:
    """Write a kept model in the format of another library.

    The written model is loaded as another program would load it and compared with `model` in fp32
    on two made images; it is kept only if the outputs agree. The outputs are logits, for "sam" and
    "transformers" those of the mask of one prompt, and for "peft" the image embeddings.

    Args:
        model: of `load_model`, on the CPU.
        to: "sam" (file for `segment_anything`), "transformers" (folder for `SamModel`), "peft"
            (folder with the adapter of the image encoder), "onnx" (one file), or "merged" (all
            tensors, with updates merged into the weights, as safetensors).
        out: the file ("sam", "onnx", "merged"), which is replaced, or the folder, which must not
            exist.

    Raises:
        UserError: `to` is unknown, the model is not on the CPU or does not fit the format (the
            message names the property), a library is missing, the outputs differ, or `out` cannot
            be written or is the model itself.
    """
    if to not in LIMITS:
        raise UserError(f"--to cannot be '{to}': give one of {', '.join(LIMITS)}")
    if out.resolve() == model.path.resolve():
        raise UserError(f"{out} is the kept model itself: give another path by --out")
    if model.model.device.type != "cpu":
        raise UserError("load the model on the CPU to export it: device='cpu'")
    if model.model.object_rule.channels:
        raise UserError(
            f"{model.path} also predicts {model.model.object_rule.name}, which {to} has no place"
            " for: export a model that was trained without such maps, or use predict"
        )
    remove_leftovers_of(out)
    job = _Job(model, to)
    recipe = model.header.cell.recipe
    if recipe.precision != "fp32":
        job.notes.append(f"the export computes in fp32, predict in {recipe.precision}")
    write = {
        "sam": _write_sam,
        "transformers": _write_transformers,
        "peft": _write_peft,
        "onnx": _write_onnx,
        "merged": _write_merged,
    }[to]
    try:
        with torch.no_grad():
            difference = write(job, out)
    except UnsupportedError as error:
        raise UserError(f"{model.path} cannot be exported to {to}: {error}") from error
    return Export(out, difference, tuple(job.notes))


def _write_sam(job: _Job, out: Path) -> float:
    module, task = job.module, job.model.model.task
    sam = plain_sam(module, task)
    assert isinstance(module, SamSegmenter), "plain_sam takes no other"
    points = module.prompt_rule is not None and module.prompt_rule.kind == "point"
    _add_prompt_notes(job, module, "SamPredictor")
    with atomic_path(out) as temporary:
        write_sam(sam, temporary, {})
        loaded = plain_sam(module, task)
        loaded.load_state_dict(torch.load(temporary, weights_only=True))

        def masks(
            image: npt.NDArray[np.uint8], prompts: Prompts, several: bool
        ) -> tuple[Tensor, Tensor]:
            return predictor_masks(loaded, image, prompts, several, points)

        difference = prompted_difference(module, task, masks)
        require_agreement(difference, LIMITS[job.to])
        write_sam(sam, temporary, job.header(difference, **how_to_build(task)))
    return difference


def _write_transformers(job: _Job, out: Path) -> float:
    module, task = job.module, job.model.model.task
    sam = plain_sam(module, task)
    assert isinstance(module, SamSegmenter), "plain_sam takes no other"
    points = module.prompt_rule is not None and module.prompt_rule.kind == "point"
    _add_prompt_notes(job, module, "SamProcessor")
    with new_folder(out) as folder:
        transformers_sam(sam, task).save_pretrained(folder)
        loaded = load_transformers_sam(folder)

        def masks(
            image: npt.NDArray[np.uint8], prompts: Prompts, several: bool
        ) -> tuple[Tensor, Tensor]:
            return transformers_masks(loaded, sam, image, prompts, several, points)

        difference = prompted_difference(module, task, masks)
        require_agreement(difference, LIMITS[job.to])
        _add_metadata(folder / "model.safetensors", folder, job.header(difference))
    return difference


def _write_peft(job: _Job, out: Path) -> float:
    module, task = job.module, job.model.model.task
    if has_tuner(module):
        assert isinstance(module, SamSegmenter), "only this class has an image encoder"
        base, write = tuner_base(module, task), partial(write_tuner, module)
    else:
        layers = lora_layers(module)
        assert isinstance(module, SamSegmenter), "lora_layers takes no other"
        base, write = base_sam(module, task), partial(write_adapter, layers)
    if any(parameter.requires_grad for parameter in module.head.parameters()):
        job.notes.append(
            "the adapter changes the image encoder only: the trained decoder is not in it, export"
            " to onnx for the whole model"
        )
    with new_folder(out) as folder:
        write(base, folder)
        difference = adapter_difference(module, base, folder)
        require_agreement(difference, LIMITS[job.to])
        _add_metadata(folder / "adapter_model.safetensors", folder, job.header(difference))
    return difference


def _write_onnx(job: _Job, out: Path) -> float:
    module, task = job.module, job.model.model.task
    program = onnx_program(module, task)
    job.notes.append(
        f"input images (B, 3, {task.image_size}, {task.image_size}) float in [0, 1]: fit"
        f" {task.fit}, {FITS[task.fit]}; output logits"
    )
    if job.model.model.prompt_rule is not None:
        job.notes.append("one prompt for each image; the mask is where the logits are above 0")
    with atomic_path(out) as temporary:
        write_onnx(program, temporary, {})
        difference, changed = onnx_difference(module, task, temporary)
        require_agreement(difference, LIMITS[job.to])
        more = {"classes_changed_px": str(changed)}
        write_onnx(program, temporary, job.header(difference, **more))
    return difference


def _write_merged(job: _Job, out: Path) -> float:
    module, task = job.module, job.model.model.task
    merged = merged_copy(module).eval()
    images = to_unit(check_images(task.image_size))
    others = []
    if job.model.model.prompt_rule is not None:
        others.append(job.model.model.prompt_rule.example(task.image_size, len(images)))
    with atomic_path(out) as temporary:
        state = {name: tensor.clone() for name, tensor in merged.state_dict().items()}
        save_file(state, temporary)
        merged.load_state_dict(load_file(temporary))
        difference = largest_difference(module(images, *others), merged(images, *others))
        require_agreement(difference, LIMITS[job.to])
        save_file(state, temporary, job.header(difference))
    return difference


def _add_prompt_notes(job: _Job, module: SamSegmenter, library: str) -> None:
    task = job.model.model.task
    note = PADDED if task.fit == "pad" else SQUARES
    job.notes.append(note.format(side=task.image_size, library=library))
    if module.pixels == "minmax":
        job.notes.append(STRETCH)


def _add_metadata(file: Path, folder: Path, header: dict[str, str]) -> None:
    """Write the header into a safetensors file, and as header.json next to it."""
    with safe_open(file, "pt") as opened:
        kept: dict[str, Any] = opened.metadata() or {}
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}  # not of the file
    with atomic_path(file) as temporary:
        save_file(tensors, temporary, {**header, **kept})
    write_atomic(folder / HEADER, json.dumps(header, indent=1))
