"""Leakage gate: does a test image, or a part of it, stand in the training part too?

Shared groups, and images that show the same (`bench.data.likeness`).
Regions are compared at one scale for the whole collection, so a magnified part or a free rotation
is not found; a resized copy of a whole image is. How much is found, and what is taken for a leak
that is none, stands in docs/protocol.md.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from math import ceil, sqrt
from statistics import median
from typing import Literal

from bench.data.decode import read_image
from bench.data.items import Item
from bench.data.leakage.near_duplicates import ORIENTATIONS, Side, look_at
from bench.data.split import SHARES, Split
from bench.errors import UserError

Kind = Literal["group", "identical", "copy", "overlap"]

SIDE = 400  # px; images are reduced by a whole number until the typical one is no longer than this
POINTS, FEWEST = 200, 20  # windows an image; fewer where COMPARISONS would be exceeded
COMPARISONS = 8e9  # of windows, about 20 s on one core
NAMED = 5  # leaks in an error


@dataclass(frozen=True)
class Leak:
    """Two items of different parts that are not independent.

    Attributes:
        kind: "group" (one specimen), "identical" (equal grey values), "copy" (the whole image with
            other brightness, contrast, compression, size or orientation), "overlap" (a part).
        first: name of the item in the earlier part.
        first_part: "train" or "val".
        second: name of the item in the later part.
        second_part: "val" or "test".
        score: correlation of what both show, -1..1; None for a group.
        shared: share of the smaller image's area that both show, 0..1; None for a group.
        orientation: what was done to the first image; "" if nothing.
        group: the specimen, for the kind "group".
    """

    kind: Kind
    first: str
    first_part: str
    second: str
    second_part: str
    score: float | None = None
    shared: float | None = None
    orientation: str = ""
    group: str = ""

    def __str__(self) -> str:
        one = f"'{self.second}' ({self.second_part})"
        other = f"'{self.first}' ({self.first_part})"
        how = ", ".join(filter(None, (self.orientation, f"correlation {self.score or 0:.2f}")))
        if self.kind == "group":
            return f"{one} and {other} belong to one group, '{self.group}'"
        if self.kind == "identical":
            return f"{one} has the same pixels as {other}"
        if self.kind == "copy":
            return f"{one} is a copy of {other} ({how})"
        return f"{one} and {other} share {self.shared or 0:.0%} of the smaller one's area ({how})"


def find_leaks(parts: Split) -> list[Leak]:
    """Every pair of items across two parts that share a group or pixels; groups come first.

    Raises:
        UserError: an image cannot be read.
    """
    sides: dict[str, tuple[Item, ...]] = {name: getattr(parts, name) for name in SHARES}
    leaks = [leak for pair in combinations(sides, 2) for leak in _shared_groups(sides, *pair)]
    items = [item for side in sides.values() for item in side]
    factor = _reduction(items)
    pairs = sum(len(sides[a]) * len(sides[b]) for a, b in combinations(sides, 2))
    points = min(POINTS, max(FEWEST, int(sqrt(COMPARISONS / max(pairs, 1)))))
    with ThreadPoolExecutor() as pool:
        looks = iter(list(pool.map(lambda item: look_at(item, factor, points), items)))
    seen = {part: [next(looks) for _ in side] for part, side in sides.items()}
    for a, b in combinations(sides, 2):
        if not sides[b]:
            continue
        against = Side(seen[b])
        for item, look in zip(sides[a], seen[a], strict=True):
            for number, (kind, score, shared, orientation) in against.matches(look):
                other, how = sides[b][number].name, ORIENTATIONS[orientation]
                leaks.append(Leak(kind, item.name, a, other, b, score, shared, how))
    return leaks


def refusal(leaks: Sequence[Leak]) -> UserError:
    """The error that stops a run, with the first pairs and what to do about them."""
    named = "; ".join(map(str, leaks[:NAMED]))
    more = f"; and {len(leaks) - NAMED} more" if len(leaks) > NAMED else ""
    return UserError(
        f"the parts of the split are not independent: {named}{more}; put what belongs together "
        "into one part (one group in groups.csv), remove the copies, or pass --allow-leakage to "
        "train all the same with this on record"
    )


def _shared_groups(sides: dict[str, tuple[Item, ...]], a: str, b: str) -> Iterator[Leak]:
    """One leak for each group that lies in both parts, with its first item in each."""
    first = {item.group: item.name for item in reversed(sides[a])}
    second = {item.group: item.name for item in reversed(sides[b])}
    for group in sorted(first.keys() & second.keys()):
        yield Leak("group", first[group], a, second[group], b, group=group)


def _reduction(items: Sequence[Item]) -> int:
    """The whole number that the sides of all images are divided by; a few tell the usual size."""
    some = items[:: ceil(len(items) / 15)] if items else []
    return ceil(median(max(read_image(item.image).shape) for item in some) / SIDE) if some else 1
