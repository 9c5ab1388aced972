"""All pairs of images of a collection that share pixels, and the groups that they make."""

import hashlib
from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from statistics import median
from typing import NamedTuple

from scipy.cluster.hierarchy import DisjointSet

from bench.data.decode import read_image
from bench.data.items import Item
from bench.data.leakage.features import Bands, Features, extract, grey
from bench.data.leakage.near_duplicates import Index, Match
from bench.data.parallel import for_each, threads_for
from bench.data.raster import UNREADABLE, size_of
from bench.data.remember import Remembered, state_of

SIDE = 400  # px; images are reduced by a whole number until the typical one is no longer than this
POINTS, FEWEST = 200, 20  # windows per image; fewer where COMPARISONS would be exceeded
COMPARISONS = 8e9  # of windows, about 20 s on one core
EDITION = 1  # of the search; a higher number forgets remembered pairs


class Pair(NamedTuple):
    """Two images that share pixels.

    Attributes:
        first: name of the item that comes first in the collection.
        second: name of the other item.
        match: how they match; the orientation is that of the first relative to the second.
    """

    first: str
    second: str
    match: Match


def find_pairs(items: Sequence[Item], others: Sequence[Item] = ()) -> list[Pair]:
    """Find all pairs of items that share pixels; with `others` those of an item and another one.

    Every image is decoded once. Some overlaps are missed, see docs/evidence.md; an image of one
    value is never found to share pixels. Pairs of files are remembered until a file changes.

    Args:
        items: the images; names differ.
        others: further images; pairs among them, and among the items, are then left out.

    Returns:
        The pairs, sorted by the positions of the items.

    Raises:
        UserError: an image cannot be read.
    """
    files = [item.image for item in (*items, *others) if isinstance(item.image, Path)]
    if len(files) < len(items) + len(others) or not files:
        return _search(items, others)
    memory = Remembered(f"overlaps{EDITION}", files[0].parent)
    names = [[(item.name, str(item.selection)) for item in some] for some in (items, others)]
    key = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
    try:
        state = state_of(files)
        stored = memory.recall(key, state)
        if stored is None:
            pairs = _search(items, others)
            memory.keep(key, state, [[pair.first, pair.second, *pair.match] for pair in pairs])
            memory.save()
            return pairs
    except FileNotFoundError:  # the decoder says so in a sentence
        return _search(items, others)
    return [Pair(first, second, Match(*match)) for first, second, *match in stored]


def joined_groups(items: Sequence[Item], pairs: Sequence[Pair]) -> tuple[tuple[str, ...], ...]:
    """The groups that pairs of images connect, also through other groups.

    Args:
        items: all items of a collection.
        pairs: of `find_pairs`.

    Returns:
        For each set of two or more connected groups their names, in the order of the items.
    """
    group_of = {item.name: item.group for item in items}
    connected = DisjointSet(group_of.values())
    for pair in pairs:
        connected.merge(group_of[pair.first], group_of[pair.second])
    members: dict[str, list[str]] = {}
    for group in connected:
        members.setdefault(connected[group], []).append(group)
    return tuple(tuple(groups) for groups in members.values() if len(groups) > 1)


def _search(items: Sequence[Item], others: Sequence[Item]) -> list[Pair]:
    everything = [*items, *others]
    factor = _reduction(everything)
    count = len(items)
    comparisons = count * len(others) if others else count * (count - 1) / 2
    points = min(POINTS, max(FEWEST, int(sqrt(COMPARISONS / max(comparisons, 1)))))
    bands = Bands(everything, factor)

    def describe(number: int) -> Features:
        features, band = extract(grey(everything[number]), factor, points)
        bands.put(number, band)
        return features

    if not items or (others and not count):
        return []
    threads = threads_for(everything)
    numbers = range(len(everything))
    features = for_each(describe, numbers, "looking for overlapping images", threads)
    index = Index(features, bands)

    def compare(number: int) -> list[tuple[int, Match]]:
        start = count if others else number + 1
        return index.matches(number, start)

    found = for_each(compare, range(count), "comparing images", threads)
    return [
        Pair(items[number].name, everything[other].name, match)
        for number, matches in enumerate(found)
        for other, match in matches
    ]


def _reduction(items: Sequence[Item]) -> int:
    """Factor by which all images are reduced, from the median size of some of them."""
    some = items[:: ceil(len(items) / 15)] if items else []
    return ceil(median(_longest(item) for item in some) / SIDE) if some else 1


def _longest(item: Item) -> int:
    try:
        return max(item.selection.cut_size(size_of(item.image)))
    except UNREADABLE:
        return max(read_image(item.image, item.selection).shape)  # raises its sentence
