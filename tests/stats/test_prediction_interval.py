"""The prediction interval: a worked example, and its coverage by simulation."""

from statistics import StatisticsError

import numpy as np
import pytest

from bench.stats.prediction_interval import prediction_interval


def test_worked_example() -> None:
    """Student's quantile of 0.975 with 2 degrees of freedom is 4.303; s = 0.1, n = 3, m = 2."""
    low, high = prediction_interval([0.5, 0.6, 0.7], 2, 0.95)
    half = 4.302653 * 0.1 * (1 / 3 + 1 / 2) ** 0.5
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half))


def test_it_holds_the_further_mean_as_often_as_it_says() -> None:
    inside = 0
    for values in np.random.default_rng(0).normal(0.6, 0.02, (2_000, 8)):
        low, high = prediction_interval(list(values[:6]), 2, 0.99)
        inside += low <= values[6:].mean() <= high
    assert inside / 2_000 == pytest.approx(0.99, abs=0.008)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_values_have_no_interval(values: list[float]) -> None:
    with pytest.raises(StatisticsError):
        prediction_interval(values, 2, 0.95)
