"""Parts of records: what a method costs, measured and predicted; how values from JSON are read."""

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Part = TypeVar("Part")
BINS_PER_OCTAVE = 8  # of diameters, in the numbers of objects by size of an image: 9 % each
_KINDS: dict[type, dict[str, tuple[type, ...]]] = {}  # of the classes that were read so far


@dataclass(frozen=True)
class Cost:
    """What a method costs; None for what cannot be measured here.

    All values of training are None if nothing is trained. `forward_flops` and `forward_macs_fvcore`
    are for one image (or stack) of `task.image_size`; `train_step_flops` and the memory are for one
    batch of `recipe.batch_size`. FLOPs are 2 x multiply-adds. The four parts of the memory sum
    to `train_peak_bytes`. Throughputs are medians over timed blocks, with their interquartile
    range. `memory_source` is "cuda allocator" or "tensor accounting". All definitions are in
    docs/protocol/costs.md. `data_bytes` is the
    memory of the images of training and validation and of the features kept of them: apart from
    the model's, and not part of the peak. The names end in the unit: `_params` and `_flops` are
    numbers, `_bytes` bytes, `_images_per_s` images (or slices) per second, `_s` seconds.
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
    memory_source: str | None = None
    train_images_per_s: float | None = None
    train_images_per_s_iqr: float | None = None
    infer_images_per_s: float | None = None
    infer_images_per_s_iqr: float | None = None
    train_wall_s: float | None = None
    data_bytes: int | None = None


@dataclass(frozen=True)
class PredictedCost:
    """What was predicted before a run; None for what could not be predicted.

    The fields that `Cost` has, too, have the same meaning here; `bench.cost.predict` makes them.

    Attributes:
        device: "cpu" or "cuda".
        available_bytes: memory of the device that was free before the run; on CUDA, next to the
            context of this process. None where it is not known.
        train_peak_bytes: of one training step; None if nothing is trained, like the four parts.
        weights_bytes: part of the peak, like the next three.
        gradients_bytes: see `Cost`.
        optimizer_bytes: see `Cost`.
        activations_bytes: see `Cost`.
        kept_bytes: views, validation images, masks and embeddings that the training keeps.
        run_peak_bytes: of the whole run: the step of the training with all that is kept, or the
            validation, or the step that is measured at the end.
        fits: whether the run fits into the available memory, with margins (docs/cost.md): "fits",
            "probably" or "no"; None where this is not known.
        change: if it does not fit, the first change with which it does, in the words of the
            command line; None if it fits or no change is enough.
        train_wall_s: seconds of the training, with `train_wall_s_low` and `train_wall_s_high` as
            the ends of the interval.
        train_wall_s_low: see `train_wall_s`.
        train_wall_s_high: see `train_wall_s`.
        fitted_accumulate: the number of parts of a batch that `--fit-memory` chose; None without
            this option.
        reason: why the memory is not predicted, or why the search of a change ended with an error;
            otherwise "".
    """

    device: Literal["cpu", "cuda"]
    available_bytes: int | None = None
    train_peak_bytes: int | None = None
    weights_bytes: int | None = None
    gradients_bytes: int | None = None
    optimizer_bytes: int | None = None
    activations_bytes: int | None = None
    kept_bytes: int | None = None
    run_peak_bytes: int | None = None
    fits: Literal["fits", "probably", "no"] | None = None
    change: str | None = None
    train_wall_s: float | None = None
    train_wall_s_low: float | None = None
    train_wall_s_high: float | None = None
    fitted_accumulate: int | None = None
    reason: str = ""


def kinds_of(cls: type) -> dict[str, tuple[type, ...]]:
    """The types that JSON may hold for each field of a dataclass."""
    if cls not in _KINDS:
        _KINDS[cls] = _find_kinds(cls)
    return _KINDS[cls]


def _find_kinds(cls: type) -> dict[str, tuple[type, ...]]:
    stored = {float: (float, int), tuple: (list, tuple), Mapping: (dict,), Literal: (str,)}
    kinds: dict[str, tuple[type, ...]] = {}
    for name, hint in get_type_hints(cls).items():
        # A union with a Literal is a `Union`, any other one a `UnionType`.
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        outer = [get_origin(part) or part for part in parts]
        kinds[name] = tuple(
            kind
            for part in outer
            for kind in ((dict,) if is_dataclass(part) else stored.get(part, (part,)))
        )
    return kinds


def expect_kinds(kinds: Mapping[str, tuple[type, ...]], values: Mapping[str, Any]) -> None:
    """Raise TypeError for the first value that has another type."""
    for name, value in values.items():
        if name in kinds and not isinstance(value, kinds[name]):
            allowed = dict.fromkeys(kind.__name__ for kind in kinds[name])
            raise TypeError(f"{name} is {value!r:.40}, expected {' or '.join(allowed)}")


def read_part(cls: type[Part], values: Mapping[str, Any] | None) -> Part | None:
    """Make a dataclass of plain values from JSON; None from None.

    Raises:
        TypeError: a field is missing, unknown or of another type.
    """
    if values is None:
        return None
    expect_kinds(kinds_of(cls), values)
    return cls(**values)
