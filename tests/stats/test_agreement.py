"""Kendall's tau against scipy."""

import numpy as np
from scipy.stats import kendalltau

from bench.stats.ranks import kendall_tau


def test_tau_is_that_of_scipy_with_and_without_ties() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 6, (2, 50, 7)).astype(float)
    other[:25] = rng.normal(size=(25, 7))
    expected = [kendalltau(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(kendall_tau(one, other), expected)


def test_tau_is_not_defined_if_all_methods_are_equal() -> None:
    assert np.isnan(kendall_tau(np.ones(4), np.arange(4.0)))
