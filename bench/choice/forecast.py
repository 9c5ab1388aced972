"""What would more labels bring, or more steps? A forecast with an interval, or a reason for none.

The error 1 - score is taken as a power of the number of labelled images (Hestness et al., 2017,
"Deep learning scaling is predictable, empirically", https://arxiv.org/abs/1712.00409), a line in
logarithms. Label budgets of one seed and fold are nested, and its runs are tested on the same
images: each has a level of its own, and the slope is common. The interval is the prediction
interval of the mean score of these seeds and folds.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from bench.choice.arms import Evidence
from bench.choice.criterion import Criterion
from bench.spec import Cell, Record
from bench.stats.bootstrap import CONFIDENCE, Interval
from bench.stats.paired import Floats

Point = tuple[float, float, Hashable]  # number, score in percent, and what nested runs share

FEWEST_POINTS = 3  # different numbers; a line through two has no residuals
WIDEST = 15.0  # percentage points; a wider interval says nothing
FURTHEST = 4.0  # largest multiple of the largest number that a forecast is made for


@dataclass(frozen=True)
class Forecast:
    """The expected score at a larger number of labels or steps.

    Attributes:
        number: of labelled images, or of steps.
        value: expected mean score in percent of the same seeds and folds.
        interval: 95 % prediction interval of this mean, within [0, 100].
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


def forecast(points: Sequence[Point], number: float) -> Forecast | NoForecast:
    """Forecast the score at a number of labels (or steps) beyond those that were tried.

    Args:
        points: number, score in percent, and seed and fold of each run.
        number: where the score is wanted, above the largest number of `points`.

    Returns:
        The forecast; or the reason for none: too few different numbers, too far away, a flat curve
        (the slope is not significantly different from 0, or the score falls), or an interval wider
        than `WIDEST` points on either side.
    """
    numbers = sorted({x for x, _, _ in points})
    if len(numbers) < FEWEST_POINTS:
        return NoForecast(
            f"a forecast needs scores at {FEWEST_POINTS} different numbers, there are"
            f" {len(numbers)}"
        )
    if number > FURTHEST * numbers[-1]:
        return NoForecast(f"{number:g} is more than {FURTHEST:g} times {numbers[-1]:g}")
    line = _fit(points)
    if line is None:
        return NoForecast("no seed has scores at enough different numbers")
    if line.slope >= 0 or line.p_value > 1 - CONFIDENCE:
        return NoForecast("the curve is flat: the scores do not rise significantly")
    middle, half = line.at(math.log(number))
    value = 100.0 - math.exp(middle)
    interval = Interval(max(0.0, 100.0 - math.exp(middle + half)), 100.0 - math.exp(middle - half))
    if max(value - interval.low, interval.high - value) > WIDEST:
        return NoForecast("the scores scatter too much: the interval would say nothing")
    return Forecast(number, value, interval)


@dataclass(frozen=True)
class _Line:
    """Parallel lines through the logarithms of numbers and errors, one for each seed and fold.

    Attributes:
        slope: of all of them.
        p_value: of the slope, two-sided.
        centres: mean logarithms of number and of error of each seed and fold (R, 2).
        deviation: of one error from its line.
        freedom: degrees of freedom of the deviation.
        spread: sum of squared distances of the numbers from their mean.
        share: variance of the mean of new runs and that of the level, for a deviation of 1.
    """

    slope: float
    p_value: float
    centres: Floats
    deviation: float
    freedom: int
    spread: float
    share: float

    def at(self, place: float) -> tuple[float, float]:
        """The logarithm of the mean error of all lines, and half of its prediction interval."""
        x, y = self.centres.T
        distance = place - float(x.mean())
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.freedom))
        half = quantile * self.deviation * math.sqrt(self.share + distance**2 / self.spread)
        return math.log(float(np.exp(y + self.slope * (place - x)).mean())), half


def _fit(points: Sequence[Point]) -> _Line | None:
    """Least squares with a level for each seed and fold; None with too few points for it."""
    runs: dict[Hashable, list[tuple[float, float]]] = {}
    for number, score, run in points:
        runs.setdefault(run, []).append((math.log(number), math.log(max(1e-3, 100.0 - score))))
    parts = [np.array(part) for part in runs.values()]
    centres = np.array([part.mean(0) for part in parts])
    x, y = np.concatenate([part - part.mean(0) for part in parts]).T
    spread, freedom = float(x @ x), len(points) - len(parts) - 1
    if freedom < 1 or spread <= 0:
        return None
    slope = float(x @ y) / spread
    deviation = math.sqrt(float(((y - slope * x) ** 2).sum()) / freedom)
    error = deviation / math.sqrt(spread)
    p_value = 2 * float(stats.t.sf(abs(slope) / error, freedom)) if error else 0.0
    share = sum(1 + 1 / len(part) for part in parts) / len(parts) ** 2
    return _Line(slope, p_value, centres, deviation, freedom, spread, share)


def outlook(best: Evidence, records: Iterable[Record], criterion: Criterion) -> list[str]:
    """Sentences on twice the labels and twice the steps; without records for it, how to get them.

    Args:
        best: the recommended method.
        records: of the results folder: those that differ from the method's runs only in seed, fold
            and number of labels (or steps) are used.
        criterion: only Dice and other scores in percent are forecast.
    """
    if not criterion.has_margin or criterion.name.startswith("phase"):
        return []
    cell = best.arm.cells[0]
    stored = [record for record in records if record.status == "ok"]
    labels = _points(stored, cell, criterion, "labels")
    steps = _points(stored, cell, criterion, "steps")
    return [
        _sentence("Twice the labels", "labelled images", labels, criterion),
        _sentence("Twice the time", "steps", steps, criterion),
    ]


def _points(records: Sequence[Record], cell: Cell, criterion: Criterion, what: str) -> list[Point]:
    """Number of labels (or steps) and score of each run that differs in seed and fold only."""
    key = _without(cell, what).id
    points: list[Point] = []
    for record in records:
        score = criterion.of_set(record)
        if score is None or _without(record.cell, what).id != key:
            continue
        number = record.cell.recipe.steps
        if what == "labels":
            number = record.env.get("split", {}).get("train", 0)
        if number:
            points.append((float(number), score, (record.cell.seed, record.cell.fold)))
    return points


def _without(cell: Cell, what: str) -> Cell:
    """The cell without seed, fold, and labels or steps."""
    if what == "labels":
        return replace(cell, seed=0, fold=0, labels=None)
    return replace(cell, seed=0, fold=0, recipe=replace(cell.recipe, steps=1))


def _sentence(title: str, unit: str, points: Sequence[Point], criterion: Criterion) -> str:
    largest = max((number for number, _, _ in points), default=0.0)
    result = forecast(points, 2 * largest)
    if isinstance(result, Forecast):
        low, high = result.interval.low, result.interval.high
        return (
            f"{title} ({result.number:.0f} {unit}): {criterion.title} {result.value:.1f} %"
            f" (95 % prediction interval {low:.1f} to {high:.1f})."
        )
    return f"{title}: no forecast, {result.reason}."
