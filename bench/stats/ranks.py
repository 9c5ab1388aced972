"""Ranks of methods over several datasets, and which methods differ significantly.

Every dataset counts once: Demsar (2006), "Statistical comparisons of classifiers over multiple data
sets", JMLR 7. Pairs of methods are compared by Wilcoxon's signed-rank test with Holm's correction.
They are not compared by the difference of their average ranks, because it depends on the other
methods: Benavoli, Corani and Mangili (2016), "Should we really use post-hoc tests based on
mean-ranks?", JMLR 17.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats

from bench.stats.paired import SIGNIFICANCE, Floats, holm, min_specimens, signed_rank

_PERMUTATIONS = 10_000


def rank_scores(scores: Floats) -> Floats:
    """Return the ranks (D, K) of scores (D, K) within each dataset; 1 for the highest score.

    Equal scores get the mean of their ranks.
    """
    return np.asarray(stats.rankdata(-scores, axis=1), dtype=np.float64)


def friedman(ranks: Floats, permutations: int = _PERMUTATIONS) -> float:
    """Return the p-value of Friedman's test of the hypothesis that all methods are equally good.

    It is computed by permutations of the ranks within each dataset, because the usual chi-squared
    approximation needs more datasets than a benchmark has.

    Args:
        ranks: (D, K) of K methods on D datasets.
        permutations: number of random permutations, always the same ones; no p-value is below
            1 / (1 + permutations).
    """
    middle = (ranks.shape[1] + 1) / 2
    observed = ((ranks.mean(0) - middle) ** 2).sum()
    shape = (permutations, *ranks.shape)
    permuted = np.random.default_rng(0).permuted(np.broadcast_to(ranks, shape), axis=2).mean(1)
    as_large = ((permuted - middle) ** 2).sum(1) >= observed - 1e-9
    return float((1 + np.count_nonzero(as_large)) / (1 + permutations))


def different_pairs(scores: Floats) -> npt.NDArray[np.bool_]:
    """Return a symmetric matrix (K, K) bool, True where two methods differ significantly.

    Uses Wilcoxon's signed-rank test over the datasets, with Holm's correction for all pairs, at the
    level `SIGNIFICANCE`. With too few datasets for any significant difference, no pair differs.

    Args:
        scores: (D, K) of K methods, at least 2, on D datasets.
    """
    datasets, methods = scores.shape
    pairs = list(combinations(range(methods), 2))
    different = np.zeros((methods, methods), bool)
    if datasets < min_specimens(len(pairs)):
        return different
    p_values = holm(signed_rank([scores[:, one] - scores[:, other] for one, other in pairs]))
    for (one, other), p_value in zip(pairs, p_values, strict=True):
        different[one, other] = different[other, one] = p_value <= SIGNIFICANCE
    return different


def cliques(different: Sequence[Sequence[bool]] | npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the groups of neighbouring methods in which no two methods differ.

    A group has at least two methods and is not a part of a larger group.

    Args:
        different: (K, K), whether two methods differ; methods in the order of their average ranks.

    Returns:
        Position of the first and of the last method of each group, by the first. Groups may
        overlap.
    """
    groups: list[tuple[int, int]] = []
    for first in range(len(different)):
        last = first
        while last + 1 < len(different) and not any(different[last + 1][first : last + 1]):
            last += 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def kendall_tau(one: Floats, other: Floats) -> Floats:
    """Return Kendall's tau-b of pairs of score vectors; NaN where all scores of a vector are equal.

    1 means the same order of the methods, -1 the reverse order, and 0 is expected by chance.

    Args:
        one: (..., K) scores of K methods, without NaN.
        other: (..., K) other scores of the same methods.

    Returns:
        Values (...) in -1..1.
    """
    first, second = np.triu_indices(one.shape[-1], 1)
    signs = [np.sign(scores[..., first] - scores[..., second]) for scores in (one, other)]
    untied = np.sqrt(np.prod([(sign**2).sum(-1) for sign in signs], axis=0))
    agreement = (signs[0] * signs[1]).sum(-1)
    return np.divide(agreement, untied, out=np.full(untied.shape, np.nan), where=untied > 0)
