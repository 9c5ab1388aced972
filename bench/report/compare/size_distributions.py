"""How many objects of each size a row finds in a test image, and how many there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.record_values import BINS_PER_OCTAVE
from bench.report.compare.readings import images_by_seed
from bench.report.records.image_scores import Images
from bench.report.records.rows import Row

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SizeDistribution:
    """Objects of one class by their equivalent diameters, means over the test images of a row.

    Attributes:
        name: of the class.
        edges: (n + 1,) of the bins, in pixels.
        truth: (n,) objects in an image; the first or the last bin is empty only in one of both.
        prediction: (n,) likewise.
    """

    name: str
    edges: Numbers
    truth: Numbers
    prediction: Numbers


def size_distributions(row: Row) -> list[SizeDistribution]:
    """Return the distributions of every foreground class that has objects.

    Args:
        row: its successful runs count, of the seeds in which all specimens were tested.

    Returns:
        An empty list if a test image has no sizes of single objects, as in older records.
    """
    images = [image for run in images_by_seed(row) for image in run]
    prefix = "size_counts/"
    names = [key.removeprefix(prefix) for key in (images or [{}])[0] if key.startswith(prefix)]
    if not all(f"{prefix}{name}" in image for name in names for image in images):
        return []
    return [one for name in names if (one := _distribution(name, images)) is not None]


def _distribution(name: str, images: Images) -> SizeDistribution | None:
    counts = [[image[f"size_counts{part}/{name}"] for image in images] for part in ("_truth", "")]
    length = max(len(one) for part in counts for one in part)
    truth, prediction = (_mean(part, length) for part in counts)
    filled = np.flatnonzero(truth + prediction)
    if not len(filled):
        return None
    edges = np.exp2(np.arange(length + 1) / BINS_PER_OCTAVE)
    first, end = filled[0], filled[-1] + 1
    return SizeDistribution(name, edges[first : end + 1], truth[first:end], prediction[first:end])


def _mean(counts: Sequence[Sequence[int]], length: int) -> Numbers:
    total = np.zeros(length)
    for one in counts:
        total[: len(one)] += one
    return total / len(counts)
