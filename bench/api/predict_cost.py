"""Predict from Python what methods will cost."""

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.api.compare import Names
from bench.errors import UserError, check_number, no_such
from bench.spec import MASK_GRIDS, Recipe, Task

if TYPE_CHECKING:
    import pandas as pd


def predict_cost(
    methods: Names,
    backbones: Names = "sam_nano",
    *,
    image_size: int | None = None,
    classes: int = 1,
    depth: int = 1,
    images: int = 500,
    gpu: str | None = None,
    steps: int = 200,
    batch_size: int = 1,
    precision: str = "bf16",
    checkpointing: bool = False,
    accumulate: int = 1,
    mask_grid: str = "coarse",
) -> "pd.DataFrame":
    """Predict memory and time of training on a CUDA device; no weights, images or GPU are needed.

    Args:
        methods: names with options, as `"lora[rank=1|4],adapter"` or a list of such names.
        backbones: names; one, a list, or separated by commas.
        image_size: side in pixels; None for each backbone's own.
        classes: foreground classes.
        depth: consecutive slices in one stack; 1 for images.
        images: number of training images; a quarter as many are counted as test images for hours.
        gpu: a name as "rtx 4070" for a verdict and hours, or memory as "12GB" for a verdict alone;
            None for neither.
        steps: optimiser steps.
        batch_size: images, or stacks of slices, in one step.
        precision: "bf16" or "fp32".
        checkpointing: recompute the activations of encoder blocks in the backward pass.
        accumulate: number of parts in which a batch passes through the model, up to `batch_size`.
        mask_grid: where decoders predict: "coarse" or "fine".

    Returns:
        One row for each method and backbone; a method from scratch has one for each image size,
        with the backbone "none". The columns are the predicted ones of `cost --gpu --json`; memory
        is in bytes. A method that cannot do the task, or that cannot be predicted, has empty values
        and the cause in the column `reason`, which is "" otherwise.

    Raises:
        UserError: a method, backbone, GPU, precision or grid of masks is unknown, or a number is
            out of range.

    Example:
        >>> table = bench.predict_cost("lora,full", "sam_vit_b", image_size=1024, gpu="rtx 4070")
    """
    import pandas as pd

    from bench.ask.method_words import parse_methods
    from bench.cost.predict.gpus import find_gpu
    from bench.cost.predict.table import predict_rows

    numbers = {"images": images, "steps": steps, "batch_size": batch_size, "accumulate": accumulate}
    sides = {} if image_size is None else {"image_size": image_size}
    _check({**sides, "classes": classes, "depth": depth, **numbers})
    if mask_grid not in MASK_GRIDS:
        raise no_such("grid of masks", mask_grid, MASK_GRIDS)
    tasks = [
        replace(task, mask_grid=mask_grid) for task in _tasks(backbones, image_size, classes, depth)
    ]
    if precision not in ("bf16", "fp32"):
        raise no_such("precision", precision, ("bf16", "fp32"))
    recipe = Recipe(
        0.0,
        steps=steps,
        batch_size=batch_size,
        precision=precision,
        checkpointing=checkpointing,
        accumulate=accumulate,
    )
    parsed = parse_methods(methods if isinstance(methods, str) else ",".join(methods))
    rows = predict_rows(parsed, tasks, recipe, images, None if gpu is None else find_gpu(gpu))
    return pd.DataFrame([row.to_dict() for row in rows])


def _check(numbers: "dict[str, int]") -> None:
    for name, value in numbers.items():
        check_number(name.replace("_", "-"), value, name)
    if numbers["accumulate"] > numbers["batch_size"]:
        parts = numbers["accumulate"]
        raise UserError(f"accumulate is {parts}: give a number up to the batch size")


def _tasks(backbones: Names, image_size: int | None, classes: int, depth: int) -> "list[Task]":
    from bench.sam.backbone import get_backbone

    names = backbones.split(",") if isinstance(backbones, str) else list(backbones)
    tasks = []
    for name in (name.strip() for name in names):
        size = image_size or get_backbone(name).image_size
        tasks.append(Task(classes + 1, size, name, "random", depth))
    return tasks
