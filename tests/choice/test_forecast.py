"""Forecasts of more labels and more steps."""

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from planted_races import planted_cells, planted_record
from scipy import stats

from bench.choice.arms import gather, make_arms
from bench.choice.criterion import DICE, get_criterion
from bench.choice.forecast import Forecast, NoForecast, Point, forecast, outlook

LABELS = (5.0, 10.0, 20.0, 40.0)


def curve(
    exponent: float, noise: float, seed: int, labels: tuple[float, ...] = LABELS
) -> list[tuple[float, float, int]]:
    """Three seeds with levels of their own at 5 to 40 labels; the error is a power of the number.

    Runs of a seed differ from its line by `noise`, and the levels by ten times as much.
    """
    rng = np.random.default_rng(seed)
    levels = rng.normal(0, 10 * noise, 3)
    return [
        (number, 100 - 30 * number**-exponent * np.exp(levels[run] + rng.normal(0, noise)), run)
        for number in labels
        for run in range(3)
    ]


def test_the_interval_holds_the_mean_of_the_seeds_as_often_as_it_says() -> None:
    held = []
    for seed in range(300):
        points = curve(0.5, 0.02, seed, (*LABELS, 80.0))
        result = forecast(points[:-3], 80)
        assert isinstance(result, Forecast)
        held.append(fmean(score for _, score, _ in points[-3:]) in result.interval)
    assert 0.92 <= np.mean(held) <= 0.98


def test_one_seed_gives_the_line_of_scipy() -> None:
    points = [one for one in curve(0.5, 0.02, 0) if one[2] == 0]
    result = forecast(points, 80)
    assert isinstance(result, Forecast)
    line = stats.linregress(
        [np.log(x) for x, _, _ in points], [np.log(100 - y) for _, y, _ in points]
    )
    assert result.value == pytest.approx(100 - np.exp(line.intercept + line.slope * np.log(80)))


@pytest.mark.parametrize(
    ("points", "number", "reason"),
    [
        (
            [(5.0, 50.0, 0), (10.0, 60.0, 0), (10.0, 61.0, 1)],
            20,
            "3 different numbers, there are 2",
        ),
        (curve(0.0, 0.05, 0), 80, "the curve is flat"),
        (curve(0.5, 0.05, 0), 400, "400 is more than 4 times 40"),
        ([*zip(LABELS, (5.0, 45.0, 40.0, 85.0), range(4), strict=True)], 160, "no seed has"),
        ([*zip(LABELS * 2, (5.0, 45.0, 40.0, 85.0) * 2, "aaaabbbb", strict=True)], 160, "scatter"),
    ],
)
def test_there_is_no_forecast_without_grounds(
    points: list[Point], number: float, reason: str
) -> None:
    result = forecast(points, number)
    assert isinstance(result, NoForecast)
    assert reason in result.reason


def test_the_outlook_uses_only_runs_that_differ_in_labels() -> None:
    (cell,) = planted_cells(["lora"], runs=1)["lora"]
    records = []
    for labels, score in ((5, 60.0), (10, 70.0), (20, 78.0), (None, 84.0)):
        record = planted_record(replace(cell, labels=labels), dict.fromkeys(range(8), score), 80)
        split = {"train": labels or 40}
        records.append(replace(record, env={**record.env, "split": split}))
        other = replace(cell, labels=labels, method="full")
        records.append(replace(records[-1], cell=other, metrics={"dice_dataset": 0.1}))
    (best,) = gather(make_arms([cell]), records, DICE)
    more_labels, more_steps = outlook(best, records, DICE)
    assert more_labels.startswith("Twice the labels (80 labelled images): Dice 88")
    assert "a forecast needs scores at 3 different numbers, there are 1." in more_steps
    assert outlook(best, records, get_criterion("d50")) == []
