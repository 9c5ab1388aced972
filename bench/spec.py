"""What is asked: the task, the recipe, and the cell of the benchmark grid."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

Status = Literal["ok", "failed", "oom", "diverged", "timeout", "unsupported"]
PromptSource = Literal["none", "automatic", "oracle"]
SCHEMA = 1

_SINCE = {
    "checkpointing": False,
    "evaluation": "whole",
}  # fields of Recipe that came later, and what was done before

_CANONICAL = json.JSONEncoder(sort_keys=True)

OptionValue = int | float | str | bool


def _kinds(cls: type) -> dict[str, tuple[type, ...]]:
    """The types that JSON may hold for every field of a dataclass."""
    stored = {float: (float, int), tuple: (list, tuple), Mapping: (dict,), Literal: (str,)}
    kinds: dict[str, tuple[type, ...]] = {}
    for name, hint in get_type_hints(cls).items():
        parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        outer = [get_origin(part) or part for part in parts]
        kinds[name] = tuple(
            kind
            for part in outer
            for kind in ((dict,) if is_dataclass(part) else stored.get(part, (part,)))
        )
    return kinds


def _expect(kinds: Mapping[str, tuple[type, ...]], values: Mapping[str, Any]) -> None:
    """Raise TypeError for the first value of another type."""
    for name, value in values.items():
        if name in kinds and not isinstance(value, kinds[name]):
            raise TypeError(f"{name} holds {value!r:.40}")


@dataclass(frozen=True)
class Task:
    """What a method is built for.

    Attributes:
        num_classes: K, background included.
        image_size: side in pixels of the square images that enter the model.
        backbone: name of the foundation model, as in `--list`; "none" for methods from scratch.
        weights: "pretrained", "random", or the path of a checkpoint.
        depth: slices per sample; 1 for images.
    """

    num_classes: int
    image_size: int = 256
    backbone: str = "sam_nano"
    weights: str = "pretrained"
    depth: int = 1


@dataclass(frozen=True)
class Recipe:
    """How a method is trained; under the `equal` protocol all but `lr` is the same for all.

    Attributes:
        lr: peak learning rate.
        warmup_steps: linear rise to `lr`; then `schedule` runs down to `final_lr`.
        schedule: "constant", "cosine", or "poly": the share left of the training, to `power`.
        steps: optimiser steps.
        bank_views: augmented views made of the training images, once.
        precision: "fp32", or "bf16" for autocast.
        clip_norm: gradients are scaled down to this global L2 norm; 0 leaves them as they are.
        epochs: passes over the training images, from which the grid works out `steps`.
        horizon: the schedule is that of a training this many times as long, and is cut short.
        rate_levels: the rate changes this many times, as where it is set once an epoch; None: at
            every step.
        loss_at: side of the logits in the loss: "image" for that of the images, "decoder" for that
            of SAM's decoder, four times its embedding's.
        checkpointing: activations of the encoder's blocks are computed again in the backward pass
            instead of kept.
        evaluation: "whole" for images resized to the model's side, "tiles" for overlapping windows
            at the resolution of the image, "generator" for the objects of SAM's mask generator.
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


@dataclass(frozen=True)
class Cell:
    """One run: a method with its options, on one fold of one dataset, under one recipe and seed.

    `dataset` and `task.weights` may be paths: they are left out of the identity, where the
    fingerprints of their contents stand in for them. `leaks` tells which images of different parts
    are not independent; it follows from the dataset, and is no part of the identity either.
    """

    method: str
    dataset: str
    task: Task
    recipe: Recipe
    options: Mapping[str, OptionValue] = field(default_factory=dict)  # only those that differ
    protocol: str = "equal"
    fold: int = 0
    folds: int = 1
    seed: int = 0
    labels: int | None = None  # number of labelled training images; None for all
    dataset_sha: str = ""
    weights_sha: str = ""
    leaks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The method with the options that differ from its defaults, as in `lora[rank=8]`."""
        inside = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.method}[{inside}]" if inside else self.method

    @property
    def id(self) -> str:
        """Readable name and a hash of everything that was asked; safe as a file name."""
        asked = self.to_dict()
        asked["dataset"] = self.dataset_name
        del asked["leaks"]
        if asked["task"]["weights"] not in ("pretrained", "random"):
            asked["task"]["weights"] = "checkpoint"
        for key, default in _SINCE.items():  # what older records could not ask for
            if asked["recipe"][key] == default:
                del asked["recipe"][key]
        digest = hashlib.sha256(_CANONICAL.encode(asked).encode()).hexdigest()[:10]
        parts = [
            self.dataset_name,
            self.task.backbone,
            self.label,
            f"s{self.seed}",
            f"f{self.fold}",
        ]
        return re.sub(r"[^A-Za-z0-9_.=-]+", "-", "_".join(parts))[:120] + f"_{digest}"

    @property
    def dataset_name(self) -> str:
        """The last part of a folder's path, or the registered name."""
        return re.split(r"[\\/]", self.dataset.rstrip("\\/"))[-1]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, fit for JSON."""
        parts = {name: dict(vars(getattr(self, name))) for name in ("task", "recipe")}
        return {**vars(self), **parts, "options": dict(self.options)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Cell":
        """Inverse of `to_dict`.

        Raises:
            KeyError, TypeError: these values are no cell.
        """
        _expect(_KINDS[cls], values)
        _expect(_KINDS[Task], values["task"])
        _expect(_KINDS[Recipe], values["recipe"])
        return cls(
            **{
                **values,
                "task": Task(**values["task"]),
                "recipe": Recipe(**values["recipe"]),
                "leaks": tuple(values.get("leaks", ())),
            }
        )


@dataclass(frozen=True)
class Cost:
    """What a method costs; None means that it cannot be measured here. Defined in docs/protocol.md.

    One image of `task.image_size` for `forward_flops`, one batch of `recipe.batch_size` for
    `train_step_flops` and the memory; FLOPs are 2 x multiply-adds. The four memory parts sum to
    `train_peak_bytes`. Throughputs are the median over timed blocks, with the interquartile range.
    """

    trainable_params: int
    total_params: int
    checkpoint_bytes: int
    forward_flops: int | None = None
    forward_macs_fvcore: int | None = None
    train_step_flops: int | None = None
    train_peak_bytes: int | None = None
    weights_bytes: int | None = None
    gradients_bytes: int | None = None
    optimizer_bytes: int | None = None
    activations_bytes: int | None = None
    memory_source: str | None = None  # "cuda allocator" or "tensor accounting"
    train_images_per_s: float | None = None
    train_images_per_s_iqr: float | None = None
    infer_images_per_s: float | None = None
    infer_images_per_s_iqr: float | None = None
    train_wall_s: float | None = None


@dataclass(frozen=True)
class Record:
    """The outcome of one cell: asked (`cell`), measured, and where it ran (`env`).

    Attributes:
        metrics: name to value over the test images; see docs/protocol.md. None: not defined here.
        per_image: one mapping per test image, "name" and "group" beside the scores.
        per_volume: one mapping per test volume, where images are slices; likewise.
        history: one mapping per progress point of training: step, epoch, loss, and val_dice.
        prompts: where prompts came from; rows of different origin are never ranked together.
        error: one sentence, for every status but "ok".
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

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, fit for JSON."""
        plain = {
            spec.name: getattr(self, spec.name)
            for spec in dataclasses.fields(self)
            if spec.name not in ("cell", "cost")
        }
        cost = None if self.cost is None else dict(vars(self.cost))
        return {"id": self.cell.id, "cell": self.cell.to_dict(), "cost": cost, **plain}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Record":
        """Inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: these values are no record.
        """
        _expect(_KINDS[cls], values)
        _expect(_KINDS[Cost], values["cost"] or {})
        _expect(dict.fromkeys(values["metrics"], (float, int, NoneType)), values["metrics"])
        for name in ("per_image", "per_volume", "history"):
            for row in values.get(name, ()):
                _expect({name: (dict,)}, {name: row})
        if values["status"] not in get_args(Status):
            raise ValueError(f"no status {values['status']!r}")
        known = {k: v for k, v in values.items() if k != "id"}
        return cls(
            **{
                **known,
                "cell": Cell.from_dict(values["cell"]),
                "cost": None if values["cost"] is None else Cost(**values["cost"]),
                "classes": tuple(values["classes"]),
                "per_image": tuple(values["per_image"]),
                "per_volume": tuple(values.get("per_volume", ())),  # older records have none
                "history": tuple(values["history"]),
            }
        )


_KINDS: dict[type, dict[str, tuple[type, ...]]] = {
    cls: _kinds(cls) for cls in (Task, Recipe, Cell, Cost, Record)
}
