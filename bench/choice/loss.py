"""The expected loss of a recommendation, and the interval of an accuracy, by resampling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.choice.arms import Evidence, RunScore
from bench.choice.margins import FEWEST_SPECIMENS
from bench.stats.bootstrap import DRAWS, Interval, ScoreSums, percentile_interval, resample
from bench.stats.paired import Floats


@dataclass(frozen=True)
class Loss:
    """What the recommended method may lose to the best method of the set.

    Attributes:
        expected: mean over the resamples, 0 or more, in the unit of the criterion.
        at_most: 95 % quantile.
        specimens: number of specimens.
    """

    expected: float
    at_most: float
    specimens: int


def expected_loss(best: Evidence, others: Sequence[Evidence]) -> Loss | None:
    """Resample specimens and runs; in each resample the loss is the largest lead, or 0.

    The largest of several noisy leads is too high on average, so the loss is rather overstated.

    Args:
        best: the recommended method.
        others: the methods that cannot be told from it; itself does not matter.

    Returns:
        None with fewer than `FEWEST_SPECIMENS` specimens, for which resampling says too little.
    """
    names = sorted({name for run in best.runs.values() for name in run.sums})
    if len(names) < FEWEST_SPECIMENS:
        return None
    count = len(names)
    weights = np.random.default_rng(0).multinomial(count, [1 / count] * count, DRAWS).astype(float)
    losses = np.zeros(DRAWS)
    for other in others:
        runs = sorted(set(best.runs) & set(other.runs))
        ours = np.stack([_scores(best.runs[run], names, weights) for run in runs])
        leads = np.stack([_scores(other.runs[run], names, weights) for run in runs]) - ours
        chosen = np.random.default_rng(1).multinomial(len(runs), [1 / len(runs)] * len(runs), DRAWS)
        known = ~np.isnan(leads)
        total = (chosen.T * known).sum(0)
        sums = (chosen.T * np.where(known, leads, 0.0)).sum(0)
        lead = np.divide(sums, total, out=np.zeros(DRAWS), where=total > 0)
        losses = np.maximum(losses, lead)
    return Loss(float(losses.mean()), float(np.quantile(losses, 0.95)), count)


def accuracy_interval(runs: Sequence[RunScore]) -> Interval | None:
    """The 95 % interval of the mean merit over specimens and runs; None with one specimen.

    Args:
        runs: on the same specimens.
    """
    names = sorted(runs[0].sums)
    if len(names) < 2:
        return None
    sums = np.stack([[run.sums[name] for name in names] for run in runs])
    return percentile_interval(resample([ScoreSums(sums)])[0])


def _scores(run: RunScore, names: Sequence[str], weights: Floats) -> Floats:
    """The merit of a run in each resample (draws,); NaN where none of its specimens is drawn.

    Args:
        run: with the sums of its specimens.
        names: G names of all specimens.
        weights: (draws, G), how often each specimen is in a resample.
    """
    sums = np.stack([_of(run.sums, name) for name in names])
    totals = np.einsum("dg,grp->drp", weights, sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = totals[..., 0] / totals[..., 1]
    defined = totals[..., 1] > 0
    counts = defined.sum(1)
    values = np.where(defined, ratios, 0.0).sum(1)
    return np.divide(values, counts, out=np.full(len(weights), np.nan), where=counts > 0)


def _of(sums: Mapping[str, Floats], name: str) -> Floats:
    known = sums.get(name)
    return np.zeros_like(next(iter(sums.values()))) if known is None else known
