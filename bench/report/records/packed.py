"""Rows of images and points of training, kept by column: a tenth of the memory of mappings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, overload

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]
Texts = tuple[str, ...]

_ABSENT = float("inf")  # in place of a key that a mapping lacks, as NaN is in place of None


@dataclass(frozen=True)
class _Layout:
    """What runs have in common: keys, places of the columns, and which numbers are whole."""

    keys: Texts
    texts: Mapping[str, int]
    numbers: Mapping[str, int]
    whole: frozenset[str]
    gaps: bool  # some mapping lacks a key


class Packed(Sequence[Mapping[str, Any]]):
    """Mappings of text and numbers; reads like the tuple that it was made from.

    Made by `pack`.
    """

    __slots__ = ("_layout", "_numbers", "_texts")

    def __init__(self, layout: _Layout, texts: tuple[Texts, ...], numbers: Floats) -> None:
        self._layout, self._texts, self._numbers = layout, texts, numbers

    def __len__(self) -> int:
        return self._numbers.shape[1]

    @overload
    def __getitem__(self, place: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Rows: ...
    def __getitem__(self, place: int | slice) -> Mapping[str, Any] | Rows:
        if isinstance(place, slice):
            return [self._row(one) for one in range(len(self))[place]]
        return self._row(range(len(self))[place])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return list(self) == list(other)

    def texts(self, *keys: str) -> tuple[Texts, ...]:
        """Columns of text."""
        return tuple(self._texts[self._layout.texts[key]] for key in keys)

    def numbers(self, key: str) -> Floats:
        """A column of numbers (rows,), NaN where there is none."""
        place = self._layout.numbers.get(key)
        if place is None:
            return np.full(len(self), np.nan)
        column = self._numbers[place]
        return np.where(column == _ABSENT, np.nan, column) if self._layout.gaps else column

    def _row(self, place: int) -> dict[str, Any]:
        layout = self._layout
        row: dict[str, Any] = {}
        for key in layout.keys:
            if key in layout.texts:
                row[key] = self._texts[layout.texts[key]][place]
            elif (value := float(self._numbers[layout.numbers[key], place])) != _ABSENT:
                known = int(value) if key in layout.whole and value == value else value
                row[key] = None if value != value else known
        return row


def pack(rows: Rows) -> Rows:
    """The same mappings in less memory; as they are where they hold more than text and numbers."""
    if isinstance(rows, Packed) or not rows or not rows[0]:
        return rows
    shapes = dict.fromkeys(map(tuple, rows))
    keys = tuple(dict.fromkeys(chain.from_iterable(shapes)))
    gaps = len(shapes) > 1
    if gaps:
        columns = [tuple([row.get(key, _ABSENT) for row in rows]) for key in keys]
    else:
        columns = list(zip(*(row.values() for row in rows), strict=True))
    kinds = "".join(map(_kind, columns))
    if "?" in kinds:
        return rows
    texts = tuple(_shared(c) for c, kind in zip(columns, kinds, strict=True) if kind == "t")
    numbers = [c for c, kind in zip(columns, kinds, strict=True) if kind != "t"]
    array = np.array(numbers, dtype=np.float64).reshape(len(numbers), len(rows))
    absent = len(keys) * len(rows) - sum(map(len, rows))
    unknown = sum(column.count(None) for column in numbers)
    if np.isfinite(array).sum() + absent + unknown != array.size:
        return rows  # a stated infinity or NaN is to stand for itself
    return Packed(_layout(keys, kinds, gaps), texts, array)


def texts_of(rows: Rows, *keys: str) -> tuple[Texts, ...]:
    """Columns of text, packed or not."""
    if isinstance(rows, Packed):
        return rows.texts(*keys)
    return tuple(tuple(row[key] for row in rows) for key in keys)


def numbers_of(rows: Rows, key: str) -> Floats:
    """A column of numbers (rows,), packed or not; NaN where there is none."""
    if isinstance(rows, Packed):
        return rows.numbers(key)
    return np.array([row.get(key) for row in rows], dtype=np.float64)


def _kind(column: tuple[Any, ...]) -> str:
    types = set(map(type, column))
    if types == {str}:
        return "t"
    if types <= {int, type(None)}:
        return "i"
    return "f" if types <= {int, float, type(None)} else "?"


@lru_cache(maxsize=4096)
def _layout(keys: Texts, kinds: str, gaps: bool) -> _Layout:
    texts = [key for key, kind in zip(keys, kinds, strict=True) if kind == "t"]
    numbers = [key for key, kind in zip(keys, kinds, strict=True) if kind != "t"]
    whole = frozenset(key for key, kind in zip(keys, kinds, strict=True) if kind == "i")
    of_text, of_number = (
        {key: place for place, key in enumerate(part)} for part in (texts, numbers)
    )
    return _Layout(keys, of_text, of_number, whole, gaps)


@lru_cache(maxsize=4096)
def _shared(column: Texts) -> Texts:
    """One tuple for all runs on the same images."""
    return column
