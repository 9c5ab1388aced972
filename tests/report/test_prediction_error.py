"""The error of predictions, from the records of a folder."""

from dataclasses import replace

from records import make_cell, make_cost, make_failure, make_record

from bench.record_values import PredictedCost
from bench.report.compare.comparison import make_comparisons
from bench.report.overview import _overview
from bench.report.records.frame import to_frame
from bench.report.records.prediction_error import prediction_error
from bench.spec import Record


def predicted(method: str, peak: float, time: float | None, seed: int = 0) -> Record:
    """A record whose predicted peak and time are these multiples of the measured ones."""
    cost = make_cost()
    assert cost.train_peak_bytes is not None
    assert cost.train_wall_s is not None
    prediction = PredictedCost(
        "cpu",
        train_peak_bytes=round(cost.train_peak_bytes * peak),
        train_wall_s=None if time is None else cost.train_wall_s * time,
    )
    record = make_record(make_cell(method, seed=seed), cost=cost)
    return replace(record, predicted=prediction)


def test_median_and_largest_error_by_hand() -> None:
    records = [
        predicted("lora", 1.01, 2.0),
        predicted("full", 0.96, 0.25),
        predicted("unet", 1.02, None),
        make_record(make_cell("adapter")),
        replace(make_failure(make_cell("samed")), predicted=PredictedCost("cpu", reason="none")),
    ]
    assert prediction_error(to_frame(records)) == (
        "Predicted before the runs, against measured: the peak memory of a training step in 3 runs:"
        " median error 2 %, largest 4 % (full); the training time in 2 runs: off by a factor of"
        " 3.00 (median), 4.00 (largest, full)."
    )


def test_without_predictions_nothing_is_said() -> None:
    assert prediction_error(to_frame([make_record(), make_failure()])) == ""
    failed = replace(make_failure(), predicted=PredictedCost("cpu", train_peak_bytes=9))
    assert prediction_error(to_frame([failed])) == ""


def test_the_overview_says_it_once_and_only_with_predictions() -> None:
    with_one = predicted("lora", 1.01, 1.5)
    frames = [to_frame([record]) for record in (with_one, replace(with_one, predicted=None))]
    new, old = (_overview(frame, make_comparisons(frame)) for frame in frames)
    sentence = (
        "Predicted before the runs, against measured: the peak memory of a training step in 1 run:"
        " median error 1 %, largest 1 % (lora); the training time in 1 run: off by a factor of"
        " 1.50 (median), 1.50 (largest, lora).\n\n"
    )
    assert new.count(sentence) == 1
    assert new.replace(sentence, "") == old
    assert [any("predicted" in str(name) for name in frame) for frame in frames] == [True, False]
