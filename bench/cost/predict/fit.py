"""The largest batch that fits into a GPU, and the change that makes a training fit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.cost.predict.gpus import Gpu, largest_peak
from bench.cost.predict.memory import VALIDATION_BATCH, MemoryPrediction, predict_memory
from bench.cost.predict.work import CellWork, predict_work
from bench.data.validation import VALIDATION_IMAGES
from bench.errors import UnsupportedError, UserError
from bench.objects.rules import get_rule
from bench.plugins.registry import Method
from bench.sam.backbone import get_backbone
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

    @property
    def image_bytes(self) -> int:
        """Bytes of the views and validation images on the device, with their masks."""
        maps = get_rule(self.recipe.objects).channels
        rows = self.views * self.task.depth * (4 + maps) + self._validation_images * 4
        return rows * self.task.image_size**2

    @property
    def _validation_images(self) -> int:
        return max(1, VALIDATION_IMAGES // self.task.depth) * self.task.depth

    @property
    def made_views(self) -> int:
        """Views that the whole training makes: those that are kept, or those of all its batches."""
        drawn = self.recipe.steps * self.recipe.batch_size if self.method.lr else 0
        return self.views or drawn

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
            validation_images=self._validation_images,
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
    prediction. Those that cannot be predicted, as checkpointing of a network without blocks of SAM,
    are passed over, also in what is tried together.

    Args:
        plan: the training that does not fit.
        limit: the largest `cell_peak` that fits, in bytes.

    Returns:
        The change; None if no change is enough.
    """
    usable: dict[str, dict[str, Any]] = {}
    for words, fields in _single_changes(plan.recipe):
        if any(fields.keys() == other.keys() for other in usable.values()):
            continue
        peak = _peak(replace(plan, recipe=replace(plan.recipe, **fields)))
        if peak is None:
            continue
        if peak <= limit:
            return words
        usable[words] = fields
    for words, changed in _joint_changes(plan, usable):
        peak = _peak(changed)
        if peak is not None and peak <= limit:
            return words
    return None


def _peak(plan: Plan) -> int | None:
    """The `cell_peak` of a plan; None where it cannot be predicted."""
    try:
        return plan.memory().cell_peak
    except (UnsupportedError, UserError):  # no blocks to checkpoint, or a side that is refused
        return None


def _single_changes(recipe: Recipe) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes of a recipe one by one; of two of the same field the second is a substitute."""
    yield "--checkpointing", {"checkpointing": True}
    if recipe.precision != "bf16":
        yield "--precision bf16", {"precision": "bf16"}
    # Parts of one image; BatchNorm may refuse them, so then of two.
    for parts in (recipe.batch_size, recipe.batch_size // 2):
        if parts > 1:
            yield f"--accumulate {parts}", {"accumulate": parts}


def _joint_changes(plan: Plan, usable: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, Plan]]:
    """Changes together; then with later blocks only, then at a smaller side.

    Args:
        plan: the training that does not fit.
        usable: words to fields of the recipe; the single changes that can be predicted.
    """
    task, names = plan.task, list(usable)
    pairs = [["--checkpointing", name] for name in names[1:] if "--checkpointing" in usable]
    for words in pairs if names in pairs or len(names) < 2 else [*pairs, names]:
        yield " ".join(words), _with_recipe(plan, usable, words)
    everything = _with_recipe(plan, usable, names)
    blocks = get_backbone(task.backbone).blocks if task.backbone != "none" else 0
    if blocks and plan.options.get("blocks", plan.method.options.get("blocks")) == "all":
        later = f"{blocks // 2}-{blocks - 1}"
        changed = replace(everything, options={**plan.options, "blocks": later})
        yield ", ".join(filter(None, [" ".join(names), f"blocks={later} of the method"])), changed
    for share in (0.75, 0.5, 0.25):
        side = int(task.image_size * share) // 32 * 32
        if side:
            changed = replace(everything, task=replace(task, image_size=side))
            yield " ".join([*names, f"--image-size {side}"]), changed


def _with_recipe(plan: Plan, usable: Mapping[str, dict[str, Any]], words: Sequence[str]) -> Plan:
    """The plan with some of the changes of its recipe."""
    fields = {name: value for word in words for name, value in usable[word].items()}
    return replace(plan, recipe=replace(plan.recipe, **fields))
