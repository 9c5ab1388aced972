"""The mask values of a folder without a declaration: numbers of pixels, and words for messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.data.contents import Contents
from bench.data.items import Item
from bench.data.masks import COLOUR, NOT_FINITE, show_value

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
