"""Scores of single images for all rows of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Images = Sequence[Mapping[str, Any]]  # as `Record.per_image`
Floats = npt.NDArray[np.float64]


class ImageScores:
    """The test images of the rows of a table, each with any number of runs.

    Args:
        rows: for each row, the images of its runs, as in `Record.per_image`; a row may have no
            runs.

    Attributes:
        images: specimen and name of each test image, sorted.
    """

    def __init__(self, rows: Sequence[Sequence[Images]]) -> None:
        self._runs = [images for runs in rows for images in runs]
        names = [[(row["group"], row["name"]) for row in images] for images in self._runs]
        images = sorted({image for run in names for image in run})
        self.images: list[tuple[str, str]] = images
        self._shape = len(rows), len(images)
        place = {image: place for place, image in enumerate(images)}
        numbers = (number for number, runs in enumerate(rows) for _ in runs)
        self._places = np.array(
            [
                number * len(images) + place[image]
                for number, run in zip(numbers, names, strict=True)
                for image in run
            ],
            dtype=np.intp,
        )
        groups = [group for group, _ in images]
        self._starts = [groups.index(group) for group in dict.fromkeys(groups)]

    def differences(self, best: int, others: Sequence[int], score: str) -> list[Floats]:
        """Return the differences `best` - other for each other row, one value per specimen.

        For each image, the score is averaged over the runs of a row, and the difference of the two
        rows is taken. The differences are averaged over the images of a specimen, because these
        are not independent samples. Images for which one of the two rows has no score are left out,
        and so are specimens without any other image.

        Args:
            best: number of a row.
            others: numbers of the other rows.
            score: key in `Record.per_image`.

        Returns:
            One array (specimens,) for each of `others`, in the order of `images`; their lengths may
            differ, and 0 is possible.
        """
        if not self._starts:
            return [np.empty(0) for _ in others]
        means = self.means(score)
        apart = means[best] - means[list(others)]
        paired = ~np.isnan(apart)
        counts = np.add.reduceat(paired, self._starts, axis=1, dtype=np.intp)
        sums = np.add.reduceat(np.where(paired, apart, 0.0), self._starts, axis=1)
        return [total[n > 0] / n[n > 0] for total, n in zip(sums, counts, strict=True)]

    def means(self, score: str) -> Floats:
        """Return the means over the runs that have a score (rows, images); NaN if none has it.

        Args:
            score: key in `Record.per_image`.
        """
        values = np.array(
            [row.get(score) for images in self._runs for row in images], dtype=np.float64
        )
        defined = ~np.isnan(values)
        places, size = self._places[defined], int(np.prod(self._shape))
        counts = np.bincount(places, minlength=size)
        sums = np.bincount(places, values[defined], minlength=size)
        means = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
        return means.reshape(self._shape)
