"""Classes and their stored mask values, as a folder declares them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.data.items import IGNORE
from bench.data.masks import COLOUR, NOT_FINITE, show_value
from bench.errors import UserError, shorten

MAX_CLASSES = IGNORE  # indices 0 to 254
OTHERS = "others"  # in a declaration: all values that it does not list
IGNORED = ("ignore", "ignored", "ignore_index", "ignore_label")
BACKGROUND = ("background", "bg")
# Keys under which files of other programs hold their classes.
_WRAPPERS = ("classes", "labels", "categories", "names", "class_names", "id2label", "label2id")
_NAMES = ("name", "label", "class", "title", "class_name")
_VALUES = ("value", "id", "index", "class_id", "pixel_value", "trainId")
_TRIPLE = r"[\[(]?\s*\d{1,3}\s*[,; ]\s*\d{1,3}\s*[,; ]\s*\d{1,3}\s*[\])]?"  # red, green, blue
_COLOURS = ("color", "colour", "rgb", "color_rgb")


@dataclass(frozen=True)
class Classes:
    """The classes of a folder.

    Attributes:
        names: name of each class, by index; the background first.
        values: stored mask value to class index, or to `IGNORE` for unlabelled pixels.
        notes: what was assumed, as sentences for the user.
        others: class index, or `IGNORE`, of all values that are not listed; None: there must be
            none.
        numbered: whether the mask values also number the objects.
    """

    names: tuple[str, ...]
    values: dict[int, int]
    notes: tuple[str, ...] = ()
    others: int | None = None
    numbered: bool = False

    @property
    def mask_values(self) -> dict[int, int] | None:
        """`values`, or None where they are class indices already, and perhaps `IGNORE`."""
        identity = {**{k: k for k in range(len(self.names))}, IGNORE: IGNORE}
        return None if self.values.items() <= identity.items() else self.values

    def complete(self, stored: Iterable[int]) -> "Classes":
        """With all stored values that are not listed, where the declaration has `OTHERS`."""
        if self.others is None:
            return self
        rest = {value: self.others for value in stored if value not in self.values}
        return replace(self, values={**self.values, **rest})


def declare(names: Mapping[str, Any], ignored: Sequence[int] | str = ()) -> str:
    """The text of a `classes.json`, as `read_declaration` reads it.

    Args:
        names: name of each class to its stored value or values, the background first.
        ignored: values of unlabelled pixels, or `OTHERS`.
    """
    content = {name: _written(value) for name, value in names.items()}
    if len(ignored):
        content["ignore"] = _written(ignored)
    return json.dumps(content, ensure_ascii=False)


def _written(value: Any) -> Any:
    if isinstance(value, int):
        return value if value < COLOUR else show_value(value)
    if isinstance(value, str):
        return value
    values = [_written(one) for one in value]
    return values[0] if len(values) == 1 else values


def read_declaration(
    content: Any, file: Path, stored: Iterable[int], ignored: Any = None
) -> Classes:
    """Classes from what people write: see the docstring of `bench.data.folder.sidecars`.

    With names first, classes are indexed as listed; with values first, in the order of the values.
    A class called "background" is the first in any case.

    Args:
        content: of a JSON file.
        file: it, for messages.
        stored: all values of the masks; if some are colours, those of a class count, not its id.
        ignored: stored values of unlabelled pixels; None if there are none.

    Raises:
        UserError: the content lists no classes, a value cannot be read, two classes have one name
            or value, or there are fewer than two or more than `MAX_CLASSES` classes.
    """
    stored = list(stored)
    coloured = any(value >= COLOUR for value in stored)
    if isinstance(content, dict) and (key := _wrapper(content)):
        ignored = next((content[word] for word in IGNORED if word in content), ignored)
        content = content[key]
    pairs = _pairs(content, file, coloured)
    for name, value in pairs:
        if name.casefold() in IGNORED and ignored is None:
            ignored = value
    read = partial(_values, file=file, stored=stored)
    lost = [] if ignored in (None, OTHERS) else read(ignored, coloured=False)
    named = [(name, value) for name, value in pairs if name.casefold() not in IGNORED]
    triples = all(isinstance(value, list) and len(value) == 3 for _, value in named)
    listed = [
        (name, [] if value == OTHERS else read(value, coloured=triples or coloured))
        for name, value in named
    ]
    kept = [(name, values) for name, values in listed if not values or not set(values) <= set(lost)]
    others = [name for name, value in named if value == OTHERS]
    if ignored == OTHERS:
        others.append("ignore")
    return _table(kept, lost, others, file)


def _wrapper(content: Mapping[str, Any]) -> str | None:
    """The key under which a file holds its classes; None if it lists them itself."""
    for key in _WRAPPERS:
        held = content.get(key)
        if isinstance(held, dict):
            return key
        if isinstance(held, list) and any(
            isinstance(one, dict | list) or not _is_value(one) for one in held
        ):
            return key
    return None


def _pairs(content: Any, file: Path, coloured: bool) -> list[tuple[str, Any]]:
    """Name and value of each class; those with their values as keys in the order of the values."""
    if isinstance(content, list):
        if all(isinstance(entry, dict) for entry in content):
            return [_of_entry(entry, index, file, coloured) for index, entry in enumerate(content)]
        if all(isinstance(entry, list) and len(entry) == 2 for entry in content):
            return [(str(name), value) for name, value in content]
        if any(isinstance(entry, dict | list) for entry in content):
            content = None
        else:
            return [(str(name), index) for index, name in enumerate(content)]
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"'{file}' lists no classes; write them as in {declare({'background': 0, 'object': 1})}"
        )
    if all(isinstance(entry, dict) for entry in content.values()):
        entries = [
            {"id": key, **entry} if _is_value(key) else {"name": key, **entry}
            for key, entry in content.items()
        ]
        return [_of_entry(entry, index, file, coloured) for index, entry in enumerate(entries)]
    if all(_is_value(key) and not _is_value(name) for key, name in content.items()):
        by_value = sorted(
            (_values(key, file, (), coloured), key, name) for key, name in content.items()
        )
        return [(str(name), key) for _, key, name in by_value]
    return list(content.items())


def _of_entry(entry: Mapping[str, Any], index: int, file: Path, coloured: bool) -> tuple[str, Any]:
    """Name and value of a class that is described by an object."""
    name = next((entry[key] for key in _NAMES if key in entry), None)
    if name is None:
        raise UserError(
            f"'{file}' has a class without a name ({json.dumps(entry)}); give each class a"
            ' "name" and a "value"'
        )
    keys = (*_COLOURS, *_VALUES) if coloured else _VALUES
    value = next((entry[key] for key in keys if entry.get(key) is not None), index)
    return str(name), value


def _is_value(text: Any) -> bool:
    """Whether a key is a mask value."""
    if isinstance(text, int | float | list):
        return True
    word = str(text)
    return bool(re.fullmatch(rf"-?\d+|#([0-9a-fA-F]{{3}}){{1,4}}|{_TRIPLE}", word))


def _values(value: Any, file: Path, stored: Sequence[int], coloured: bool) -> list[int]:
    """Stored values of one class: a value, a list, a range "8..15", or a colour [r, g, b]."""
    if isinstance(value, list):
        triple = len(value) == 3 and all(
            isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255
            for part in value
        )
        if coloured and triple:
            return [_value("#" + "".join(f"{part:02x}" for part in value), file)]
        return [_value(part, file) for part in value]
    if isinstance(value, str) and re.fullmatch(_TRIPLE, value):
        return _values([int(part) for part in re.findall(r"\d+", value)], file, stored, True)
    if span := re.fullmatch(r"\s*(-?\d+)\s*\.\.\s*(-?\d+)\s*", str(value)):
        return [one for one in stored if int(span[1]) <= one <= int(span[2])]
    return [_value(value, file)]


def _table(
    named: list[tuple[str, list[int]]], ignored: list[int], others: list[str], file: Path
) -> Classes:
    first = [pair for pair in named if pair[0].casefold() in BACKGROUND]
    named = first + [pair for pair in named if pair not in first]
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"'{file}' has two classes '{twice[0]}'; give each class its own name")
    stored = [value for _, values in named for value in values]
    if len(set(stored)) != len(stored) or not set(ignored).isdisjoint(stored) or len(others) > 1:
        raise UserError(f"'{file}' has one mask value for two classes; make the values distinct")
    if not 2 <= len(named) <= MAX_CLASSES:
        raise UserError(
            f"'{file}' names {len(named)} classes; name 2 to {MAX_CLASSES}, the background first"
        )
    values = {value: index for index, (_, some) in enumerate(named) for value in some}
    values |= dict.fromkeys(ignored, IGNORE)
    notes = []
    if not first and any(min(some, default=1) <= 0 for _, some in named[1:]):
        notes.append(f"'{names[0]}' is the background, because '{file.name}' names it first")
    rest = None
    if others:
        rest = IGNORE if others[0] == "ignore" else names.index(others[0])
    return Classes(tuple(names), values, tuple(notes), rest)


def _value(text: Any, file: Path) -> int:
    """Stored mask value of 128, "128" or "#ff0000"; grey colours are grey levels, as decoded."""
    try:
        word = str(text).strip()
        if word.casefold() == "nan":
            return NOT_FINITE
        if not word.startswith("#"):
            if isinstance(text, bool) or int(text) != float(text):
                raise ValueError
            return int(text)
        if len(word) == 4:  # "#f00", as in style sheets
            word = "#" + "".join(2 * digit for digit in word[1:])
        code = int(word[1:], 16)
    except (TypeError, ValueError, OverflowError):
        shown = "null" if text is None else shorten(repr(text))
        raise UserError(
            f"'{file}' has the mask value {shown}; use an integer or a colour like \"#ff0000\""
        ) from None
    bits = 8 if len(word) <= 7 else 16
    low = (1 << bits) - 1
    red, green, blue = code >> 2 * bits, code >> bits & low, code & low
    return red if red == green == blue else COLOUR + code
