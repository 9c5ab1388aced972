"""Objects of an image whose class map lies in a file, because it is too large for the memory."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bench.objects.flood import BAND_PX, Flood


class StoredMaps(Protocol):
    """The outputs of a model for an image, read row by row."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def classes(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Class indices (h, W) of the rows from `start` to `stop`."""

    def distances(self, start: int, stop: int) -> npt.NDArray[np.float32] | None:
        """Learned maps (C, h, W) of these rows; None for a model without any."""


class StoredNumbers(Protocol):
    """The numbers of the objects of an image, written and read row by row."""

    def read(self, start: int, stop: int) -> npt.NDArray[np.int32]:
        """Numbers (h, W) of rows that were written."""

    def write(self, start: int, numbers: npt.NDArray[np.int32]) -> None:
        """Write numbers (h, W) of the rows from `start` on; once more over those from before."""


def row_bands(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """First row and end of bands of at most `BAND_PX` pixels, from top to bottom.

    Args:
        size: height and width of the image.
    """
    height, width = size
    tall = max(1, BAND_PX // width)
    for start in range(0, height, tall):
        yield start, min(start + tall, height)


def flood_stored(
    maps: StoredMaps,
    heights: Callable[[int, int], npt.NDArray[Any]],
    least_depth: float,
    numbers: StoredNumbers,
) -> None:
    """Write the regions of `flood`; the memory holds some rows, and a few numbers for each piece.

    Args:
        maps: of the image.
        heights: gives the height map (h, W) of the rows from the first to the second number.
        least_depth: as of `flood`.
        numbers: to write.
    """
    rows, done = Flood(least_depth), 0
    for start, stop in row_bands(maps.size):
        pieces = rows.add(maps.classes(start, stop), heights(start, stop))
        numbers.write(done, pieces)
        done += len(pieces)
    pieces, regions = rows.finish()
    numbers.write(done, pieces)
    for start, stop in row_bands(maps.size):
        numbers.write(start, regions[numbers.read(start, stop)])
