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
Statistic = Callable[[Floats], Floats]  # sums (..., V) to values (...)

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Sample:
    """What a figure is made of: sums (S, G, V) of V numbers by seed and specimen.

    Attributes:
        sums: they add up to those of all runs together.
        statistic: from sums (..., V) to the figure (...), NaN where it is not defined.
    """

    sums: Floats
    statistic: Statistic

    @property
    def value(self) -> float:
        """The figure of all runs together."""
        return float(self.statistic(self.sums.sum((0, 1))))


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
    return np.stack(
        [
            sample.statistic(np.einsum("ds,dg,sgv->dv", by_seed, by_group, sample.sums))
            for sample in samples
        ]
    )


def interval(values: Floats, level: float = LEVEL) -> Interval | None:
    """Percentile interval of drawn values (draws,); None where a tenth or more is not defined."""
    defined = values[~np.isnan(values)]
    if defined.size < 0.9 * values.size:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def mean_of(runs: Sequence[Sequence[Mapping[str, Any]]], key: str) -> Sample:
    """The mean over images of one score; images where it is None are left out.

    Args:
        runs: of each seed the rows of its images, "group" beside the scores.
        key: of the score.
    """

    def numbers(row: Mapping[str, Any]) -> list[float]:
        return [0.0, 0.0] if row.get(key) is None else [1.0, row[key]]

    return Sample(_sums(runs, numbers), lambda sums: _ratio(sums[..., 1], sums[..., 0]))


def overlap_of(
    runs: Sequence[Sequence[Mapping[str, Any]]], classes: Sequence[str], *, iou: bool = False
) -> Sample:
    """Dice or IoU of the pixels of all images together, mean over the foreground classes.

    Args:
        runs: of each seed the rows of its images, with the pixel counts of each class.
        classes: K names, the background first.
        iou: whether IoU instead of Dice.
    """

    def numbers(row: Mapping[str, Any]) -> list[float]:
        kinds = ("overlap_px", "truth_px", "predicted_px")
        return [float(row[f"{kind}/{name}"]) for name in classes[1:] for kind in kinds]

    def statistic(sums: Floats) -> Floats:
        counts = sums.reshape(*sums.shape[:-1], len(classes) - 1, 3)
        overlap, both = counts[..., 0], counts[..., 1] + counts[..., 2]
        found = _ratio(overlap, both - overlap) if iou else _ratio(2 * overlap, both)
        defined = ~np.isnan(found)
        return _ratio(np.where(defined, found, 0).sum(-1), defined.sum(-1))

    return Sample(_sums(runs, numbers), statistic)


def _sums(
    runs: Sequence[Sequence[Mapping[str, Any]]], numbers: Callable[[Mapping[str, Any]], list[float]]
) -> Floats:
    """Sums (S, G, V) by seed and specimen; specimens in the order of their names."""
    groups = {name: place for place, name in enumerate(sorted({r["group"] for r in runs[0]}))}
    width = len(numbers(runs[0][0]))
    sums = np.zeros((len(runs), len(groups), width))
    for seed, rows in enumerate(runs):
        for row in rows:
            sums[seed, groups[row["group"]]] += numbers(row)
    return sums


def _ratio(above: Any, below: Any) -> Floats:
    above, below = np.asarray(above, float), np.asarray(below, float)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below != 0)
