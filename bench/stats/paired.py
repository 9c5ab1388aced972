"""Paired tests of two methods on the same specimens, and which differences they can detect.

Differences are float arrays (specimens,), one value per specimen, in the unit of the score.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Floats = npt.NDArray[np.float64]

SIGNIFICANCE = 0.05  # level for all comparisons of one table column together
POWER = 0.8  # probability to detect a difference of the stated size

_EXACT = 50  # largest number of specimens with an exact null distribution, as in scipy
_TRIALS = 4000  # simulated samples; the standard error of the power is about 1 percentage point


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple comparisons by Holm's method (1979).

    Args:
        p_values: of all comparisons that are made together.

    Returns:
        The corrected p-values, at most 1, in the same order.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in corrected]


def signed_rank(differences: Sequence[Floats]) -> list[float]:
    """Return two-sided p-values of Wilcoxon's signed-rank test; 1 if all differences are zero.

    The test does not assume normal differences. Zeros are left out. With at most 50 other specimens
    it is exact, also with ties (their ranks are averaged), while the intervals of a bootstrap would
    be too narrow; with more, the p-values are the normal approximation of scipy's `wilcoxon`.

    Args:
        differences: one array (specimens,) for each comparison; the lengths may differ.

    Returns:
        One p-value for each comparison, not corrected for their number.
    """
    p_values = np.ones(len(differences))
    for places, values in _by_size(differences):
        sizes = np.sort(np.abs(values), axis=1)
        plain = (sizes[:, :1] > 0).all(1) & (np.diff(sizes) > 0).all(1)  # no zeros, no ties
        if plain.any():
            p_values[places[plain]] = _exact_p_values(values[plain])
        for place in places[~plain]:
            p_values[place] = _p_value_with_ties(differences[place])
    return p_values.tolist()


def direction(differences: Floats) -> int:
    """Return the side to which the signed-rank test leans: 1 (positive), -1 or 0 (neither).

    A significant test never gives 0, while the median of differences of which most are zero does.

    Args:
        differences: (specimens,).
    """
    ranks = stats.rankdata(np.abs(differences))
    return int(np.sign((ranks * np.sign(differences)).sum()))


def min_specimens(comparisons: int) -> int:
    """Return the smallest number of specimens with which a difference can be significant.

    With n specimens, the smallest possible p-value of the signed-rank test is 2^(1-n); the level is
    `SIGNIFICANCE`.

    Args:
        comparisons: number of comparisons in Holm's correction, at least 1; its first step
            multiplies the smallest p-value by this number.
    """
    return 1 + int(np.ceil(np.log2(comparisons / SIGNIFICANCE)))


def tied_with_best(differences: Sequence[Floats]) -> list[bool]:
    """Return for each other method whether it is tied with the best, i.e. not significantly worse.

    If any comparison has fewer specimens than `min_specimens`, all methods are tied. A method with
    a lower score in the table can be better on most specimens, or in their mean; it is tied, too.

    Args:
        differences: best - other, one array (specimens,) for each other method, of which there is
            at least one; higher scores are better.
    """
    specimens = min(values.size for values in differences)
    if specimens < min_specimens(len(differences)):
        return [True] * len(differences)
    means = np.empty(len(differences))
    for places, values in _by_size(differences):
        means[places] = values.mean(axis=1)
    p_values = holm(signed_rank(differences))
    return [
        p > SIGNIFICANCE or mean <= 0 or direction(values) < 0
        for p, mean, values in zip(p_values, means.tolist(), differences, strict=True)
    ]


def typical_difference(
    values: Floats, comparisons: int = 1
) -> tuple[float, tuple[float, float] | None]:
    """Return the Hodges-Lehmann estimate of a difference, and the interval of the signed-rank test.

    The estimate is the median of the averages of all pairs of specimens (a specimen with itself
    included). The interval holds the shifts that the test does not reject at the level
    `SIGNIFICANCE`: 0 is outside of it where the test is significant, if neither differences nor
    averages are tied. Memory and time grow with the square of the number of specimens.

    Args:
        values: differences (specimens,), at least one.
        comparisons: number of intervals that are made together; `SIGNIFICANCE` is divided by it.

    Returns:
        The estimate, and the lower and upper end of the interval, in the unit of the score; None
        instead of the interval with fewer specimens than `min_specimens(comparisons)`.
    """
    one, other = _pairs(values.size)
    averages = np.sort((values[one] + values[other]) / 2)
    estimate = float(averages[(averages.size - 1) // 2] + averages[averages.size // 2]) / 2
    if values.size < min_specimens(comparisons):
        return estimate, None
    needed = _needed_count(values.size, SIGNIFICANCE / comparisons)
    return estimate, (float(averages[averages.size - needed]), float(averages[needed - 1]))


@lru_cache(maxsize=4)
def _pairs(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Positions of both parts of every pair, a part with itself included."""
    return np.triu_indices(count)


def detectable_difference(differences: Sequence[Floats]) -> float | None:
    """Return the mean difference that `tied_with_best` detects with probability `POWER`.

    For each other method it is computed from the standard deviation of its differences. It holds
    for normal differences and for the first, strictest step of Holm's correction.

    Args:
        differences: best - other, one array (specimens,) for each other method, of which there is
            at least one.

    Returns:
        The median over the other methods, in the unit of the score; None if any comparison has
        fewer specimens than `min_specimens`.
    """
    specimens = min(values.size for values in differences)
    if specimens < min_specimens(len(differences)):
        return None
    visible = np.empty(len(differences))
    for places, values in _by_size(differences):
        effect = detectable_effect(values.shape[1], len(differences))
        visible[places] = effect * values.std(axis=1, ddof=1)
    return float(np.median(visible))


@cache
def detectable_effect(specimens: int, comparisons: int) -> float:
    """Return the mean of normal differences that is detected with probability `POWER`.

    The statistic of the signed-rank test equals the number of pairs of specimens (a specimen with
    itself included) whose average difference is above 0. A shift that is added to all differences
    is added to all averages, too. The test is significant if at least c averages are above 0, so
    the smallest sufficient shift of a simulated sample is minus its c-th largest average. The
    result is a quantile of this shift over simulated samples, always the same ones. With more than
    50 specimens, the power is approximated by that of a t-test with 3/pi times as many specimens
    (Hodges and Lehmann, 1956).

    Args:
        specimens: n, at least `min_specimens(comparisons)`.
        comparisons: number of comparisons; Holm's first step divides `SIGNIFICANCE` by it.

    Returns:
        The mean difference, in standard deviations of the differences.
    """
    level = SIGNIFICANCE / comparisons
    if specimens > _EXACT:
        return _effect_of_t_test(3 / np.pi * specimens, level)
    needed = _critical_count(specimens, level)
    samples = np.random.default_rng(0).normal(size=(_TRIALS, specimens))
    one, other = np.triu_indices(specimens)
    averages = (samples[:, one] + samples[:, other]) / 2
    place = averages.shape[1] - needed
    return float(np.quantile(-np.partition(averages, place, axis=1)[:, place], POWER))


def _by_size(differences: Sequence[Floats]) -> Iterator[tuple[npt.NDArray[np.intp], Floats]]:
    """Yield arrays of equal length together: their positions, and an array (rows, specimens)."""
    by_size = defaultdict(list)
    for place, values in enumerate(differences):
        by_size[values.size].append(place)
    for places in by_size.values():
        yield np.array(places), np.stack([differences[place] for place in places])


def _effect_of_t_test(specimens: float, level: float) -> float:
    critical = stats.t.isf(level / 2, specimens - 1)

    def missing_power(effect: float) -> float:
        return POWER - stats.nct.sf(critical, specimens - 1, effect * np.sqrt(specimens))

    return float(optimize.brentq(missing_power, 0, 10))


def _exact_p_values(differences: Floats) -> Floats:
    """P-values (N,) of differences (N, specimens) without zeros and ties.

    They are equal to those of scipy, which is slow for exact null distributions.
    """
    specimens = differences.shape[1]
    if specimens > _EXACT:
        p_values: Floats = stats.wilcoxon(differences, axis=1).pvalue
        return p_values
    ranks = np.abs(differences).argsort(axis=1).argsort(axis=1) + 1
    count = (ranks * (differences > 0)).sum(axis=1)
    largest = np.maximum(count, specimens * (specimens + 1) // 2 - count)
    return np.minimum(2 * _upper_tail(specimens)[largest], 1.0)


def _p_value_with_ties(differences: Floats) -> float:
    """P-value of differences (specimens,) with zeros or ties; 1 if all are zero."""
    others = differences[differences != 0]
    if others.size > _EXACT:
        return float(stats.wilcoxon(others).pvalue)
    ranks = np.rint(2 * stats.rankdata(np.abs(others))).astype(int)  # twice: half ranks are whole
    count = int(ranks[others > 0].sum())
    tail = _tail_of_ranks(ranks.tolist())
    return min(2 * float(tail[max(count, int(ranks.sum()) - count)]), 1.0)


def _needed_count(specimens: int, level: float) -> int:
    """As `_critical_count`; with many specimens by the normal approximation of the statistic."""
    if specimens <= _EXACT:
        return _critical_count(specimens, level)
    mean = specimens * (specimens + 1) / 4
    deviation = np.sqrt(mean * (2 * specimens + 1) / 6)
    return int(np.ceil(mean + stats.norm.isf(level / 2) * deviation))


def _critical_count(specimens: int, level: float) -> int:
    """The smallest statistic with a two-sided p-value of at most `level`."""
    return int(np.argmax(2 * _upper_tail(specimens) <= level))


@cache
def _upper_tail(specimens: int) -> Floats:
    """Probability of each statistic or a larger one, if the signs of all ranks are random."""
    return _tail_of_ranks(range(1, specimens + 1))


def _tail_of_ranks(ranks: Iterable[int]) -> Floats:
    """As `_upper_tail`, for ranks of which some may be equal."""
    chances = np.ones(1)
    for rank in ranks:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return np.cumsum(chances[::-1])[::-1]
