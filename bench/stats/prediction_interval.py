"""Student's prediction interval: the range in which the mean of further runs is expected."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def prediction_interval(
    values: Sequence[float], further: int, confidence: float
) -> tuple[float, float]:
    """Return the interval that contains the mean of further values of the same normal distribution.

    Args:
        values: two observed values or more, for example one score per seed.
        further: number of further values whose mean is predicted, at least 1.
        confidence: probability that the interval contains their mean, between 0 and 1.

    Returns:
        Lower and upper bound, in the unit of the values.

    Raises:
        StatisticsError: fewer than two values.
        ZeroDivisionError: `further` is 0.
    """
    from scipy.special import stdtrit  # Student's quantile; scipy.stats takes seconds to import

    count = len(values)
    deviation = stdev(values)
    quantile = float(stdtrit(count - 1, (1 + confidence) / 2))
    half = quantile * math.sqrt(1 / count + 1 / further) * deviation
    return fmean(values) - half, fmean(values) + half
