"""Classes and their stored mask values, as a folder declares them or as guessed from its masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.decode import COLOUR, show_value
from bench.data.items import IGNORE
from bench.errors import UserError

MAX_VALUES = 64  # more distinct values than this are not classes but blurred edges
MAX_CLASSES = IGNORE  # indices 0 to 254
UNLABELLED = -1  # the usual value of unlabelled pixels in signed masks


@dataclass(frozen=True)
class Classes:
    """The classes of a folder.

    Attributes:
        names: name of each class, by index; the background first.
        values: stored mask value to class index, or to `IGNORE` for unlabelled pixels.
        notes: what was guessed, as sentences for the user; empty where classes are declared.
    """

    names: tuple[str, ...]
    values: dict[int, int]
    notes: tuple[str, ...] = ()

    @property
    def mask_values(self) -> dict[int, int] | None:
        """`values`, or None where they are class indices already, and perhaps `IGNORE`."""
        identity = {**{k: k for k in range(len(self.names))}, IGNORE: IGNORE}
        return None if self.values.items() <= identity.items() else self.values


def classes_by_name(declared: Mapping[str, Any], file: Path) -> Classes:
    """Classes from {name: stored value}, indexed as listed: the first is the background.

    A value is an integer (128 or "128") or a colour such as "#ff0000"; the name "ignore" marks
    unlabelled pixels and is not a class.

    Args:
        declared: name to stored value.
        file: where it is declared, for messages.

    Raises:
        UserError: a value cannot be read, two classes have one value, or there are fewer than two
            or more than `MAX_CLASSES` classes.
    """
    named = {name: _value(value, file) for name, value in declared.items()}
    ignored = named.pop("ignore", None)
    return _table(list(named.items()), ignored, file)


def classes_by_value(declared: Mapping[str, str] | list[str], ignored: Any, file: Path) -> Classes:
    """Classes from {stored value: name} or a list of names, indexed in the order of the values.

    Thus the lowest value is the background. Values are written as in `classes_by_name`.

    Args:
        declared: stored value to name, or the names of the values 0, 1, ...
        ignored: stored value of unlabelled pixels; None if there is none. It is not a class, even
            if `declared` names it.
        file: where it is declared, for messages.

    Raises:
        UserError: a value cannot be read, two classes have one name or value, or there are fewer
            than two or more than `MAX_CLASSES` classes.
    """
    pairs = declared.items() if isinstance(declared, dict) else enumerate(declared)
    named = sorted((_value(value, file), str(name)) for value, name in pairs)
    ignored = None if ignored is None else _value(ignored, file)
    return _table([(name, value) for value, name in named if value != ignored], ignored, file)


def guess_classes(masks: Sequence[Sequence[int]], lossy: Path | None, root: Path) -> Classes:
    """Guess the classes of a folder from all stored values of its masks; `notes` say how.

    Values 0 to K-1 are class indices; 255 next to at least 0 and 1 marks unlabelled pixels, and so
    does -1. Any other set (0 and 255; 0, 128, 255; colours) counts up from its lowest value.

    Args:
        masks: the distinct values of each mask, as `read_mask` gives them.
        lossy: one mask whose file format changes values, or None.
        root: the folder, for messages.

    Raises:
        UserError: fewer than two values besides -1, more than `MAX_VALUES` (or with `lossy`, more
            than two), values below -1, or some masks with indices and others with grey levels up to
            255.
    """
    stored = sorted({value for mask in masks for value in mask} - {UNLABELLED})
    unlabelled = any(UNLABELLED in mask for mask in masks)
    way_out = (
        f'list the classes in \'{root / "classes.json"}\', as in {{"background": 0, "object": 1}}'
    )
    if len(stored) < 2:
        raise UserError(
            f"all masks in '{root}' hold the one value {', '.join(map(show_value, stored))}; label "
            f"a second class or {way_out}"
        )
    if len(stored) > MAX_VALUES or (lossy and len(stored) > 2):
        cause = f"'{lossy}' is a JPEG" if lossy else "blurred or resampled edges, or instances"
        raise UserError(
            f"the masks in '{root}' hold {len(stored)} different values, which is not a class map "
            f"({cause}); save them as PNG with one value per class, without smoothing"
        )
    if stored[0] < 0:
        raise UserError(f"the masks in '{root}' hold the value {stored[0]}; {way_out}")
    _refuse_mixed_scale(masks, stored, root)
    guess = _from_values(stored, way_out)
    if not unlabelled:
        return guess
    notes = (f"mask value {UNLABELLED} taken as unlabelled", *guess.notes)
    return Classes(guess.names, {**guess.values, UNLABELLED: IGNORE}, notes)


def _refuse_mixed_scale(masks: Sequence[Sequence[int]], stored: list[int], root: Path) -> None:
    """Raise UserError where some masks hold objects as 1, 2, ... and others as levels up to 255."""
    levels = stored[1:]
    low, high = set(levels[: len(levels) // 2]), set(levels[len(levels) // 2 :])
    if stored[0] != 0 or max(high, default=0) != IGNORE or low != set(range(1, len(high) + 1)):
        return
    if any(low & set(mask) and high & set(mask) for mask in masks):
        return
    raise UserError(
        f"the masks in '{root}' hold {', '.join(map(show_value, sorted(low)))} or "
        f"{', '.join(map(show_value, sorted(high)))}, never both in one mask: the same classes may "
        f"be saved in two ways; save all masks in one way, or list the classes in "
        f"'{root / 'classes.json'}', with \"ignore\": {IGNORE} if {IGNORE} marks unlabelled pixels"
    )


def _from_values(stored: list[int], way_out: str) -> Classes:
    """Class indices where the values are 0 to K-1 and perhaps 255, else counted upwards."""
    shown = ", ".join(map(show_value, stored))
    labelled = [value for value in stored if value != IGNORE]
    if labelled == list(range(len(labelled))) and (len(labelled) > 1 or IGNORE not in stored):
        names = ["background", *(f"class {index}" for index in labelled[1:])]
        note = f"mask values {shown} taken as class indices"
        if IGNORE in stored:
            note += f", {IGNORE} as unlabelled"
        return _guess(
            names, {value: value for value in stored}, f"{note}; to change this, {way_out}"
        )
    if len(stored) == 2:
        names = ["background", "object"]
    else:
        names = ["background", *(f"value {show_value(value)}" for value in stored[1:])]
    note = f"mask values {shown} taken as classes 0 to {len(stored) - 1} ({', '.join(names)})"
    indices = {value: index for index, value in enumerate(stored)}
    return _guess(names, indices, f"{note}; to change this, {way_out}")


def _guess(names: list[str], values: dict[int, int], note: str) -> Classes:
    return Classes(tuple(names), values, (note,))


def _table(named: list[tuple[str, int]], ignored: int | None, file: Path) -> Classes:
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"'{file}' has two classes '{twice[0]}'; give each class its own name")
    stored = [value for _, value in named]
    if len(set(stored)) != len(stored) or ignored in stored:
        raise UserError(f"'{file}' has one mask value for two classes; make the values distinct")
    if not 2 <= len(named) <= MAX_CLASSES:
        raise UserError(
            f"'{file}' names {len(named)} classes; name 2 to {MAX_CLASSES}, the background first"
        )
    values = {value: index for index, (_, value) in enumerate(named)}
    if ignored is not None:
        values[ignored] = IGNORE
    return Classes(tuple(name for name, _ in named), values)


def _value(text: Any, file: Path) -> int:
    """Stored mask value of 128, "128" or "#ff0000"; grey colours are grey levels, as decoded."""
    try:
        if not str(text).startswith("#"):
            if isinstance(text, bool) or int(text) != float(text):
                raise ValueError
            return int(text)
        code = int(str(text)[1:], 16)
    except (TypeError, ValueError, OverflowError):
        raise UserError(
            f"'{file}' has the mask value {text!r}; use an integer or a colour like \"#ff0000\""
        ) from None
    red, green, blue = code >> 16, code >> 8 & 255, code & 255
    return red if red == green == blue else COLOUR + code
