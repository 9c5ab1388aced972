"""The largest batch that fits into a GPU, and the change that makes a training fit."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.cost.predict.gpus import Gpu, largest_peak
from bench.cost.predict.memory import VALIDATION_BATCH, MemoryPrediction, predict_memory
from bench.cost.predict.work import CellWork, predict_work
from bench.errors import UnsupportedError, UserError
from bench.plugins.registry import Method
from bench.sam.build import ARCHITECTURES
from bench.spec import OptionValue, Recipe, Task


@dataclass(frozen=True)
class Plan:
    """A training that is to be predicted.

    Attributes:
        method: what to train.
        options: options of the method that differ from its defaults.
        task: what the model is built for.
        recipe: how it is trained.
        views: augmented images, or stacks of slices, that training keeps on the device.
        device: "cuda" or "cpu".
    """

    method: Method
    options: Mapping[str, OptionValue] = field(hash=False)
    task: Task
    recipe: Recipe
    views: int
    device: str = "cuda"

    def memory(self, inference: bool = True) -> MemoryPrediction:
        """The memory of a cell, or that of its training step; raises as `predict_memory`.

        Args:
            inference: also predict the validation during the training; without it `inference` of
                the result is 0, which is allowed only for a method that trains.
        """
        return predict_memory(
            self.method,
            self.options,
            self.task,
            self.recipe,
            device=self.device,
            views=self.views,
            inference_batch=max(1, VALIDATION_BATCH // self.task.depth) if inference else 0,
        )

    def work(self) -> CellWork:
        """What the parts of the cell make the device do; raises as `predict_work`."""
        return predict_work(
            self.method,
            self.options,
            self.task,
            self.recipe,
            device=self.device,
            views=self.views,
        )

    def with_batch(self, batch: int) -> "Plan":
        """The same training with another batch size."""
        return replace(self, recipe=replace(self.recipe, batch_size=batch))


def largest_batch(plan: Plan, gpu: Gpu) -> int:
    """The largest batch size that `judge` says fits; 0 if a batch of 1 does not fit.

    The memory of a step is a constant plus a multiple of the batch, so two predictions give the
    batch; further ones confirm that it fits and that the next one does not. "Fits" is with the
    largest margins; the validation, which does not depend on the batch, is checked once.

    Args:
        plan: the training, with trainable parameters; its own batch size is not used, but
            `accumulate` of its recipe is.
        gpu: where it is to run.

    Raises:
        NotPredictedError: the memory cannot be predicted; further errors as `predict_memory`.
    """
    limit = largest_peak(gpu.memory_bytes)

    def peak(batch: int) -> int:
        return plan.with_batch(batch).memory(inference=False).peak

    if plan.with_batch(1).memory().cell_peak > limit:  # the validation does not depend on the batch
        return 0
    low, high = peak(8), peak(16)
    batch = max(1, 8 + (limit - low) * 8 // max(1, high - low))
    while batch > 1 and peak(batch) > limit:
        batch -= 1
    while peak(batch + 1) <= limit:
        batch += 1
    return batch


def cheapest_change(plan: Plan, gpu: Gpu) -> str | None:
    """The first change with which `judge` says that the training fits; see `change_below`.

    Args:
        plan: the training that does not fit.
        gpu: where it is to run.
    """
    return change_below(plan, largest_peak(gpu.memory_bytes))


def change_below(plan: Plan, limit: int) -> str | None:
    """The first change that makes the training fit, in the words of the command line.

    Checkpointing, bf16 and accumulation are tried first, one by one and together, then also
    training only later blocks, then a smaller image size instead. Each is confirmed by its own
    prediction; those that cannot be predicted are passed over.

    Args:
        plan: the training that does not fit.
        limit: the largest `cell_peak` that fits, in bytes.

    Returns:
        The change; None if no change is enough.
    """
    for words, changed in _changes(plan):
        try:
            peak = changed.memory().cell_peak
        except (UnsupportedError, UserError):  # no blocks to checkpoint, or a side that is refused
            continue
        if peak <= limit:
            return words
    return None


def _changes(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """Changes one by one, then together; then with later blocks only, then at a smaller side."""
    recipe, task = plan.recipe, plan.task
    single: dict[str, dict[str, Any]] = {"--checkpointing": {"checkpointing": True}}
    if recipe.precision != "bf16":
        single["--precision bf16"] = {"precision": "bf16"}
    if recipe.batch_size > 1:
        words = f"--accumulate {recipe.batch_size}"
        single[words] = {"accumulate": recipe.batch_size}
    for words, fields in single.items():
        yield words, replace(plan, recipe=replace(recipe, **fields))
    for words, fields in itertools.islice(single.items(), 1, None):
        together = replace(recipe, checkpointing=True, **fields)
        yield f"--checkpointing {words}", replace(plan, recipe=together)
    for fields in single.values():
        recipe = replace(recipe, **fields)
    together_words = " ".join(single)
    if len(single) > 2:
        yield together_words, replace(plan, recipe=recipe)
    blocks = ARCHITECTURES[task.backbone].depth if task.backbone != "none" else 0
    if blocks and plan.options.get("blocks", plan.method.options.get("blocks")) == "all":
        later = f"{blocks // 2}-{blocks - 1}"
        changed = replace(plan, recipe=recipe, options={**plan.options, "blocks": later})
        yield f"{together_words}, blocks={later} of the method", changed
    for share in (0.75, 0.5, 0.25):
        side = int(task.image_size * share) // 32 * 32
        changed = replace(plan, recipe=recipe, task=replace(task, image_size=side))
        yield f"{together_words} --image-size {side}", changed
