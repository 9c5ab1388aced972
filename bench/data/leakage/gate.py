"""Leakage gate: find images that also occur, whole or in part, in another part of the split.

It finds shared groups and near duplicates (`bench.data.leakage.near_duplicates`). Regions are
compared at one scale for the whole collection: a magnified part or a free rotation is not found, a
resized copy of a whole image is. docs/evidence.md has the rates of misses and false alarms.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from bench.data.items import Collection, Item
from bench.data.leakage.near_duplicates import INVERSE, ORIENTATIONS
from bench.data.leakage.pairs import Pair, find_pairs
from bench.data.split import SHARES, Split
from bench.errors import UserError

Kind = Literal["group", "identical", "copy", "overlap"]

NAMED = 5  # leaks that an error names


@dataclass(frozen=True)
class Leak:
    """Two items of different parts that are not independent.

    Attributes:
        kind: "group" (one specimen), "identical" (equal size and grey values), "copy" (the whole
            image with other brightness, contrast, compression, size or orientation), "overlap" (a
            region).
        first: name of the item in the earlier part.
        first_part: "train" or "val".
        second: name of the item in the later part.
        second_part: "val" or "test".
        score: correlation of the shared region, -1..1, as of `Match`; None for a group.
        shared: shared region as a share of the smaller image, 0..1; None for a group.
        orientation: orientation of the first image relative to the second; "" if the same, or for
            a group.
        group: the specimen, for the kind "group"; "" for others.
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


def find_leaks(parts: Split, pairs: Sequence[Pair] | None = None) -> list[Leak]:
    """Find overlaps between the parts of a split, validation included; inside a part none.

    Args:
        parts: training, validation and test items.
        pairs: of `find_pairs` for all items of the parts; None to search them now.

    Returns:
        First one leak for each group and each two parts that it is in, with its first item in each;
        then one for each pair of images of two parts that share pixels, also within a group.

    Raises:
        UserError: an image cannot be read.
    """
    sides: dict[str, tuple[Item, ...]] = {name: getattr(parts, name) for name in SHARES}
    leaks = [leak for pair in combinations(sides, 2) for leak in _shared_groups(sides, *pair)]
    if pairs is None:
        pairs = find_pairs([item for side in sides.values() for item in side])
    order = list(sides)
    place = {
        item.name: (order.index(part), number)
        for part, side in sides.items()
        for number, item in enumerate(side)
    }
    crossing: list[tuple[tuple[int, int], tuple[int, int], Pair]] = []
    for pair in pairs:
        if pair.first in place and pair.second in place:
            one, other = place[pair.first], place[pair.second]
            if one[0] > other[0]:
                one, other, pair = other, one, _turned(pair)
            if one[0] < other[0]:
                crossing.append((one, other, pair))
    crossing.sort(key=lambda entry: (entry[0][0], entry[1][0], entry[0][1], entry[1][1]))
    return leaks + [leak_of(pair, order[one[0]], order[other[0]]) for one, other, pair in crossing]


def leak_of(pair: Pair, first_part: str, second_part: str) -> Leak:
    """The leak that a pair of images of two parts is."""
    kind, score, shared, orientation = pair.match
    how = ORIENTATIONS[orientation]
    return Leak(kind, pair.first, first_part, pair.second, second_part, score, shared, how)


def _turned(pair: Pair) -> Pair:
    """The same pair in the other order."""
    match = pair.match._replace(orientation=INVERSE[pair.match.orientation])
    return Pair(pair.second, pair.first, match)


class LeakageError(UserError):
    """Images of different parts overlap.

    Attributes:
        leaks: all of them.
        collection: what was split.
        pairs: all pairs of its images that overlap, also inside a part.
        inside: whether a leak is between images of the collection, and not only with another one.
    """

    def __init__(
        self,
        message: str,
        leaks: Sequence[Leak],
        collection: Collection,
        pairs: Sequence[Pair],
        inside: bool,
    ) -> None:
        super().__init__(message)
        self.leaks, self.collection, self.pairs = tuple(leaks), collection, tuple(pairs)
        self.inside = inside


def leakage_error(
    leaks: Sequence[Leak], collection: Collection, pairs: Sequence[Pair], inside: bool = True
) -> LeakageError:
    """The error that stops a run; it is returned, not raised.

    Args:
        leaks: at least one; the message names the first `NAMED` pairs, and what the user can do.
        collection: what was split.
        pairs: of `find_pairs` for all its items.
        inside: as of `LeakageError`.
    """
    named = "; ".join(map(str, leaks[:NAMED]))
    more = f"; and {len(leaks) - NAMED} more" if len(leaks) > NAMED else ""
    mend = "put these images into one part (one group in groups.csv), remove the copies"
    if not inside:
        mend = "remove the copies from one of the datasets"
    return LeakageError(
        f"the parts of the split are not independent: {named}{more}; {mend}, or pass"
        " --allow-leakage to run even so, which the records state",
        *(leaks, collection, pairs, inside),
    )


def _shared_groups(sides: dict[str, tuple[Item, ...]], a: str, b: str) -> Iterator[Leak]:
    """One leak for each group that is in both parts, with its first item in each."""
    first = {item.group: item.name for item in reversed(sides[a])}
    second = {item.group: item.name for item in reversed(sides[b])}
    for group in sorted(first.keys() & second.keys()):
        yield Leak("group", first[group], a, second[group], b, group=group)
