"""Parts of records: costs, measured and predicted; kinds and ranges of values read from JSON."""

import functools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Part = TypeVar("Part")
BINS_PER_OCTAVE = 8  # of diameters, in the numbers of objects by size of an image: 9 % each
MOST_BINS = 200  # up to 2**25 px
_KINDS: dict[type, dict[str, tuple[type, ...]]] = {}  # of the classes that were read so far

LARGEST = 1e18  # its square is a float, and it fits into the integers of tables
_ONE = 1 + 1e-6  # a fraction, with what rounding may add
# Smallest and largest value of the numbers in records, by their names: the first pattern that
# matches a whole name counts. Names of classes ("dice/grain") and "in_domain_" are left out.
RANGES: tuple[tuple[str, float, float], ...] = (
    (r"(dice|iou|[psd]q|aji|aji_plus|ap|ap50)(_dataset(_all)?|_(image|volume)_mean)?", 0, _ONE),
    (r"boundary_iou|pixel_accuracy|(f_beta|weighted_f).*|mae(_unstretched)?|val_dice", 0, _ONE),
    (r"(phase_fraction|touching)(_truth)?", 0, _ONE),
    (r"e_phi_.*", 0, 2),  # divided by N - 1
    (r"s_alpha", -1, _ONE),  # similarities in it may be below 0
    (r"ber(_dataset|_image_mean)?", 0, 100 * _ONE),
    (r"(?!.*_abs_).*_error(_.*)?|loss", -LARGEST, LARGEST),  # with a sign
    (r"num_classes|image_size|depth|folds|batch_size|accumulate", 1, LARGEST),
    (r"epoch|.*_images_per_s", 1e-9, LARGEST),  # divisors
    (r"seed", 0, 2**32 - 1),
    (r".*", 0, LARGEST),  # counts, sizes, distances, times
)


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
        ValueError: as `check_ranges`.
    """
    if values is None:
        return None
    expect_kinds(kinds_of(cls), values)
    check_ranges(values)
    return cls(**values)


@functools.lru_cache(maxsize=10_000)
def _range_of(name: str) -> tuple[float, float]:
    """The smallest and the largest value of a number, by its name in a record."""
    plain = name.partition("/")[0].removeprefix("in_domain_")
    return next((low, high) for words, low, high in RANGES if re.fullmatch(words, plain, re.S))


def check_ranges(values: Mapping[str, Any], texts: Collection[str] | None = None) -> None:
    """Check that the numbers among some values are within `RANGES`.

    Args:
        values: by name.
        texts: names of values that are no numbers; the others must be numbers or None, or, in a
            row with texts, numbers of objects by size. None: values of all kinds may be among them.

    Raises:
        TypeError: a value is neither a number nor None.
        ValueError: a number is too small, too large or not finite.
    """
    for name, value in values.items():
        if type(value) is float or type(value) is int:
            low, high = _range_of(name)
            if not low <= value <= high:
                raise ValueError(
                    f"{name} is {value!r:.40}, expected a number from {low:.9g} to {high:.9g}"
                )
        elif texts is not None and value is not None and name not in texts:
            if texts and name.startswith("size_counts"):
                _check_counts(name, value)
            else:
                raise TypeError(f"{name} is {value!r:.40}, expected a number or nothing")


def _check_counts(name: str, value: Any) -> None:
    """Check the numbers of objects by size of an image."""
    if not isinstance(value, list) or not all(type(count) is int for count in value):
        raise TypeError(f"{name} is {value!r:.40}, expected a list of whole numbers")
    if len(value) > MOST_BINS or not all(0 <= count <= LARGEST for count in value):
        raise ValueError(
            f"{name} is {value!r:.40}, expected at most {MOST_BINS} numbers from 0 to {LARGEST:.9g}"
        )


def check_results(values: Mapping[str, Any]) -> None:
    """Check the metrics and rows of a record from JSON: kinds, and `RANGES`.

    Raises:
        KeyError: a row has no name or no group, or a point of the training no step.
        TypeError, ValueError: as `check_ranges`; or a name is not text.
    """
    check_ranges(values["metrics"], ())
    expect_kinds(_ENV_KINDS, values["env"])
    if values["status"] == "ok" and not values["per_image"]:
        raise ValueError("it is a run that ended well, without a test image")
    for part, texts in (("per_image", _NAMES), ("per_volume", _NAMES), ("history", ())):
        for row in values.get(part, ()):  # older records have no `per_volume`
            expect_kinds({part: (dict,)}, {part: row})
            for name in texts:
                expect_kinds({name: (str,)}, {name: row[name]})
            check_ranges(row, texts)
        if part == "history" and not all(row["step"] is not None for row in values[part]):
            raise TypeError("a step of the history is null, expected a number")


_NAMES = ("name", "group")
# Of what reports read of the environment; the other facts are only shown.
_ENV_KINDS = {"threads": (int, NoneType), "packages": (dict,), "split": (dict,), "zoom": (dict,)}
