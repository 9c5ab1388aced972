"""What would more labels bring, or more steps? A forecast with an interval, or a reason for none.

The error 1 - score is taken as a power of the number of labelled images (Hestness et al., 2017,
"Deep learning scaling is predictable, empirically", https://arxiv.org/abs/1712.00409), a line in
logarithms. The interval is the prediction interval of that line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.stats.bootstrap import CONFIDENCE, Interval

FEWEST_POINTS = 3  # different numbers; a line through two has no residuals
WIDEST = 15.0  # percentage points; a wider interval says nothing
FURTHEST = 4.0  # largest multiple of the largest number that a forecast is made for


@dataclass(frozen=True)
class Forecast:
    """The expected score at a larger number of labels or steps.

    Attributes:
        number: of labelled images, or of steps.
        value: expected mean score in percent.
        interval: 95 % prediction interval, within [0, 100].
    """

    number: float
    value: float
    interval: Interval


@dataclass(frozen=True)
class NoForecast:
    """Why there is no forecast.

    Attributes:
        reason: a sentence without its full stop.
    """

    reason: str


def forecast(points: Sequence[tuple[float, float]], number: float) -> Forecast | NoForecast:
    """Forecast the score at a number of labels (or steps) beyond those that were tried.

    Args:
        points: number and score in percent of each run; several runs may have the same number.
        number: where the score is wanted, above the largest number of `points`.

    Returns:
        The forecast; or the reason for none: too few different numbers, too far away, a flat curve
        (the slope is not significantly different from 0, or the score falls), or an interval wider
        than `WIDEST` points on either side.
    """
    numbers = sorted({x for x, _ in points})
    if len(numbers) < FEWEST_POINTS:
        return NoForecast(
            f"a forecast needs scores at {FEWEST_POINTS} different numbers, there are"
            f" {len(numbers)}"
        )
    if number > FURTHEST * numbers[-1]:
        return NoForecast(f"{number:g} is more than {FURTHEST:g} times {numbers[-1]:g}")
    x = np.log([one for one, _ in points])
    y = np.log([max(1e-3, 100.0 - score) for _, score in points])
    line = stats.linregress(x, y)
    if line.slope >= 0 or line.pvalue > 1 - CONFIDENCE:
        return NoForecast("the curve is flat: the scores do not rise significantly")
    low, middle, high = _predict(x, y, line, math.log(number))
    value = 100.0 - math.exp(middle)
    interval = Interval(max(0.0, 100.0 - math.exp(high)), 100.0 - math.exp(low))
    if max(value - interval.low, interval.high - value) > WIDEST:
        return NoForecast("the scores scatter too much: the interval would say nothing")
    return Forecast(number, value, interval)


def _predict(
    x: np.ndarray,
    y: np.ndarray,
    line: object,
    at: float,
) -> tuple[float, float, float]:
    """Lower end, middle and upper end of the prediction interval of a line at a place."""
    slope, intercept = line.slope, line.intercept  # type: ignore[attr-defined]
    rest = y - (intercept + slope * x)
    freedom = len(x) - 2
    deviation = math.sqrt(float((rest**2).sum()) / freedom)
    distance = (at - x.mean()) ** 2 / float(((x - x.mean()) ** 2).sum())
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * deviation
    half *= math.sqrt(1 + 1 / len(x) + distance)
    middle = float(intercept + slope * at)
    return middle - half, middle, middle + half
