"""The objects of a predicted image as regions of pixels and as polygons along the pixel edges."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bench.data.components import label_components
from bench.export.libraries import import_library


@dataclass(frozen=True, eq=False)
class Region:
    """One object of an image.

    Attributes:
        class_index: 1 to K - 1.
        top: first row of its box in the image.
        left: first column.
        inside: (h, w) bool, the pixels of its box that belong to it.
    """

    class_index: int
    top: int
    left: int
    inside: npt.NDArray[np.bool_]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.inside.sum())

    def run_lengths(self, height: int) -> list[tuple[int, int]]:
        """Starts and lengths of its runs, in pixels counted from 0 down the columns of the image.

        Args:
            height: number of rows of the image.
        """
        columns, rows = np.nonzero(self.inside.T)
        places = (columns + self.left) * height + rows + self.top
        first = np.flatnonzero(np.diff(places, prepend=-2) != 1)
        lengths = np.diff(first, append=len(places))
        return list(zip(places[first].tolist(), lengths.tolist(), strict=True))

    def outline(self) -> Any:
        """A shapely polygon with its holes; of several parts where the region has several.

        Coordinates are pixels of the image, with y down; the upper left corner of pixel (row,
        column) is (x, y) = (column, row).

        Raises:
            UserError: shapely is not installed.
        """
        shapely = import_library("shapely", "an outline of objects")
        steps = np.diff(np.pad(self.inside, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        rows, starts = np.nonzero(steps == 1)
        _, ends = np.nonzero(steps == -1)
        strips = shapely.box(
            starts + self.left, rows + self.top, ends + self.left, rows + self.top + 1
        )
        return shapely.simplify(shapely.union_all(strips), 0)  # without points inside edges


def regions_of(
    classes: npt.NDArray[np.uint8],
    numbers: npt.NDArray[np.integer[Any]] | None = None,
    min_area: int = 1,
) -> list[Region]:
    """The objects of an image, in the order of `objects.csv`.

    Args:
        classes: (H, W) class indices.
        numbers: (H, W) numbers of the objects, 0 is none; None where the objects are the connected
            components (4-neighbourhood) of each class. A number in two classes makes two objects.
        min_area: smaller objects, in pixels, are left out.
    """
    entries: list[tuple[int, float, float, int, Region]] = []
    for index in range(1, int(classes.max(initial=0)) + 1):
        parts = classes == index
        labels = label_components(parts) if numbers is None else np.where(parts, numbers, 0)
        for number, window in enumerate(ndimage.find_objects(labels), start=1):
            if window is None:
                continue
            inside = labels[window] == number
            region = Region(index, window[0].start, window[1].start, inside)
            rows, columns = np.nonzero(inside)
            centre = (float(rows.mean()) + region.top, float(columns.mean()) + region.left)
            if len(rows) >= min_area:
                entries.append((index, *centre, len(entries), region))
    return [entry[-1] for entry in sorted(entries, key=lambda entry: entry[:-1])]
