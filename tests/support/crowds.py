"""Crowded images of numbered objects, and class maps in files, for tests of the rules."""

from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int32]


def discs(seed: int, side: int = 128, count: int = 40) -> Labels:
    """Discs that touch and overlap; a later one covers an earlier one."""
    rng = np.random.default_rng(seed)
    numbers = np.zeros((side, side), np.int32)
    rows, columns = np.mgrid[:side, :side]
    for number in range(1, count + 1):
        radius, (row, column) = rng.uniform(4, 9), rng.uniform(0, side, 2)
        numbers[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = number
    return numbers


class Stored:
    """`StoredMaps` and `StoredNumbers` in memory, which note how many rows are read at once."""

    def __init__(self, classes: npt.NDArray[np.uint8], distances: Any = None) -> None:
        self.size = (classes.shape[0], classes.shape[1])
        self.numbers = np.full(self.size, -1, np.int32)
        self.most_rows = 0
        self._classes, self._distances = classes, distances

    def classes(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        self.most_rows = max(self.most_rows, stop - start)
        return self._classes[start:stop]

    def distances(self, start: int, stop: int) -> Any:
        return None if self._distances is None else self._distances[:, start:stop]

    def read(self, start: int, stop: int) -> Labels:
        return self.numbers[start:stop]

    def write(self, start: int, numbers: Labels) -> None:
        self.numbers[start : start + len(numbers)] = numbers
