"""Objects as pixels, and masks and instance maps from them.

A pixel belongs to a polygon if its centre lies inside or on the outline; the centre of the upper
left pixel is (x, y) = (0.5, 0.5). A line that crosses itself is filled by the even-odd rule. Where
objects overlap, the pixel belongs to the smallest of them.
"""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.data.items import IGNORE
from bench.data.layouts.draft import Report, Sample
from bench.data.layouts.pictures import size_of
from bench.data.layouts.source import Source, part_of, unique_names
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


class FaultyImageError(Exception):
    """The objects of an image cannot be drawn.

    Args:
        reason: what is wrong, as of `Report.fault`.
        remedy: likewise.
        path: the file that is wrong, if it is another one than the caller knows.
    """

    def __init__(self, reason: str, remedy: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy, self.path = reason, remedy, path


def as_ring(points: Any) -> Points | None:
    """Points (N, 2) of a file as numbers; None where they are not finite numbers in pairs."""
    try:
        ring = np.asarray(points, float)
    except (TypeError, ValueError):
        return None
    pairs = ring.ndim == 2 and ring.shape[1] >= 2
    return ring[:, :2] if pairs and np.isfinite(ring).all() else None


def ellipse(x: float, y: float, across: float, down: float) -> Points:
    """Points (N, 2) of an ellipse with the centre (x, y) and these radii, in pixels."""
    count = int(np.clip(8 * max(abs(across), abs(down)), 32, 20_000))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], 1)


def region(index: int, inside: npt.NDArray[Any], level: int = 0) -> Shape:
    """An object from a map (H, W) of the whole image, not zero where it is."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not rows.size:
        return Shape(index, 0, 0, np.zeros((0, 0), bool), level)
    box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Shape(index, int(rows[0]), int(columns[0]), box.astype(bool), level)


@dataclass(frozen=True)
class Canvas:
    """An image on which objects are drawn.

    Attributes:
        height: in pixels.
        width: in pixels.
        report: counts objects, overlapping pixels, and what is cut or not to be seen.
    """

    height: int
    width: int
    report: Report

    def check(self, rings: Sequence[Points | None], remedy: str) -> list[Points]:
        """The outlines of an object, of `as_ring`, if it can be drawn.

        Raises:
            FaultyImageError: an outline has no points, too few, or none inside the image.
        """
        points = [ring for ring in rings if ring is not None]
        if not points or len(points) < len(rings):
            raise FaultyImageError("has an outline that is not pairs of numbers", remedy)
        if min(map(len, points)) < 3:
            raise FaultyImageError("has a polygon with fewer than three points", remedy)
        low, high = np.concatenate(points).min(0), np.concatenate(points).max(0)
        size = self.width, self.height
        if (low >= size).any() or (high <= 0).any():
            raise FaultyImageError("has an object outside the image", remedy)
        if (low < 0).any() or (high > size).any():
            self.report.counts["object cut at the border of the image"] += 1
        return points

    def polygon(self, index: int, rings: Iterable[Ring], level: int = 0) -> Shape:
        """The pixels inside a polygon; those inside an even number of rings are holes.

        Args:
            index: class of the object.
            rings: outline and holes; each has at least three points, first and last may be equal.
            level: as in `Shape`.

        Raises:
            UserError: scikit-image is not installed.
        """
        draw = import_optional("skimage.draw", "drawing polygons", "import")
        arrays = [np.asarray(ring, float)[:, :2] - 0.5 for ring in rings]
        points, size = np.concatenate(arrays), (self.width, self.height)
        left, top = np.floor(points.min(0)).clip(0, size).astype(int)
        right, bottom = (np.ceil(points.max(0)) + 1).clip((left, top), size).astype(int)
        inside = np.zeros((bottom - top, right - left), bool)
        for ring in arrays:
            rows, columns = draw.polygon(ring[:, 1] - top, ring[:, 0] - left, inside.shape)
            inside[rows, columns] ^= True
        return Shape(index, int(top), int(left), inside, level)

    def merge(self, shapes: Sequence[Shape]) -> Shape:
        """One object of several parts, of the class and level of the first."""
        if len(shapes) == 1:
            return shapes[0]
        inside = np.zeros((self.height, self.width), bool)
        for shape in shapes:
            _window(inside, shape)[shape.inside] = True
        return region(shapes[0].index, inside, shapes[0].level)

    def paint(self, shapes: Sequence[Shape]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """The mask and the instance numbers of an image, see the module for the order.

        Objects are numbered from 1 in the given order. Regions of class 0 or `IGNORE` have no
        number; the latter lie below all objects.

        Returns:
            The mask (H, W) of class indices, 0 where there is no object, and the numbers (H, W).
        """
        size, counts = (self.height, self.width), self.report.counts
        mask, numbers = np.zeros(size, np.uint8), np.zeros(size, np.int32)
        numbered = sorted(
            enumerate(shapes, 1),
            key=lambda one: (one[1].index != IGNORE, one[1].level, -int(one[1].inside.sum())),
        )
        for number, shape in numbered:
            objects = _window(numbers, shape)
            counts["overlapping pixel"] += int((objects[shape.inside] > 0).sum())
            _window(mask, shape)[shape.inside] = shape.index
            objects[shape.inside] = number if shape.index not in (0, IGNORE) else 0
        real = {n for n, shape in numbered if shape.index not in (0, IGNORE)}
        counts["object"] += len(real)
        counts["hidden object"] += len(real) - len(np.unique(numbers[numbers > 0]))
        return mask, numbers


class Drawing(NamedTuple):
    """How an image becomes a mask.

    Attributes:
        draw: gives its objects; may raise FaultyImageError.
        label: the file that describes it, for faults; "" for the image itself.
        group: the specimen; "" if the layout does not say.
        part: where the folder of the image names none.
    """

    draw: Callable[[Canvas], Sequence[Shape]]
    label: str = ""
    group: str = ""
    part: str = ""


def draw_samples(
    source: Source, drawings: Mapping[str, Drawing], report: Report, *, counts_empty: bool = True
) -> Iterator[Sample]:
    """A sample for each image with its objects, made when it is taken from the iterator.

    Args:
        source: the folder.
        drawings: path of an image to how it is drawn.
        report: gets faulty images, and counts.
        counts_empty: whether images without objects are counted.
    """
    names = unique_names(drawings)
    for file, drawing in drawings.items():
        size = size_of(source, file, report)
        if size is None:
            continue
        canvas = Canvas(*size, report)
        try:
            shapes = drawing.draw(canvas)
        except FaultyImageError as fault:
            report.fault(fault.path or drawing.label or file, fault.reason, fault.remedy)
            continue
        report.counts["image without objects"] += counts_empty and not shapes
        mask, numbers = canvas.paint(shapes)
        part = part_of(posixpath.dirname(file)) or drawing.part
        yield Sample(names[file], file, source.files[file], mask, numbers, drawing.group, part)


def _window(values: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    height, width = shape.inside.shape
    return values[shape.top : shape.top + height, shape.left : shape.left + width]
