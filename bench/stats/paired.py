"""What paired differences of the same specimens can tell: which are significant, which unseen.

Differences are (specimens,) float arrays, one value for each specimen, in the unit of the score.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Floats = npt.NDArray[np.float64]

LEVEL = 0.05  # of a family of comparisons
POWER = 0.8  # probability with which a difference of the stated size is seen

_EXACT = 50  # specimens up to which the null distribution is exact, here as in scipy
_TRIALS = 4000  # simulated differences: the power holds within about 1 %


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm, 1979), in the order given."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in corrected]


def signed_rank(differences: Sequence[Floats]) -> list[float]:
    """Two-sided p-values of Wilcoxon's signed-rank test; equal scores everywhere are no evidence.

    It needs no normality and is exact at the small numbers of specimens that are usual here, where
    a bootstrap over specimens would be too sure of itself.
    """
    p_values = np.ones(len(differences))
    for places, values in _by_size(differences):
        sizes = np.sort(np.abs(values), axis=1)
        plain = (sizes[:, :1] > 0).all(1) & (np.diff(sizes) > 0).all(1)  # no zeros, no ties
        if plain.any():
            p_values[places[plain]] = _of_plain(values[plain])
        for place in places[~plain]:
            if differences[place].any():
                p_values[place] = stats.wilcoxon(differences[place]).pvalue
    return p_values.tolist()


def fewest_specimens(comparisons: int) -> int:
    """With fewer no difference, however large, is significant: no p-value is below 2^(1-n)."""
    return 1 + int(np.ceil(np.log2(comparisons / LEVEL)))


def tied(differences: Sequence[Floats]) -> list[bool]:
    """Whether the best cannot be told from each of the others; differences are best - other.

    One that is significantly better specimen by specimen is no tie of the best, nor is it worse.
    """
    specimens = min(values.size for values in differences)
    if specimens < fewest_specimens(len(differences)):
        return [True] * len(differences)
    means = np.empty(len(differences))
    for places, values in _by_size(differences):
        means[places] = values.mean(axis=1)
    p_values = holm(signed_rank(differences))
    return [p > LEVEL or mean <= 0 for p, mean in zip(p_values, means.tolist(), strict=True)]


def smallest_visible(differences: Sequence[Floats]) -> float | None:
    """The mean difference that `tied` would see with probability `POWER`; None: none, ever.

    Each of the others asks for its own, by the standard deviation of its differences; this is the
    median of them. Taken are normal differences and the first, strictest step of Holm.
    """
    specimens = min(values.size for values in differences)
    if specimens < fewest_specimens(len(differences)):
        return None
    visible = np.empty(len(differences))
    for places, values in _by_size(differences):
        effect = visible_effect(values.shape[1], len(differences))
        visible[places] = effect * values.std(axis=1, ddof=1)
    return float(np.median(visible))


@cache
def visible_effect(specimens: int, comparisons: int) -> float:
    """Mean of normal differences, in standard deviations, that is seen with probability `POWER`.

    The test counts pairs (a specimen with itself included) whose average is above 0. Adding a shift
    to all differences adds it to all averages: so the least shift that makes a sample significant
    is minus the average that must just come out above 0, and the effect is a quantile of that over
    simulated samples. With many specimens the test is worth a t-test on 3/pi as many (Hodges and
    Lehmann, 1956).

    Args:
        specimens: n, at least `fewest_specimens(comparisons)`.
        comparisons: by whose number Holm's first step divides the level.
    """
    level = LEVEL / comparisons
    if specimens > _EXACT:
        return _effect_of_t_test(3 / np.pi * specimens, level)
    needed = _critical_count(specimens, level)
    samples = np.random.default_rng(0).normal(size=(_TRIALS, specimens))
    one, other = np.triu_indices(specimens)
    averages = (samples[:, one] + samples[:, other]) / 2
    place = averages.shape[1] - needed
    return float(np.quantile(-np.partition(averages, place, axis=1)[:, place], POWER))


def _by_size(differences: Sequence[Floats]) -> Iterator[tuple[npt.NDArray[np.intp], Floats]]:
    """Those of as many specimens together: their places, and (rows, specimens)."""
    by_size = defaultdict(list)
    for place, values in enumerate(differences):
        by_size[values.size].append(place)
    for places in by_size.values():
        yield np.array(places), np.stack([differences[place] for place in places])


def _effect_of_t_test(specimens: float, level: float) -> float:
    critical = stats.t.isf(level / 2, specimens - 1)

    def lacking(effect: float) -> float:
        return POWER - stats.nct.sf(critical, specimens - 1, effect * np.sqrt(specimens))

    return float(optimize.brentq(lacking, 0, 10))


def _of_plain(differences: Floats) -> Floats:
    """P-values (N,) of differences (N, specimens) without zeros and ties.

    The same as scipy's, which takes its time where the null distribution is exact.
    """
    specimens = differences.shape[1]
    if specimens > _EXACT:
        p_values: Floats = stats.wilcoxon(differences, axis=1).pvalue
        return p_values
    ranks = np.abs(differences).argsort(axis=1).argsort(axis=1) + 1
    count = (ranks * (differences > 0)).sum(axis=1)
    largest = np.maximum(count, specimens * (specimens + 1) // 2 - count)
    return np.minimum(2 * _at_least(specimens)[largest], 1.0)


def _critical_count(specimens: int, level: float) -> int:
    """The smallest statistic whose two-sided p-value is at most `level`."""
    return int(np.argmax(2 * _at_least(specimens) <= level))


@cache
def _at_least(specimens: int) -> Floats:
    """Chance of every statistic or a larger one, where the signs of all ranks are tossed."""
    chances = np.ones(1)
    for rank in range(1, specimens + 1):
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return np.cumsum(chances[::-1])[::-1]
