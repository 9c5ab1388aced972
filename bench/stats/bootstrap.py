"""How far a figure can be trusted: bootstrap over specimens and seeds.

Images of one specimen are no independent witnesses, and neither are runs on the same specimens. So
specimens and seeds are drawn with replacement, each on its own, and every draw is worked out anew
(Owen, 2007, "The pigeonhole bootstrap": crossed factors drawn separately).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Row = Mapping[str, Any]  # of one image or volume, as in a record
Runs = Sequence[Sequence[Row]]  # of each seed the rows, "group" beside the scores
Pair = tuple[float, float]  # what is above and below the line of a ratio

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Sample:
    """What a figure is made of. All our figures are means of ratios of sums.

    Attributes:
        sums: (S, G, R, 2) what is above and below the line of R ratios, by seed and specimen.
    """

    sums: Floats

    @property
    def value(self) -> float:
        """The figure: that of each seed, then their mean; NaN where one is not defined."""
        return float(_figure(self.sums.sum(1)).mean())


@dataclass(frozen=True)
class Interval:
    """Where the figure lies at the level of `LEVEL`; the bounds belong to it."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def draw(samples: Sequence[Sample], draws: int = DRAWS, seed: int = 0) -> Floats:
    """Values (N, draws) of N figures, all worked out from the same drawn specimens and seeds.

    Args:
        samples: of the same specimens in the same order, with the same number of seeds.
        draws: number of draws.
        seed: of the draws.

    Raises:
        ValueError: numbers of seeds or specimens differ.
    """
    shapes = {sample.sums.shape[:2] for sample in samples}
    if len(shapes) != 1:
        raise ValueError(f"samples of {sorted(shapes)} seeds and specimens are no pairs")
    seeds, groups = shapes.pop()
    rng = np.random.default_rng(seed)
    by_seed = rng.multinomial(seeds, [1 / seeds] * seeds, draws).astype(float)
    by_group = rng.multinomial(groups, [1 / groups] * groups, draws).astype(float)
    return np.stack([_drawn(sample.sums, by_seed, by_group) for sample in samples])


def interval(values: Floats, level: float = LEVEL) -> Interval | None:
    """Percentile interval of drawn values (draws,); None where a tenth or more is not defined."""
    defined = values[~np.isnan(values)]
    if defined.size < 0.9 * values.size:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def mean_of(runs: Runs, *keys: str) -> Sample:
    """The mean over rows of a score, where it is not None; of several scores the mean of these."""
    return _sample(
        runs,
        lambda row: [(0, 0) if row.get(key) is None else (row[key], 1) for key in keys],
    )


def overlap_of(runs: Runs, classes: Sequence[str], *, iou: bool = False) -> Sample:
    """Dice or IoU of the pixels of all images together, mean over the foreground classes.

    Args:
        runs: rows of images, with the pixel counts of each class.
        classes: K names, the background first.
        iou: whether IoU instead of Dice.
    """

    def ratio(row: Row, name: str) -> Pair:
        overlap = row[f"overlap_px/{name}"]
        both = row[f"truth_px/{name}"] + row[f"predicted_px/{name}"]
        return (overlap, both - overlap) if iou else (2 * overlap, both)

    return _sample(runs, lambda row: [ratio(row, name) for name in classes[1:]])


def accuracy_of(runs: Runs, classes: Sequence[str]) -> Sample:
    """Share of the pixels of all images together whose class is right; classes as above."""

    def ratio(row: Row) -> Pair:
        right = sum(row[f"overlap_px/{name}"] for name in classes)
        return right, sum(row[f"truth_px/{name}"] for name in classes)

    return _sample(runs, lambda row: [ratio(row)])


def quality_of(runs: Runs, classes: Sequence[str]) -> Sample:
    """Panoptic quality of the objects of all images together; arguments as `overlap_of`.

    That of an image is the IoU of its pairs summed up, over half the number of all objects on
    both sides; so that sum can be had back from what its row holds.
    """

    def ratio(row: Row, name: str) -> Pair:
        half = (row[f"objects_truth/{name}"] + row[f"objects_predicted/{name}"]) / 2
        return (row[f"pq/{name}"] or 0) * half, half

    return _sample(runs, lambda row: [ratio(row, name) for name in classes[1:]])


def _sample(runs: Runs, ratios: Callable[[Row], Sequence[Pair]]) -> Sample:
    """The sums by seed and specimen; specimens in the order of their names."""
    groups = {name: place for place, name in enumerate(sorted({r["group"] for r in runs[0]}))}
    sums = np.zeros((len(runs), len(groups), len(ratios(runs[0][0])), 2))
    for seed, rows in enumerate(runs):
        for row in rows:
            sums[seed, groups[row["group"]]] += ratios(row)
    return Sample(sums)


def _drawn(sums: Floats, by_seed: Floats, by_group: Floats) -> Floats:
    """The figure of every draw (draws,): of the seeds drawn, each with the specimens drawn."""
    figures = _figure(np.einsum("dg,sgrp->dsrp", by_group, sums))
    return (by_seed * np.where(by_seed > 0, figures, 0)).sum(-1) / by_seed.sum(-1)


def _figure(sums: Floats) -> Floats:
    """The mean (...) of the ratios of sums (..., R, 2) that are defined; NaN without any."""
    above, below = sums[..., 0], sums[..., 1]
    ratios = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
    defined = np.count_nonzero(below, -1)
    return np.divide(
        ratios.sum(-1), defined, out=np.full(defined.shape, np.nan), where=defined != 0
    )
