"""Objects as pixels, and masks and instance maps from them.

A pixel belongs to a polygon if its centre lies inside or on the outline; the centre of the upper
left pixel is (x, y) = (0.5, 0.5). A line that crosses itself is filled by the even-odd rule. Where
objects overlap, the pixel belongs to the smallest of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.items import IGNORE
from bench.data.layouts.draft import Report
from bench.data.libraries import import_optional

Bool = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]  # (N, 2), x and y in pixels
Ring = Points | Sequence[Sequence[float]]


@dataclass(frozen=True, eq=False)
class Shape:
    """One object.

    Attributes:
        index: class, 0 to 254, or `IGNORE` for a region without a label.
        top: first row of its box.
        left: first column of its box.
        inside: (h, w), the pixels of the box that belong to it.
        level: objects of a higher level are on top; within one, smaller objects are.
    """

    index: int
    top: int
    left: int
    inside: Bool
    level: int = 0


def as_ring(points: Any) -> Points | None:
    """Points (N, 2) of a file as numbers; None where they are not finite numbers in pairs."""
    try:
        ring = np.asarray(points, float)
    except (TypeError, ValueError):
        return None
    pairs = ring.ndim == 2 and ring.shape[1] >= 2
    return ring[:, :2] if pairs and np.isfinite(ring).all() else None


def fault_of(rings: Sequence[Points | None], height: int, width: int, report: Report) -> str:
    """What is wrong with an outline, as the rest of a sentence on its image; "" if nothing is.

    Args:
        rings: of `as_ring`.
        height: of the image, in pixels.
        width: of the image.
        report: counts outlines that are cut at the border of the image.
    """
    points = [ring for ring in rings if ring is not None]
    if not points or len(points) < len(rings):
        return "has an outline that is not pairs of numbers"
    if min(map(len, points)) < 3:
        return "has a polygon with fewer than three points"
    low, high = np.concatenate(points).min(0), np.concatenate(points).max(0)
    if (low >= (width, height)).any() or (high <= 0).any():
        return "has an object outside the image"
    if (low < 0).any() or (high > (width, height)).any():
        report.counts["object cut at the border of the image"] += 1
    return ""


def ellipse(x: float, y: float, across: float, down: float) -> Points:
    """Points (N, 2) of an ellipse with the centre (x, y) and these radii, in pixels."""
    count = int(np.clip(8 * max(abs(across), abs(down)), 32, 20_000))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], 1)


def polygon(index: int, rings: Iterable[Ring], height: int, width: int, level: int = 0) -> Shape:
    """The pixels of an image inside a polygon; those inside an even number of rings are holes.

    Args:
        index: class of the object.
        rings: outline and holes; each has at least three points, first and last may be equal.
        height: of the image, in pixels.
        width: of the image.
        level: as in `Shape`.

    Raises:
        UserError: scikit-image is not installed.
    """
    draw = import_optional("skimage.draw", "drawing polygons", "import")
    arrays = [np.asarray(ring, float)[:, :2] - 0.5 for ring in rings]
    points = np.concatenate(arrays)
    left, top = np.floor(points.min(0)).clip(0, (width, height)).astype(int)
    right, bottom = (np.ceil(points.max(0)) + 1).clip((left, top), (width, height)).astype(int)
    inside = np.zeros((bottom - top, right - left), bool)
    for ring in arrays:
        rows, columns = draw.polygon(ring[:, 1] - top, ring[:, 0] - left, inside.shape)
        inside[rows, columns] ^= True
    return Shape(index, int(top), int(left), inside, level)


def region(index: int, inside: npt.NDArray[Any], level: int = 0) -> Shape:
    """An object from a map (H, W) of the whole image, not zero where it is."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not rows.size:
        return Shape(index, 0, 0, np.zeros((0, 0), bool), level)
    box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Shape(index, int(rows[0]), int(columns[0]), box.astype(bool), level)


def merge(shapes: Sequence[Shape], height: int, width: int) -> Shape:
    """One object of several parts, of the class and level of the first."""
    if len(shapes) == 1:
        return shapes[0]
    inside = np.zeros((height, width), bool)
    for shape in shapes:
        _window(inside, shape)[shape.inside] = True
    return region(shapes[0].index, inside, shapes[0].level)


def paint(
    shapes: Sequence[Shape], height: int, width: int, report: Report
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """The mask and the instance numbers of an image, see the module for the order.

    Objects are numbered from 1 in the given order. Regions of class 0 or `IGNORE` have no number;
    the latter lie below all objects.

    Args:
        shapes: the objects of the image.
        height: of the image.
        width: of the image.
        report: counts objects, overlapping pixels, and objects that are not to be seen.

    Returns:
        The mask (H, W) of class indices, 0 where there is no object, and the numbers (H, W).
    """
    mask, numbers = np.zeros((height, width), np.uint8), np.zeros((height, width), np.int32)
    numbered = list(enumerate(shapes, 1))
    numbered.sort(
        key=lambda entry: (
            entry[1].index != IGNORE,
            entry[1].level,
            -int(entry[1].inside.sum()),
        )
    )
    for number, shape in numbered:
        objects = _window(numbers, shape)
        report.counts["overlapping pixel"] += int((objects[shape.inside] > 0).sum())
        _window(mask, shape)[shape.inside] = shape.index
        objects[shape.inside] = number if shape.index not in (0, IGNORE) else 0
    real = {n for n, shape in numbered if shape.index not in (0, IGNORE)}
    visible = len(np.unique(numbers[numbers > 0]))
    report.counts["object"] += len(real)
    report.counts["hidden object"] += len(real) - visible
    return mask, numbers


def _window(values: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    height, width = shape.inside.shape
    return values[shape.top : shape.top + height, shape.left : shape.left + width]
