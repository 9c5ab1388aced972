"""The cell of the benchmark grid, with its task and recipe, and the record of its result."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, Literal, get_args

from bench.record_values import (
    Cost,
    PredictedCost,
    check_ranges,
    check_results,
    expect_kinds,
    kinds_of,
    read_part,
)

Status = Literal["ok", "failed", "oom", "diverged", "timeout", "unsupported"]
PromptSource = Literal["none", "automatic", "oracle"]
SCHEMA = 1

# Fields of the first records: they always enter `Cell.id`. A later field enters it only where it
# differs from its default, so that a new field changes no id. Never change this table, and never
# change the default of a later field: the ids of all records depend on both.
_FIRST_FIELDS = {
    "Cell": "method dataset task recipe options protocol fold folds seed labels dataset_sha"
    " weights_sha",
    "Task": "num_classes image_size backbone weights depth",
    "Recipe": "lr optimizer weight_decay warmup_steps schedule loss steps batch_size bank_views"
    " augmentation precision clip_norm epochs final_lr power horizon rate_levels loss_at",
}
_NOT_IN_ID = frozenset({"leaks"})  # fields of Cell that follow from others

MASK_GRIDS = {
    "coarse": "SAM's own: four logits along each side of a patch, enlarged bilinearly",
    "fine": "a further stage of the decoder predicts at each pixel of the input",
}
AUTO = "auto"  # a value that is chosen on validation images

_CANONICAL = json.JSONEncoder(sort_keys=True)

OptionValue = int | float | str | bool


def _later_fields(cls: type) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of the fields that the first records do not have."""
    return tuple(
        (spec.name, spec.default if spec.default_factory is MISSING else spec.default_factory())
        for spec in dataclasses.fields(cls)
        if spec.name not in _FIRST_FIELDS[cls.__name__].split()
    )


def last_part(path: str) -> str:
    """The name of a dataset that may be a folder."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def _identity(part: "Cell | Task | Recipe") -> dict[str, Any]:
    """The fields that enter the id: all first ones, and later ones that differ from a default."""
    values = dict(vars(part))
    for name, default in _LATER_FIELDS[type(part)]:
        if name in _NOT_IN_ID or values[name] == default:
            del values[name]
    return values


@dataclass(frozen=True)
class Task:
    """The segmentation task that a method builds its model for.

    Attributes:
        num_classes: K, with the background.
        image_size: side in pixels of the square images that enter the model.
        backbone: name of the foundation model; "none" for methods that train from scratch.
        weights: "pretrained", "random" (always so without a backbone), or the path of a checkpoint.
        depth: number of consecutive slices in a stack; 1 for single images.
        channels: which channels of an image are read, as in `bench.data.selection.Selection`; ""
            for the default. The same for the next field.
        crop: pixels that are cut off at the edges of an image, such as "bottom=60"; "" for none.
        fit: how images become squares: "square" resizes both sides, "pad" keeps the aspect ratio
            and pads the right or lower side, as SAM does; see `bench.data.fit`.
        mask_grid: where the decoder predicts, in `MASK_GRIDS`; see `bench.sam.refiner`.
    """

    num_classes: int
    image_size: int = 256
    backbone: str = "sam_nano"
    weights: str = "pretrained"
    depth: int = 1
    channels: str = ""
    crop: str = ""
    fit: str = "square"
    mask_grid: str = "coarse"


@dataclass(frozen=True)
class Recipe:
    """How a method is trained and evaluated; values are not checked here.

    Under the `equal` protocol only `lr` differs between methods.

    Attributes:
        lr: peak learning rate.
        optimizer: "adamw", "adam" or "sgd".
        weight_decay: of the optimizer.
        warmup_steps: number of steps in which the rate rises linearly to `lr`; half of the steps
            at most.
        schedule: fall of the rate from `lr` to `final_lr` after that: "constant", "cosine", or
            "poly" (remaining share of the training to the power of `power`).
        loss: name of the loss, see `bench.learn.losses`.
        steps: number of optimizer steps.
        batch_size: images, or stacks of slices, in a step.
        bank_views: number of augmented views (images or stacks) that are made: fewer if the steps
            use fewer, but at least one per training image. Some augmentations choose the number.
        augmentation: how views are made, see `bench.data.bank`.
        precision: "fp32", or "bf16" for autocast.
        clip_norm: gradients are scaled down to this global L2 norm; 0 for no clipping.
        epochs: passes over the augmentation bank, or in a published recipe over `epoch_images` or
            else the training images. The grid computes `steps` from it and sets it to None.
        final_lr: learning rate at the end of the schedule.
        power: exponent of the schedule "poly".
        horizon: the schedule is computed for a training this many times as long as `steps`; above
            1 the training ends before `final_lr`.
        rate_levels: number of changes of the rate, as if it were set once per epoch; None: one in
            each step.
        loss_at: resolution of the logits in the loss: "image" for that of the images, "decoder"
            for that of SAM's mask decoder, which is four times that of the image embedding.
        checkpointing: whether activations of the encoder's blocks are computed again in the
            backward pass instead of stored.
        evaluation: "whole" for images resized to the model's input, "tiles" for overlapping windows
            at the resolution of the image, "generator" for the objects of SAM's mask generator,
            "proposals" for objects that `proposer` finds and the method segments.
        epoch_images: images (or stacks) of an epoch, whose last batch has only those that are left;
            None: every batch is full and may continue in the next epoch.
        accumulate: number of parts in which a batch passes through the model; their gradients are
            added before the update, each weighted by its share of the batch. A step still has
            `batch_size` images in all.
        objects: rule that finds the objects in a predicted class map, see `bench.objects.rules`.
        proposer: method with its options, as in "lora[rank=8]", whose model finds the objects that
            are prompted at evaluation; "" in all modes but "proposals".
        zoom: times that images are enlarged before "tiles" cuts windows, a whole number in words;
            "auto" for the one that is best on validation images, see `bench.evaluate.zoom`.
    """

    lr: float
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    warmup_steps: int = 20
    schedule: str = "cosine"
    loss: str = "balanced_ce_dice"
    steps: int = 200
    batch_size: int = 4
    bank_views: int = 200
    augmentation: str = "standard"
    precision: str = "bf16"
    clip_norm: float = 1.0
    epochs: float | None = None
    final_lr: float = 0.0
    power: float = 1.0
    horizon: float = 1.0
    rate_levels: int | None = None
    loss_at: str = "image"
    checkpointing: bool = False
    evaluation: str = "whole"
    epoch_images: int | None = None
    accumulate: int = 1
    objects: str = "components"
    proposer: str = ""
    zoom: str = "1"


@dataclass(frozen=True)
class Cell:
    """One run of the grid: a method with its options, a dataset, a recipe, a fold and a seed.

    Attributes:
        method: registered name.
        dataset: registered name, or the path of a folder. The id holds only the last part of a
            path, and `dataset_sha`.
        task: what the model is built for. If `task.weights` is a path, the id holds `weights_sha`
            instead.
        recipe: how the model is trained.
        options: options of the method that differ from their defaults.
        protocol: "equal" for the same recipe for all methods, "published" for each method's own.
        fold: index of the test fold, from 0.
        folds: number of folds; 1 for a single split.
        seed: of the choice of labelled images, the initial weights, the augmentation, the order of
            batches and the training prompts.
        labels: number of training images with labels; None for all.
        dataset_sha: fingerprint of the contents of the dataset.
        weights_sha: SHA-256 of the file with the weights; empty if there is none.
        leaks: sentences on images of different parts that are not independent, among all images
            of the fold. They follow from the dataset, so they are not in the id.
        split: ratio of training, validation and test images where this program makes the split,
            such as "7:2:1"; "" for its default, or the split of the dataset itself.
        test_dataset: name or path of another dataset, all images of which are the test images; ""
            for the test part of `dataset`. As of `dataset`, the id holds the last part of a path.
        test_sha: fingerprint of the contents of `test_dataset`; empty if there is none.
        joined: groups that this program joined to one because their images overlap: the names of
            each set of groups.
    """

    method: str
    dataset: str
    task: Task
    recipe: Recipe
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    protocol: str = "equal"
    fold: int = 0
    folds: int = 1
    seed: int = 0
    labels: int | None = None
    dataset_sha: str = ""
    weights_sha: str = ""
    leaks: tuple[str, ...] = ()
    split: str = ""
    test_dataset: str = ""
    test_sha: str = ""
    joined: tuple[tuple[str, ...], ...] = ()

    @property
    def label(self) -> str:
        """The method with its options that differ from the defaults, as in `lora[rank=8]`."""
        inside = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.method}[{inside}]" if inside else self.method

    @property
    def full_label(self) -> str:
        """As `label`, with the grid of masks if it is not the default: "lora mask_grid=fine"."""
        grid = self.task.mask_grid
        return self.label if grid == Task.mask_grid else f"{self.label} mask_grid={grid}"

    @property
    def id(self) -> str:
        """Readable name with a hash of the cell's settings; the stem of the file of its record.

        See `_FIRST_FIELDS` for what enters the hash.
        """
        identity = _identity(self)
        identity |= {
            "dataset": self.dataset_name,
            "options": dict(self.options),
            "task": _identity(self.task),
            "recipe": _identity(self.recipe),
        }
        if self.test_dataset:
            identity["test_dataset"] = self.tested_name
        if self.task.weights not in ("pretrained", "random"):
            identity["task"]["weights"] = "checkpoint"
        digest = hashlib.sha256(_CANONICAL.encode(identity).encode()).hexdigest()[:10]
        images = (
            f"{self.dataset_name}-on-{self.tested_name}" if self.test_dataset else self.dataset_name
        )
        label = self.label.replace("+", "_")  # a list of blocks must not read as a range
        name = f"{images}_{self.task.backbone}_{label}_s{self.seed}_f{self.fold}"
        return re.sub(r"[^A-Za-z0-9_.=-]+", "-", name)[:120] + f"_{digest}"

    @property
    def dataset_name(self) -> str:
        """The registered name, or the last part of a folder's path."""
        return last_part(self.dataset)

    @property
    def tested_dataset(self) -> str:
        """Name or path of the dataset that the test images are of; `dataset` if no other is."""
        return self.test_dataset or self.dataset

    @property
    def tested_name(self) -> str:
        """The registered name of `tested_dataset`, or the last part of its path."""
        return last_part(self.tested_dataset)

    @property
    def tested_sha(self) -> str:
        """Fingerprint of the contents of `tested_dataset`; "" if it was not computed."""
        return self.test_sha if self.test_dataset else self.dataset_sha

    @property
    def images_label(self) -> str:
        """The name of the dataset, and of another one if tested on it: "steel, tested on emps"."""
        other = f", tested on {self.tested_name}" if self.test_dataset else ""
        return self.dataset_name + other

    def to_dict(self) -> dict[str, Any]:
        """The cell as plain containers that JSON can hold; without its id."""
        parts = {name: dict(vars(getattr(self, name))) for name in ("task", "recipe")}
        return {**vars(self), **parts, "options": dict(self.options)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Cell":
        """Inverse of `to_dict`.

        Raises:
            KeyError, TypeError: a field is missing, unknown or of another type. Whether a name
                exists is not checked.
            ValueError: a number is not in its range.
        """
        expect_kinds(kinds_of(cls), values)
        check_ranges(values)
        for names in (values.get("leaks", ()), *values.get("joined", ())):
            for name in names:
                expect_kinds({"leaks or joined": (str,)}, {"leaks or joined": name})
        return cls(
            **{
                **values,
                "task": read_part(Task, values["task"]),
                "recipe": read_part(Recipe, values["recipe"]),
                "leaks": tuple(values.get("leaks", ())),
                "joined": tuple(tuple(groups) for groups in values.get("joined", ())),
            }
        )


@dataclass(frozen=True)
class Record:
    """The stored result of one cell.

    Attributes:
        cell: the settings of the run.
        status: "ok", or how the run failed.
        prompts: origin of the prompts; rows of different origin are never ranked together.
        classes: names of the K classes, the background first. This and all fields of results (to
            `cost`) are empty if the run failed.
        metrics: value of each metric over the test images, None where it is not defined; see
            docs/protocol/metrics.md.
        per_image: one mapping for each test image: "name", "group" and the scores.
        per_volume: the same for each test volume, if images are slices.
        history: one mapping for each progress point of the training: step, epoch, loss, and
            val_dice (of at most 24 validation images) where it is defined.
        cost: parameters, FLOPs, memory and throughput; None if the run failed.
        predicted: what was predicted of the cost before the run; None if nothing was predicted.
        env: hardware, versions and commit of the run.
        error: one sentence, for every status but "ok".
        schema: version of this format.
    """

    cell: Cell
    status: Status
    prompts: PromptSource = "none"
    classes: tuple[str, ...] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    per_image: tuple[Mapping[str, Any], ...] = ()
    per_volume: tuple[Mapping[str, Any], ...] = ()
    history: tuple[Mapping[str, float], ...] = ()
    cost: Cost | None = None
    env: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    schema: int = SCHEMA
    predicted: PredictedCost | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record, with the id of its cell, as plain containers that JSON can hold."""
        plain = {
            spec.name: getattr(self, spec.name)
            for spec in dataclasses.fields(self)
            if spec.name not in ("cell", "cost", "predicted")
        }
        cost = None if self.cost is None else dict(vars(self.cost))
        if self.predicted is not None:  # records without a prediction are as before there were any
            plain["predicted"] = dict(vars(self.predicted))
        return {"id": self.cell.id, "cell": self.cell.to_dict(), "cost": cost, **plain}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Record":
        """Inverse of `to_dict`; the stored id and the schema are not checked.

        Raises:
            KeyError, TypeError, ValueError: the values do not describe a record.
        """
        expect_kinds(kinds_of(cls), values)
        check_results(values)
        for name in values["classes"]:
            expect_kinds({"classes": (str,)}, {"classes": name})
        for key, known in (("status", get_args(Status)), ("prompts", get_args(PromptSource))):
            if values.get(key, known[0]) not in known:
                raise ValueError(f"{key} is {values[key]!r}, expected one of {', '.join(known)}")
        return cls(
            **{
                **{key: value for key, value in values.items() if key != "id"},
                "cell": Cell.from_dict(values["cell"]),
                "cost": read_part(Cost, values["cost"]),
                "predicted": read_part(PredictedCost, values.get("predicted")),
                "classes": tuple(values["classes"]),
                "per_image": tuple(values["per_image"]),
                "per_volume": tuple(values.get("per_volume", ())),  # older records have none
                "history": tuple(values["history"]),
            }
        )


_LATER_FIELDS: dict[type, tuple[tuple[str, Any], ...]] = {
    cls: _later_fields(cls) for cls in (Cell, Task, Recipe)
}
