"""Distance to the border of a class, also of rows of an image that is too large for the memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Classes = npt.NDArray[Any]
Depths = npt.NDArray[np.float64]

MOST_PX = 2048  # larger distances count as this one, which limits the rows that are needed
AROUND_PX = 64  # rows that are read above and below at first


def depths(classes: Classes) -> Depths:
    """Distance in pixels of each pixel to the nearest one of another class, at most `MOST_PX`.

    The edge of the image is not a border, because the class may go on behind it.

    Args:
        classes: (H, W) class indices; the distances in class 0 are 0.
    """
    return np.minimum(_depths(classes), MOST_PX)


def depths_of_rows(
    read: Callable[[int, int], Classes], start: int, stop: int, height: int
) -> Depths:
    """The rows from `start` to `stop` of `depths`, equal to those of the whole image.

    As many rows around them are read as the largest distance in them needs.

    Args:
        read: gives the classes (h, W) of the rows from the first to the second number.
        start: first row.
        stop: row after the last.
        height: of the image.
    """
    around = AROUND_PX
    rows = np.arange(start, stop)
    while True:
        first, end = max(0, start - around), min(height, stop + around)
        values = _depths(read(first, end))[start - first : stop - first]
        above = rows - first + 1 if first else np.full(len(rows), np.inf)
        below = end - rows if end < height else np.full(len(rows), np.inf)
        # A pixel that was not read is at least as far as its row.
        seen = np.minimum(np.minimum(above, below), MOST_PX)
        if (np.minimum(values, MOST_PX).max(1) <= seen).all():
            return np.minimum(values, MOST_PX)
        around *= 4


def _depths(classes: Classes) -> Depths:
    values = np.zeros(classes.shape)
    for index in np.unique(classes):
        inside = classes == index
        if not index:
            continue
        if inside.all():
            return np.full(classes.shape, np.inf)
        values[inside] = ndimage.distance_transform_edt(inside)[inside]
    return values
