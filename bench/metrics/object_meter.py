"""Objects of a class map that comes band by band, so that its size does not matter."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bench.data.components import label_components

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of one image (or slice); each attribute has one entry per object.

    Attributes:
        classes: class index, 1 to K - 1.
        areas: in pixels.
        rows: row of the centre of mass in pixels, from 0 at the centre of the first row.
        columns: column of the centre of mass in pixels, from 0 at the centre of the first column.
        aspects: length to width, at least 1, of the ellipse with the second moments of the object,
            each pixel a square.
        touching: whether a pixel of the object has another object next to it (4-neighbourhood).
    """

    classes: Integers
    areas: Integers
    rows: Floats
    columns: Floats
    aspects: Floats
    touching: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.areas)

    def aspect_ratio(self, index: int) -> float | None:
        """Median aspect ratio of the objects of a class; None without any."""
        aspects = self.aspects[self.classes == index]
        return float(np.median(aspects)) if len(aspects) else None

    def touching_share(self, index: int) -> float | None:
        """Share of the objects of a class that touch another of any class; None without any."""
        touching = self.touching[self.classes == index]
        return float(touching.mean()) if len(touching) else None


class ObjectMeter:
    """Measures the connected components of each class (4-neighbourhood), as `label_objects` does.

    Only the last row of the previous band is kept. Numbers of a band that touch those of the row
    above belong to one object; which ones do is resolved at the end.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._count = 0  # of pieces, numbered from 1
        self._above: Integers | None = None
        self._above_classes: npt.NDArray[np.uint8] | None = None
        self._height = 0
        self._pieces: list[Floats] = []  # (n, 7): class, then the sums of `_measure`
        self._numbers: list[Integers] = []  # (n,): of the objects, where the model separates them
        self._links: list[Integers] = []  # (2, n): pieces of one object
        self._contacts: list[Integers] = []  # (2, n): pieces next to each other

    def add(
        self, classes: npt.NDArray[np.uint8], numbers: npt.NDArray[np.integer[Any]] | None = None
    ) -> None:
        """Take in the next rows, from top to bottom.

        Args:
            classes: (h, W) class indices, h at least 1.
            numbers: (h, W) numbers of the objects of the whole image, above 0 in every foreground
                pixel, where the model separates objects; then with every band.
        """
        pieces = np.zeros(classes.shape, np.int64)
        for index in range(1, self._num_classes):
            inside = classes == index
            if not inside.any():
                continue
            if numbers is None:
                parts = label_components(inside)
            else:
                parts = np.zeros(classes.shape, np.int64)
                unique, inverse = np.unique(numbers[inside], return_inverse=True)
                parts[inside] = inverse + 1
                self._numbers.append(unique.astype(np.int64))
            count = int(parts.max())
            pieces[inside] = parts[inside] + self._count
            self._measure(parts, index, count)
            self._count += count
        if self._above is not None and self._above_classes is not None:
            if numbers is None:
                joined = (self._above > 0) & (self._above_classes == classes[0])
                self._links.append(np.unique([self._above[joined], pieces[0][joined]], axis=1))
            self._touch(self._above, pieces[0])
        self._touch(pieces[:-1], pieces[1:])
        self._touch(pieces[:, :-1], pieces[:, 1:])
        self._above, self._above_classes = pieces[-1].copy(), classes[-1].copy()
        self._height += len(classes)

    def _measure(self, parts: Integers, index: int, count: int) -> None:
        """Note area, sums of rows and columns, and those of their squares and product."""
        rows, columns = (place.astype(float) for place in np.nonzero(parts))
        numbers = parts[parts > 0]
        rows += self._height
        sums = [
            np.bincount(numbers, weights, count + 1)[1:]
            for weights in (None, rows, columns, rows**2, columns**2, rows * columns)
        ]
        self._pieces.append(np.stack([np.full(count, index), *sums], 1))

    def _touch(self, some: Integers, others: Integers) -> None:
        """Note different pieces at the same places of two arrays."""
        contact = (some > 0) & (others > 0) & (some != others)
        if contact.any():
            self._contacts.append(np.unique([some[contact], others[contact]], axis=1))

    def finish(self, min_area_px: int = 1) -> Objects:
        """All objects of at least this area in pixels, by class and then from top to bottom.

        The order within a class is that of the centres of mass: by row, then by column.
        """
        pieces = np.concatenate([np.zeros((0, 7)), *self._pieces])
        links = _pairs([*self._links, *_equal(self._numbers)])
        graph = sparse.coo_array(
            (np.ones(links.shape[1], bool), (links[0], links[1])), (len(pieces), len(pieces))
        )
        count, group = sparse.csgraph.connected_components(graph, directed=False)
        classes = np.zeros(count, np.int64)
        classes[group] = pieces[:, 0]
        totals: list[Floats] = [
            np.asarray(np.bincount(group, pieces[:, part], count) if count else [], np.float64)
            for part in range(1, 7)
        ]
        area, *sums = totals
        row, column = sums[0] / area, sums[1] / area
        contacts = group[_pairs(self._contacts)]
        touching = np.zeros(count, bool)
        touching[contacts[:, contacts[0] != contacts[1]]] = True
        kept = np.flatnonzero(area >= min_area_px)
        kept = kept[np.lexsort((column[kept], row[kept], classes[kept]))]
        return Objects(
            classes[kept],
            area[kept].astype(np.int64),
            row[kept],
            column[kept],
            _aspects(area, row, column, sums[2:])[kept],
            touching[kept],
        )


def _equal(parts: list[Integers]) -> list[Integers]:
    """Links between the pieces of each object, from their numbers in the order of the pieces."""
    if not parts:
        return []
    numbers = np.concatenate(parts)
    order = np.argsort(numbers, kind="stable")
    same = numbers[order[1:]] == numbers[order[:-1]]
    return [np.stack([order[:-1][same], order[1:][same]]) + 1]


def _pairs(parts: list[Integers]) -> Integers:
    """(2, n) indices of pieces, from 0."""
    return np.concatenate([np.zeros((2, 0), np.int64), *parts], axis=1) - 1


def _aspects(area: Floats, row: Floats, column: Floats, squares: list[Floats]) -> Floats:
    """Ratios of the axes of the ellipses with the given second moments."""
    side = 1 / 12  # second moment of a square pixel, so that a single pixel is round
    tall = squares[0] / area - row**2 + side
    wide = squares[1] / area - column**2 + side
    spread = np.hypot(tall - wide, 2 * (squares[2] / area - row * column))
    # Rounding may make the smaller one of a long straight line a little less than a pixel's.
    narrow = np.maximum((tall + wide - spread) / 2, side)
    return np.asarray(np.sqrt((tall + wide + spread) / 2 / narrow))
