"""Kept models without any training, for tests of what can be done with them."""

from pathlib import Path
from typing import Any

import torch

from bench.cost.params import trained_state
from bench.data.traits import ImageTraits
from bench.keep.header import ModelHeader, without_paths
from bench.keep.model_file import save_model
from bench.objects.rules import get_rule
from bench.plugins.registry import get_method
from bench.spec import Cell, Recipe, Task

CLASSES = ("matrix", "grain", "pore")


def make_kept_model(
    path: Path,
    method: str = "frozen_head",
    *,
    classes: tuple[str, ...] = CLASSES,
    traits: ImageTraits | None = None,
    depth: int = 1,
    evaluation: str = "whole",
    image_size: int = 64,
    noise: float = 0.0,
    objects: str = "components",
    backbone: str = "sam_nano",
    **options: Any,
) -> Path:
    """Write a model with random weights that says that it was trained on grey 8-bit images.

    With `noise`, values of this standard deviation are added to all that training changes.
    """
    if get_method(method).from_scratch:
        backbone = "none"
    task = Task(len(classes), image_size, backbone, "random", depth)
    recipe = Recipe(lr=1e-3, precision="fp32", evaluation=evaluation, objects=objects)
    cell = Cell(method, "folder/steel", task, recipe, options)
    torch.manual_seed(cell.seed)
    module = get_method(method).build(get_rule(objects).built_task(task), **options)
    if noise:
        random = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for tensor in trained_state(module).values():
                if tensor.is_floating_point():
                    tensor.add_(torch.randn(tensor.shape, generator=random) * noise)
    header = ModelHeader(
        cell=without_paths(cell),
        base=(0.0, 0.0),
        classes=classes,
        prompts=get_method(method).prompts,
        rule="all",
        images=traits or ImageTraits(("uint8",), ("grey",), 40, 48, 48),
        trained_on={"train": ("a", "b")},
        metrics={"dice_dataset": 0.5},
    )
    save_model(module, path, header)
    return path
