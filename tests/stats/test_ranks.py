"""Ranks over datasets: against scipy, exact permutations and worked examples."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from bench.stats.ranks import cliques, different_pairs, friedman, rank_scores


def test_equal_scores_share_their_rank() -> None:
    scores = np.array([[0.7, 0.9, 0.7], [0.1, 0.3, 0.2]])
    assert rank_scores(scores).tolist() == [[2.5, 1.0, 2.5], [3.0, 1.0, 2.0]]


def test_friedman_agrees_with_all_permutations() -> None:
    ranks = np.array([[1, 2, 3], [1, 3, 2], [1, 2, 3], [2, 1, 3]], float)
    exact = stats.permutation_test(
        tuple(ranks.T),
        lambda *columns: np.var([column.mean() for column in columns]),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=False,
    )
    assert friedman(ranks) == pytest.approx(exact.pvalue, abs=0.01)


def test_pairs_differ_by_the_corrected_wilcoxon_test() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (12, 3))
    scores = np.array([0.7, 0.7, 0.5]) + noise
    pairs = list(combinations(range(3), 2))
    p_values = [stats.wilcoxon(scores[:, i] - scores[:, j]).pvalue for i, j in pairs]
    order = np.argsort(p_values)
    steps = np.maximum.accumulate([p_values[o] * (3 - n) for n, o in enumerate(order)])
    expected = {pairs[o]: step <= 0.05 for o, step in zip(order, steps, strict=True)}
    different = different_pairs(scores)
    assert {pair: bool(different[pair]) for pair in pairs} == expected
    assert (different == different.T).all()
    assert expected == {(0, 1): False, (0, 2): True, (1, 2): True}


def test_with_few_datasets_no_pair_differs() -> None:
    scores = np.array([0.9, 0.6, 0.3]) + 0.001 * np.arange(6)[:, None] ** 2
    assert not different_pairs(scores).any()


def test_cliques_worked_example() -> None:
    different = {(0, 2), (0, 3), (1, 3), (3, 4)}
    apart = [[(min(i, j), max(i, j)) in different for j in range(5)] for i in range(5)]
    assert cliques(apart) == [(0, 1), (1, 2), (2, 3)]
    for first, last in cliques(apart):
        assert not any(apart[i][j] for i, j in combinations(range(first, last + 1), 2))
