"""The objects of a predicted image as runs of pixels and as polygons along the pixel edges."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bench.errors import UserError
from bench.export.libraries import import_library

Integers = npt.NDArray[np.int32]
Labels = npt.NDArray[Any]
MAX_RUNS = 20_000_000  # of an image; about 2 GB of memory
MAX_CORNERS = 1_000_000  # of an outline; about 1 GB of memory and a minute
MASK_PX = 4_000_000  # pixels of the mask that turns runs of rows into runs of columns


@dataclass(frozen=True, eq=False)
class Region:
    """One object of an image, as runs: pixels of one row that follow each other.

    Attributes:
        class_index: 1 to K - 1.
        rows: (n,) row of each run, ascending.
        starts: (n,) first column of each run.
        ends: (n,) column behind each run.
    """

    class_index: int
    rows: Integers
    starts: Integers
    ends: Integers

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int((self.ends - self.starts).sum(dtype=np.int64))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """First column, first row, width and height in pixels."""
        left, top = int(self.starts.min()), int(self.rows[0])
        return left, top, int(self.ends.max()) - left, int(self.rows[-1]) + 1 - top

    def run_lengths(self, height: int) -> list[tuple[int, int]]:
        """Starts and lengths of its runs, in pixels counted from 0 down the columns of the image.

        Args:
            height: number of rows of the image.
        """
        left, top, wide, tall = self.box
        places, lengths = [], []
        for first in range(left, left + wide, step := max(1, MASK_PX // tall)):
            width = min(step, left + wide - first)
            edges = np.zeros((tall, width + 1), np.int8)
            inside = (self.starts < first + width) & (self.ends > first)
            rows = self.rows[inside] - top
            edges[rows, np.maximum(self.starts[inside] - first, 0)] += 1
            edges[rows, np.minimum(self.ends[inside] - first, width)] -= 1
            columns = np.zeros((width, tall + 2), np.int8)
            columns[:, 1:-1] = edges.cumsum(1, dtype=np.int8)[:, :width].T
            steps = np.diff(columns, axis=1)
            column, row = np.nonzero(steps == 1)
            places.append((column + first) * height + row + top)
            lengths.append(np.nonzero(steps == -1)[1] - row)
        start, length = np.concatenate(places), np.concatenate(lengths)
        # Runs join where one ends at the lower edge and the next begins at the upper edge.
        new = np.flatnonzero(np.append(True, start[1:] != start[:-1] + length[:-1]))
        return list(zip(start[new].tolist(), np.add.reduceat(length, new).tolist(), strict=True))

    def outline(self) -> Any:
        """A shapely polygon with its holes; of several parts where the region has several.

        Coordinates are pixels of the image, with y down; the upper left corner of pixel (row,
        column) is (x, y) = (column, row).

        Raises:
            UserError: shapely is not installed, or a part has more than `MAX_CORNERS` corners.
        """
        shapely = import_library("shapely", "an outline of objects")
        group = _connected(self.rows, self.starts, self.ends, np.zeros_like(self.rows))
        parts = [
            Region(self.class_index, self.rows[runs], self.starts[runs], self.ends[runs])._polygon()
            for runs in _members(group)
        ]
        return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)

    def _polygon(self) -> Any:
        """The outline where all pixels are connected."""
        shapely = import_library("shapely", "an outline of objects")
        x, y = self._corners()
        if len(x) > MAX_CORNERS:
            raise UserError(
                f"an object of {self.area / 1e6:.1f} million pixels has an outline of"
                f" {len(x) / 1e6:.1f} million corners, and geojson and imagej take"
                f" {MAX_CORNERS / 1e6:.0f} million: give --format coco or ome-tiff for this image"
            )
        corners = np.stack([x, y], axis=1).astype(float)
        # Along a line of the grid, every second piece between corners is an edge of the region.
        across = corners[np.lexsort((x, y))].reshape(-1, 2, 2)
        down = corners[np.lexsort((y, x))].reshape(-1, 2, 2)
        faces = shapely.polygonize(shapely.linestrings(np.concatenate([across, down]))).geoms
        if len(faces) == 1:
            return faces[0]
        # The others are its holes.
        inside = shapely.Point(float(self.starts[0]) + 0.5, float(self.rows[0]) + 0.5)
        return next(face for face in faces if face.contains(inside))

    def _corners(self) -> tuple[Integers, Integers]:
        """Coordinates x, y of all corners; where the region meets itself diagonally, two of them.

        A start of a run in row r is a corner at y = r unless a run of the row above starts there
        too, in which case the edge goes on; likewise at y = r + 1, and for ends.
        """
        width = int(self.ends.max()) + 1
        corners = []
        for columns in (self.starts, self.ends):
            upper = self.rows.astype(np.int64) * width + columns
            corners.append(np.setxor1d(upper, upper + width, assume_unique=True))
        y, x = np.divmod(np.concatenate(corners), width)
        return x.astype(np.int32), y.astype(np.int32)


def regions_of(
    bands: Iterable[Labels], numbers: Iterable[Labels] | None = None, min_area: int = 1
) -> list[Region]:
    """The objects of an image, in the order of `objects.csv`.

    The memory depends on the number of runs, not on the number of pixels.

    Args:
        bands: rows (h, W) of class indices, from top to bottom.
        numbers: of the same rows, the numbers of the objects, 0 is none; None where the objects are
            the connected components (4-neighbourhood) of each class. A number in two classes makes
            two objects.
        min_area: smaller objects, in pixels, are left out.

    Raises:
        UserError: the image has more than `MAX_RUNS` runs.
    """
    rows, starts, ends, classes, keys = _runs(bands, numbers)
    if numbers is None:
        group = _connected(rows, starts, ends, classes)
    else:
        group = np.unique(np.stack([classes, keys]), axis=1, return_inverse=True)[1].ravel()
    count = int(group.max(initial=-1)) + 1
    lengths = (ends - starts).astype(np.int64)
    area = np.bincount(group, lengths, count)
    row = np.bincount(group, rows * lengths, count) / area
    column = np.bincount(group, (starts + ends - 1) * lengths / 2, count) / area
    members = _members(group)
    class_of = np.array([classes[runs[0]] for runs in members], int)
    return [
        Region(int(class_of[index]), *(part[members[index]] for part in (rows, starts, ends)))
        for index in np.lexsort((column, row, class_of)).tolist()
        if area[index] >= min_area
    ]


def _members(group: npt.NDArray[np.integer[Any]]) -> list[npt.NDArray[np.int64]]:
    """Indices of the entries of each group, ascending; groups are numbered from 0."""
    sizes = np.bincount(group)
    return np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1]) if len(group) else []


def _runs(bands: Iterable[Labels], numbers: Iterable[Labels] | None) -> tuple[Integers, ...]:
    """Row, start, end, class and number (0 without `numbers`) of all runs."""
    parts: list[tuple[Labels, ...]] = []
    top = count = 0
    for classes, others in _pairs(bands, numbers):
        height, width = classes.shape
        keys = classes if others is None else others
        new = np.ones((height, width + 1), bool)
        new[:, 1:-1] = (classes[:, 1:] != classes[:, :-1]) | (keys[:, 1:] != keys[:, :-1])
        row, edge = np.nonzero(new)
        del new
        # Each row has one edge more than runs, the last one.
        inner = np.flatnonzero(edge < width)
        row, start, end = row[inner], edge[inner], edge[inner + 1]
        value = classes[row, start]
        kept = value > 0
        row, start, end, value = row[kept], start[kept], end[kept], value[kept]
        number = np.zeros(len(row)) if others is None else others[row, start]
        parts.append(
            tuple(part.astype(np.int32) for part in (row + top, start, end, value, number))
        )
        top, count = top + height, count + len(row)
        if count > MAX_RUNS:
            raise UserError(
                f"its class map is too fragmented for coco, geojson and imagej (more than"
                f" {MAX_RUNS / 1e6:.0f} million runs of pixels): give --format ome-tiff, or cut it"
            )
    return tuple(
        np.concatenate([np.zeros(0, np.int32), *(part[field] for part in parts)])
        for field in range(5)
    )


def _pairs(
    bands: Iterable[Labels], numbers: Iterable[Labels] | None
) -> Iterator[tuple[Labels, Labels | None]]:
    if numbers is None:
        yield from ((band, None) for band in bands)
    else:
        yield from zip(bands, numbers, strict=True)


def _connected(
    rows: Integers, starts: Integers, ends: Integers, classes: Integers
) -> npt.NDArray[np.integer[Any]]:
    """Number, from 0, of the component that each run is in; runs are sorted by row and start."""
    width = int(ends.max(initial=0)) + 1
    line = rows.astype(np.int64) * width
    below = line + width
    first = np.searchsorted(line + ends, below + starts, side="right")
    last = np.searchsorted(line + starts, below + ends, side="left")
    neighbours = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(rows)), neighbours)
    offsets = np.arange(len(upper)) - np.repeat(np.cumsum(neighbours) - neighbours, neighbours)
    lower = np.repeat(first, neighbours) + offsets
    same = classes[upper] == classes[lower]
    links = (upper[same].astype(np.int32), lower[same].astype(np.int32))
    graph = sparse.coo_array((np.ones(len(links[0]), bool), links), (len(rows), len(rows)))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])
