"""The mask values of a folder without a declaration: pixels, shapes, and words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from bench.data.contents import Contents, value_counts
from bench.data.decode import read_stored
from bench.data.items import Item
from bench.data.masks import COLOUR, NOT_FINITE, Codes, show_value

SAMPLE = 16  # masks that are looked at closely
_EDGE = 8  # px: how far a smooth edge, or the ringing of JPEG, extends

UNLABELLED = -1  # the usual value of unlabelled pixels in signed masks
_LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True, eq=False)
class MaskValues:
    """The values of all masks of a folder.

    Attributes:
        root: the folder, for messages.
        items: its items.
        contents: of each.
    """

    root: Path
    items: Sequence[Item]
    contents: Sequence[Contents]

    @cached_property
    def total(self) -> dict[int, int]:
        """Stored value to its pixels in all masks, ascending, without -1 and NaN."""
        total: dict[int, int] = {}
        for content in self.contents:
            for value, count in content.values.items():
                total[value] = total.get(value, 0) + count
        return {v: total[v] for v in sorted(total) if v not in (UNLABELLED, NOT_FINITE)}

    @property
    def file(self) -> str:
        """The declaration to write, in quotes."""
        return f"'{self.root / 'classes.json'}'"

    @property
    def lossy(self) -> Path | None:
        """A mask whose file format changes values, or None."""
        files = (item.mask for item in self.items if isinstance(item.mask, Path))
        return next((file for file in files if file.suffix.lower() in _LOSSY), None)

    def sample(self) -> list[tuple[Item, tuple[int, int]]]:
        """Items with the sizes of their whole images."""
        return [(i, c.full) for i, c in zip(self.items, self.contents, strict=True)]

    def holder(self, value: int) -> str:
        """The path of a mask that holds a value, in quotes."""
        for item, content in zip(self.items, self.contents, strict=True):
            if value in content.values and isinstance(item.mask, Path):
                return f"'{item.mask}'"
        return f"'{self.root}'"


def peaks_of(total: Mapping[int, int], share: float = 0.01) -> list[int]:
    """The most frequent values, at least two and at most eight, that are far from each other."""
    peaks: list[int] = []
    apart = max(1, (max(total) - min(total)) // 8)
    least = share * sum(total.values())
    for value in sorted(total, key=lambda value: -total[value]):
        wanted = len(peaks) < 2 or (total[value] >= least and len(peaks) < 8)
        if wanted and all(abs(value - peak) >= apart for peak in peaks):
            peaks.append(value)
    return sorted(peaks)


def ranges(total: Mapping[int, int], flat: Mapping[int, int]) -> dict[str, Any]:
    """Ranges around the most frequent values: a quarter of the way to the next one.

    Colours have no order: the most frequent ones stand for themselves.

    Args:
        total: stored value to its number of pixels.
        flat: the same of pixels whose neighbours have their value, which is rare on slopes.
    """
    if max(total) >= COLOUR:
        frequent = sorted(total, key=lambda value: -total[value])[:8]
        least = 0.01 * sum(total.values())
        return named(sorted(v for n, v in enumerate(frequent) if n < 2 or total[v] >= least))
    peaks = peaks_of(flat, 0.001) if len(flat) > 1 else peaks_of(total)
    gaps = [(after - before) // 4 for before, after in pairwise(peaks)]
    lowest = [min(total), *(peak - gap for peak, gap in zip(peaks[1:], gaps, strict=True))]
    highest = [*(peak + gap for peak, gap in zip(peaks, gaps, strict=False)), max(total)]
    return {
        name: f"{low}..{high}"
        for name, low, high in zip(named(peaks), lowest, highest, strict=True)
    }


def are_indices(values: Sequence[int]) -> bool:
    """Whether values are 0 to K-1 with at least two of them."""
    return len(values) > 1 and list(values) == list(range(len(values)))


def named(stored: Sequence[int], index: bool = False) -> dict[str, int]:
    """A name for each value: indices, two values, or levels and colours."""
    if index or are_indices(stored):
        names = ["background", *(f"class {value}" for value in stored[1:])]
    elif len(stored) == 2:
        names = ["background", "object"]
    else:
        names = ["background", *(f"value {show_value(value)}" for value in stored[1:])]
    return dict(zip(names, stored, strict=True))


def listed(values: Sequence[int], most: int = 12) -> str:
    """Values as a person writes them, the first `most` of them."""
    shown = ", ".join(map(show_value, values[:most]))
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"


def pieces(codes: Codes) -> tuple[int, int]:
    """Number of values above the lowest, and of connected pieces of these values (8 neighbours)."""
    lowest = codes.min()
    inside = codes != lowest
    # Pixels of different values are parted: each value is labelled on a grid of its own.
    distinct, order = np.unique(codes, return_inverse=True)
    order = order.reshape(codes.shape)
    count = 0
    for index, window in enumerate(ndimage.find_objects(order * inside), start=1):
        if window is not None:
            count += ndimage.label(order[window] == index, np.ones((3, 3)))[1]
    return distinct.size - 1, count


def share_at_edges(codes: Codes, low: int, high: int) -> tuple[int, int]:
    """Pixels between two levels, and how many of them have both levels within 8 pixels.

    Levels within an eighth of the distance count as the level.
    """
    near = (high - low) / 8
    dark, bright = codes < low + near, codes > high - near
    between = ~(dark | bright)
    size = 2 * _EDGE + 1
    edge = ndimage.maximum_filter(dark, size) & ndimage.maximum_filter(bright, size) & between
    return int(between.sum()), int(edge.sum())


def slopes(codes: Codes, peaks: Sequence[int]) -> tuple[int, int]:
    """Pixels of values that are no peaks, and how many are between a lower and a higher neighbour.

    Neighbours are those at both sides in a row or in a column.
    """
    rest = ~np.isin(codes, peaks)
    levels = codes.astype(np.int64)
    between = np.zeros(codes.shape, bool)
    for values, found in ((levels, between), (levels.T, between.T)):
        before, middle, after = values[:-2], values[1:-1], values[2:]
        found[1:-1] |= ((before < middle) & (middle < after)) | (
            (before > middle) & (middle > after)
        )
    return int(rest.sum()), int((between & rest).sum())


def flat_values(masks: Sequence[Codes]) -> Counter[int]:
    """Value to the number of its pixels whose eight neighbours have the same value."""
    counts = Counter[int]()
    for codes in masks:
        flat = ndimage.maximum_filter(codes, 3) == ndimage.minimum_filter(codes, 3)
        counts.update(value_counts(codes[flat]))
    return counts


def read_samples(items: list[tuple[Item, tuple[int, int]]]) -> list[Codes]:
    """Stored mask values of at most `SAMPLE` items at equal distances."""
    step = -(-len(items) // SAMPLE)
    return [read_stored(item, full) for item, full in items[::step]]
