"""A slice of a picture in the files of its rows, as the rules for objects read and write it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.predict.unfinished import Unfinished


def distance_names(channels: int) -> list[str]:
    """Names of the stored maps that a rule for objects needs.

    Args:
        channels: of the rule.
    """
    return [f"distances{number}" for number in range(channels)]


class StoredSlice:
    """`bench.objects.stored.StoredMaps` and `StoredNumbers` of a slice, or of a single image.

    Args:
        maps: with "labels", the maps of `distance_names`, and "objects", which is written later.
        first: number of the first row, counted over all slices.
        size: height and width in pixels.
        channels: of the rule for objects.
    """

    def __init__(self, maps: Unfinished, first: int, size: tuple[int, int], channels: int) -> None:
        self.size = size
        self._maps, self._first, self._names = maps, first, distance_names(channels)

    def classes(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """As of `StoredMaps`."""
        return self._read("labels", start, stop)

    def distances(self, start: int, stop: int) -> npt.NDArray[np.float32] | None:
        """As of `StoredMaps`."""
        parts = [self._read(name, start, stop) for name in self._names]
        return np.stack(parts) if parts else None

    def read(self, start: int, stop: int) -> npt.NDArray[np.int32]:
        """As of `StoredNumbers`."""
        return self._read("objects", start, stop)

    def write(self, start: int, numbers: npt.NDArray[np.int32]) -> None:
        """As of `StoredNumbers`."""
        self._maps.write("objects", self._first + start, numbers)

    def _read(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        return self._maps.read(name, self._first + start, self._first + stop)
