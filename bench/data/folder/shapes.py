"""Shapes in masks that tell what their values mean: connected pieces, and smooth edges."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bench.data.contents import value_counts
from bench.data.decode import read_stored
from bench.data.items import Item
from bench.data.masks import Codes

SAMPLE = 16  # masks that are looked at closely
_EDGE = 8  # px: how far a smooth edge, or the ringing of JPEG, extends


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
