"""Forecasts of more labels and more steps."""

from dataclasses import replace

import numpy as np
import pytest
from planted_races import planted_cells, planted_record

from bench.choice.arms import gather, make_arms
from bench.choice.criterion import DICE, get_criterion
from bench.choice.forecast import Forecast, NoForecast, forecast
from bench.choice.outlook import outlook

LABELS = (5.0, 10.0, 20.0, 40.0)


def curve(exponent: float, noise: float, seed: int) -> list[tuple[float, float]]:
    """Three runs each at 5 to 40 labels; the error is a power of the number."""
    rng = np.random.default_rng(seed)
    return [
        (number, 100 - 60 * number**-exponent * np.exp(rng.normal(0, noise)))
        for number in LABELS
        for _ in range(3)
    ]


def test_the_interval_holds_a_further_run_as_often_as_it_says() -> None:
    held = []
    for seed in range(200):
        result = forecast(curve(0.5, 0.05, seed), 80)
        assert isinstance(result, Forecast)
        noise = np.random.default_rng(10_000 + seed).normal(0, 0.05)
        held.append(100 - 60 * 80**-0.5 * np.exp(noise) in result.interval)
    assert 0.9 <= np.mean(held) <= 0.99


@pytest.mark.parametrize(
    ("points", "number", "reason"),
    [
        ([(5.0, 50.0), (10.0, 60.0), (10.0, 61.0)], 20, "3 different numbers, there are 2"),
        (curve(0.0, 0.05, 0), 80, "the curve is flat"),
        (curve(0.5, 0.05, 0), 400, "400 is more than 4 times 40"),
        ([*zip(LABELS, (5.0, 45.0, 40.0, 85.0), strict=True)] * 2, 160, "scatter too much"),
    ],
)
def test_there_is_no_forecast_without_grounds(
    points: list[tuple[float, float]], number: float, reason: str
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
