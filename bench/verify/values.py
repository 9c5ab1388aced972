"""Values and texts beside those that they should be."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

AROUND = 30  # letters shown before the first that differs, twice as many after it
CLOSE = 1e-9  # relative difference that rounding may make


@dataclass(frozen=True)
class Finding:
    """Something that is not what it should be.

    Attributes:
        place: the file.
        told: what is wrong with it, in one sentence.
    """

    place: Path
    told: str


def unlike(found: Mapping[str, Any], expected: Mapping[str, Any], source: str) -> Iterator[str]:
    """Every value that is not as expected; those that are not there in one sentence."""
    for name, value in expected.items():
        if name in found and not _same(found[name], value):
            yield f"{name} is {found[name]}, {source} {value}"
    absent = [name for name in expected if name not in found]
    if absent:
        count = f"{len(absent)} figures are" if len(absent) > 1 else "1 figure is"
        yield (
            f"{count} missing that {source}, as {absent[0]}: removed, or not yet known to the "
            "version that wrote the record"
        )


def difference(here: str, made: str) -> str | None:
    """The first line in which a text differs from what the records give."""
    old, new = here.splitlines(), made.splitlines()
    for number, (one, other) in enumerate(zip(old, new, strict=False), 1):
        if one != other:
            pairs = zip_longest(one, other)
            start = next(place for place, (a, b) in enumerate(pairs) if a != b) - AROUND
            return f"line {number} is '{_cut(one, start)}', the records give '{_cut(other, start)}'"
    return f"has {len(old)} lines, the records give {len(new)}" if len(old) != len(new) else None


def _cut(line: str, start: int) -> str:
    """The part of a line in which it differs."""
    start = max(start, 0)
    part = line[start : start + 3 * AROUND]
    before, after = "..." if start else "", "..." if start + 3 * AROUND < len(line) else ""
    return f"{before}{part}{after}"


def _same(one: Any, other: Any) -> bool:
    numbers = [isinstance(value, int | float) for value in (one, other)]
    if not all(numbers):
        return bool(one == other)
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=1e-12)
