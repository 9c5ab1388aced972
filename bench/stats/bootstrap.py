"""Confidence intervals of scores: bootstrap over specimens and seeds.

Images of one specimen are not independent samples, and neither are runs on the same specimens.
Therefore specimens and seeds are resampled with replacement, independently of each other, and the
score is computed for each resample (Owen, 2007, "The pigeonhole bootstrap", Annals of Applied
Statistics 1: crossed factors are resampled separately).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
ScoreRow = Mapping[str, Any]  # "group" and the scores of one image or volume, as in a record
RowsBySeed = Sequence[Sequence[ScoreRow]]  # the rows of each seed
Ratio = tuple[float, float]  # numerator and denominator

DRAWS = 2000  # number of resamples
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class ScoreSums:
    """The sums from which the score of a test set is computed, separately by seed and specimen.

    Every score that is resampled is a mean of R ratios, each of which divides one sum over images
    by another. Example: the Dice of all images together is the mean over R foreground classes of
    2 x (sum of overlaps) / (sum of sizes). A score that is a mean over images has R = 1: the sum of
    the values of the images, divided by their number.

    Attributes:
        sums: (S, G, R, 2) for S seeds, G specimens and R ratios; the last axis holds numerator and
            denominator, summed over the images of the specimen.
    """

    sums: Floats

    @property
    def value(self) -> float:
        """Mean of the scores of the seeds; NaN if the score of any seed is not defined.

        The score of a seed is the mean of those of its ratios whose denominator is not 0.
        """
        return float(_mean_ratio(self.sums.sum(1)).mean())

    @property
    def by_specimen(self) -> Floats:
        """Mean score (G,) of each specimen over the seeds; NaN if that of any seed is not defined.

        For a score of all images together, this is the score of the images of the specimen.
        """
        return _mean_ratio(self.sums).mean(0)


@dataclass(frozen=True)
class Interval:
    """Closed interval, `low <= value <= high`; `value in interval` tests it.

    Attributes:
        low: lower bound, in the unit of the score.
        high: upper bound.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def resample(samples: Sequence[ScoreSums], draws: int = DRAWS, seed: int = 0) -> Floats:
    """Draw specimens and seeds with replacement and compute the scores of each draw.

    All scores use the same draws, so their differences are paired.

    Args:
        samples: N scores on the same specimens in the same order, with the same number of seeds.
        draws: number of resamples.
        seed: seed of the random generator.

    Returns:
        Scores (N, draws); NaN where the specimens or seeds drawn leave a score undefined.

    Raises:
        ValueError: no samples, or the numbers of seeds or specimens differ between the scores.
    """
    shapes = {sample.sums.shape[:2] for sample in samples}
    if len(shapes) != 1:
        raise ValueError(
            f"(seeds, specimens) are {sorted(shapes)}: scores must have the same numbers of both"
        )
    seeds, groups = shapes.pop()
    rng = np.random.default_rng(seed)
    by_seed = rng.multinomial(seeds, [1 / seeds] * seeds, draws).astype(float)
    by_group = rng.multinomial(groups, [1 / groups] * groups, draws).astype(float)
    return np.stack([_resampled(sample.sums, by_seed, by_group) for sample in samples])


def percentile_interval(values: Floats, confidence: float = CONFIDENCE) -> Interval | None:
    """Percentile interval of resampled values; None if more than a tenth are NaN.

    Args:
        values: (draws,) scores of `resample`, NaN where the score is not defined.
        confidence: share of the defined values inside the interval, between 0 and 1.
    """
    defined = values[~np.isnan(values)]
    if defined.size < 0.9 * values.size:
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def mean_score(runs: RowsBySeed, *keys: str) -> ScoreSums:
    """Mean of a score over the rows that have it and not None; for several, the mean of means.

    Args:
        runs: rows of images or volumes by seed, at least one for each; all seeds have the same
            specimens.
        keys: names of the scores.

    Returns:
        Sums and numbers of values, by seed and specimen (sorted); one ratio for each key.

    Raises:
        KeyError: a seed has a specimen that the first one lacks.
    """
    return _sample(
        runs,
        lambda row: [(0, 0) if row.get(key) is None else (row[key], 1) for key in keys],
    )


def pooled_overlap(runs: RowsBySeed, classes: Sequence[str], *, iou: bool = False) -> ScoreSums:
    """Dice or IoU of the pixels of all images together, mean over the foreground classes.

    Args:
        runs: rows of images by seed, as in `mean_score`, with the pixel counts of each class.
        classes: K names, the background first.
        iou: compute IoU instead of Dice.

    Returns:
        Numerators and denominators, by seed and specimen (sorted); one ratio
        for each foreground class.

    Raises:
        KeyError: a row lacks the counts of a class, or as in `mean_score`.
    """

    def ratio(row: ScoreRow, name: str) -> Ratio:
        overlap = row[f"overlap_px/{name}"]
        both = row[f"truth_px/{name}"] + row[f"predicted_px/{name}"]
        return (overlap, both - overlap) if iou else (2 * overlap, both)

    return _sample(runs, lambda row: [ratio(row, name) for name in classes[1:]])


def pooled_accuracy(runs: RowsBySeed, classes: Sequence[str]) -> ScoreSums:
    """Share of the pixels of all images whose class is correct.

    Args:
        runs: rows of images by seed, as in `mean_score`, with the pixel counts of each class.
        classes: K names, all of which count.

    Returns:
        Numerators and denominators, by seed and specimen (sorted); one ratio.

    Raises:
        KeyError: a row lacks the counts of a class, or as in `mean_score`.
    """

    def ratio(row: ScoreRow) -> Ratio:
        right = sum(row[f"overlap_px/{name}"] for name in classes)
        return right, sum(row[f"truth_px/{name}"] for name in classes)

    return _sample(runs, lambda row: [ratio(row)])


def pooled_quality(runs: RowsBySeed, classes: Sequence[str]) -> ScoreSums:
    """Panoptic quality of the objects of all images together, mean over the foreground classes.

    The panoptic quality of an image is the sum of IoU over matched pairs, divided by half the
    number of true and predicted objects. A row has the quotient and both numbers; the sum is
    computed from them.

    Args:
        runs: rows of images by seed, as in `mean_score`, with `pq/<name>` and the numbers of
            objects of each foreground class.
        classes: K names, the background first.

    Returns:
        Numerators and denominators, by seed and specimen (sorted); one ratio for each foreground
        class.

    Raises:
        KeyError: a row lacks the values of a class, or as in `mean_score`.
    """

    def ratio(row: ScoreRow, name: str) -> Ratio:
        half = (row[f"objects_truth/{name}"] + row[f"objects_predicted/{name}"]) / 2
        return (row[f"pq/{name}"] or 0) * half, half

    return _sample(runs, lambda row: [ratio(row, name) for name in classes[1:]])


def _sample(runs: RowsBySeed, ratios: Callable[[ScoreRow], Sequence[Ratio]]) -> ScoreSums:
    """Sum numerators and denominators for each seed and specimen; specimens are sorted by name."""
    groups = {name: index for index, name in enumerate(sorted({r["group"] for r in runs[0]}))}
    sums = np.zeros((len(runs), len(groups), len(ratios(runs[0][0])), 2))
    for seed, rows in enumerate(runs):
        for row in rows:
            sums[seed, groups[row["group"]]] += ratios(row)
    return ScoreSums(sums)


def _resampled(sums: Floats, by_seed: Floats, by_group: Floats) -> Floats:
    """The score of each resample (draws,).

    Args:
        sums: (S, G, R, 2) as in `ScoreSums`.
        by_seed: (draws, S), how often each seed is in the resample.
        by_group: (draws, G), how often each specimen is in the resample.
    """
    scores = _mean_ratio(np.einsum("dg,sgrp->dsrp", by_group, sums))
    return (by_seed * np.where(by_seed > 0, scores, 0)).sum(-1) / by_seed.sum(-1)


def _mean_ratio(sums: Floats) -> Floats:
    """Mean (...) of the ratios of sums (..., R, 2) that are defined; NaN if none is defined."""
    numerators, denominators = sums[..., 0], sums[..., 1]
    ratios = np.divide(
        numerators, denominators, out=np.zeros_like(numerators), where=denominators != 0
    )
    defined = np.count_nonzero(denominators, -1)
    return np.divide(
        ratios.sum(-1), defined, out=np.full(defined.shape, np.nan), where=defined != 0
    )
