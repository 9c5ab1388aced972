"""Predictions of many trainings, one row each: what `cost --gpu` and `bench.predict_cost` show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.cost.predict.fit import Plan, cheapest_change, largest_batch
from bench.cost.predict.gpus import Gpu, Verdict, judge
from bench.cost.predict.memory import MemoryPrediction
from bench.cost.predict.time import Hours, Speed, cell_hours, speed_of
from bench.cost.predict.views import kept_views
from bench.data.validation import VALIDATION_IMAGES
from bench.errors import UnsupportedError
from bench.plugins.registry import Method
from bench.spec import Cell, OptionValue, Recipe, Task

MOST_VALIDATION_IMAGES = 6 * VALIDATION_IMAGES  # as in cells: at 6 points of the curve


@dataclass(frozen=True)
class PredictedRow:
    """The predicted cost of one method on one backbone.

    Attributes:
        plan: what is predicted.
        memory: None where it cannot be predicted; `reason` says why.
        verdict: whether the cell fits into the GPU; None without a GPU or `memory`.
        largest: largest batch size that fits, 0 if none does; None without a GPU or `memory`, if
            nothing is trained, or if a batch of 1 cannot be predicted.
        change: the first change that makes it fit; None if it fits, if no change is enough, if
            nothing is trained, or without a GPU or `memory`.
        hours: of one run; None where the speed of the device is not known, or without `memory`.
        reason: why there is no prediction; empty where there is one.
    """

    plan: Plan
    memory: MemoryPrediction | None
    verdict: Verdict | None = None
    largest: int | None = None
    change: str | None = None
    hours: Hours | None = None
    reason: str = ""

    @property
    def label(self) -> str:
        """The method with its options, as in tables."""
        plan = self.plan
        return Cell(plan.method.name, "", plan.task, plan.recipe, plan.options).label

    @property
    def key(self) -> tuple[str, str, int]:
        """Method, backbone and image size, as in the cost cards."""
        return self.label, self.plan.task.backbone, self.plan.task.image_size

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values, None where there is no prediction; all sizes in bytes.

        "num_classes" are the foreground classes.
        """
        memory, hours, task, recipe = self.memory, self.hours, self.plan.task, self.plan.recipe
        parts = ("peak", "weights", "gradients", "optimizer", "activations", "kept", "inference")
        return {
            "method": self.label,
            "backbone": task.backbone,
            "image_size": task.image_size,
            "mask_grid": task.mask_grid,
            "num_classes": task.num_classes - 1,
            "batch_size": recipe.batch_size,
            "precision": recipe.precision,
            **{f"{part}_bytes": memory and getattr(memory, part) for part in parts},
            "cell_peak_bytes": memory and memory.cell_peak,
            "fits": self.verdict,
            "largest_batch": self.largest,
            "change": self.change,
            "hours": hours and hours.likely,
            "hours_low": hours and hours.low,
            "hours_high": hours and hours.high,
            "reason": self.reason,
        }


def predict_rows(
    methods: Sequence[tuple[Method, Mapping[str, OptionValue]]],
    tasks: Sequence[Task],
    recipe: Recipe,
    images: int,
    gpu: Gpu | None,
    speed: Speed | None = None,
) -> Iterator[PredictedRow]:
    """Predict each method for each task; methods from scratch once for each image size.

    Args:
        methods: each with its options that differ from the defaults.
        tasks: one for each backbone.
        recipe: how each method is trained; its learning rate has no influence.
        images: labelled training images.
        gpu: where the training is to run; None for the tensors alone, on any CUDA device.
        speed: speed of the device if it was measured; otherwise that of the GPU, if known.

    Yields:
        One row for each method and task, predicted when it is taken; a method that does not work on
        a backbone has a row with a `reason`.

    Raises:
        UserError: an option of a method is out of range, or the loss of the recipe is unknown.
    """
    predicted = set()
    for task in tasks:
        for method, options in methods:
            backbone = "none" if method.from_scratch else task.backbone
            where = replace(task, backbone=backbone, weights="random")
            views = kept_views(method, where, recipe, images, "cuda")
            plan = Plan(method, options, where, recipe, views)
            key = (method.name, tuple(options.items()), where)
            if key not in predicted:
                predicted.add(key)
                yield _predict_row(plan, images, gpu, speed)


def _predict_row(plan: Plan, images: int, gpu: Gpu | None, speed: Speed | None) -> PredictedRow:
    try:
        memory = plan.memory()
    except UnsupportedError as error:
        return PredictedRow(plan, None, reason=str(error))
    hours = None
    if speed is None and gpu is not None:
        speed = speed_of(gpu, plan.recipe.precision)
    if speed is not None:
        hours = _hours(plan, images, speed)
    if gpu is None:
        return PredictedRow(plan, memory, hours=hours)
    verdict = judge(memory.cell_peak, gpu.memory_bytes)
    trains = plan.method.lr is not None
    return PredictedRow(
        plan,
        memory,
        verdict,
        _largest(plan, gpu) if trains else None,
        cheapest_change(plan, gpu) if trains and verdict != "fits" else None,
        hours,
    )


def _largest(plan: Plan, gpu: Gpu) -> int | None:
    try:
        return largest_batch(plan, gpu)
    except UnsupportedError:  # a batch of 1, which BatchNorm may refuse
        return None


def _hours(plan: Plan, images: int, speed: Speed) -> Hours:
    recipe, trains = plan.recipe, plan.method.lr is not None
    return cell_hours(
        plan.work(),
        speed,
        steps=recipe.steps if trains else 0,
        views=plan.made_views,
        evaluated=images // 4 + (MOST_VALIDATION_IMAGES if trains else 0),
        side=plan.task.image_size,
    )
