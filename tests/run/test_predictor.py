"""What is predicted before a run: equal configurations once, and next to the measurement."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import make_folder
from records import make_cell, make_record

from bench.cost.predict.fit import Plan
from bench.cost.predict.memory import MemoryPrediction
from bench.cost.predict.time import OPERATOR_S, Speed, probe_speed
from bench.learn.images import MOST_BYTES
from bench.record_values import PredictedCost
from bench.run import predictor as module
from bench.run.cell import run_cell
from bench.run.memory_words import memory_warning
from bench.run.predictor import CostPredictor, plan_of
from bench.run.store import Store
from bench.run.training_sizes import TrainingSizes
from bench.spec import Cell, Recipe, Record, Task

GIB = 2**30
SPEEDS = {"bf16": Speed(1e10, 1e10, 2.0), "fp32": Speed(1e10, 1e10, 2.0)}


def tiny(method: str = "frozen_head", **changes: Any) -> Cell:
    recipe = Recipe(1e-3, steps=2, batch_size=2, bank_views=4, precision="fp32")
    return Cell(method, "mine", Task(2, 64, weights="random"), recipe, **changes)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """A made-up memory: 1 GiB for each image that is in the model at once."""
    calls: dict[int, int] = {}

    def memory(plan: Plan, inference: bool = True) -> MemoryPrediction:
        images = -(-plan.recipe.batch_size // plan.recipe.accumulate)
        calls[images] = calls.get(images, 0) + 1
        return MemoryPrediction(0, 0, 0, images * GIB, plan.image_bytes, 0)

    monkeypatch.setattr(Plan, "memory", memory)
    return calls


def test_the_prediction_is_next_to_the_measurement_and_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WARMUP_S", "BLOCK_S", "LIMIT_S"):
        monkeypatch.setattr(f"bench.cost.measure.{name}", 0.01)
    make_folder(tmp_path / "mine")
    cell, store = replace(tiny(), dataset=str(tmp_path / "mine")), Store.open(tmp_path / "out")
    plain = run_cell(cell, torch.device("cpu"), store, lambda event: None)
    predictor = CostPredictor(speeds=dict(SPEEDS))
    record = run_cell(cell, torch.device("cpu"), store, lambda event: None, predictor)
    assert plain.predicted is None
    predicted, cost = record.predicted, record.cost
    assert predicted is not None
    assert cost is not None
    for part in ("train_peak", "weights", "gradients", "optimizer", "activations"):
        assert getattr(predicted, f"{part}_bytes") == getattr(cost, f"{part}_bytes")
    assert predicted.kept_bytes is not None
    assert predicted.kept_bytes > (4 + 24) * 4 * 64 * 64, "views, validation images, embeddings"
    assert predicted.run_peak_bytes is not None
    assert predicted.run_peak_bytes > predicted.kept_bytes
    assert (predicted.fits, predicted.change, predicted.reason) == ("fits", None, "")
    assert predicted.train_wall_s is not None
    assert predicted.train_wall_s_high == 2 * predicted.train_wall_s
    # Nothing that is measured or learned is changed by the prediction.
    assert (record.metrics, record.history) == (plain.metrics, plain.history)


def test_equal_configurations_are_predicted_once(sizes: dict[int, int]) -> None:
    predictor, available = CostPredictor(with_time=False), 16 * GIB
    first = predictor.predict(tiny(), 4, "cpu", available)
    again = predictor.predict(replace(tiny(), seed=1, dataset="other"), 4, "cpu", available)
    assert first == again
    assert sizes == {2: 1}
    assert predictor.knows(tiny(), 4, "cpu")
    assert not predictor.knows(tiny(), 400, "cpu"), "400 images are more views"
    predictor.predict(tiny(options={"scales": 2}), 4, "cpu", available)
    assert sizes == {2: 2}


def test_the_change_is_searched_for_the_memory_that_is_free(sizes: dict[int, int]) -> None:
    predictor, cell = CostPredictor(with_time=False), tiny()
    cell = replace(cell, recipe=replace(cell.recipe, batch_size=4))
    verdicts = [
        (predicted.fits, predicted.change)
        for gib in (16, 3.9, 4.2, 16)
        for predicted in [predictor.predict(cell, 4, "cpu", int(gib * GIB))]
    ]
    assert verdicts == [
        ("fits", None),
        ("no", "--accumulate 4"),
        ("probably", "--accumulate 4"),
        ("fits", None),
    ]
    assert predictor.predict(cell, 4, "cpu", None).available_bytes is None


def test_a_bug_of_a_method_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(plan: Plan, inference: bool = True) -> MemoryPrediction:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Plan, "memory", broken)
    predicted = CostPredictor(with_time=False).predict(tiny(), 4, "cpu", GIB)
    assert predicted.reason == "ZeroDivisionError: division by zero"
    assert (predicted.run_peak_bytes, predicted.fits) == (None, None)


def test_an_error_in_the_search_of_a_change_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def memory(plan: Plan, inference: bool = True) -> MemoryPrediction:
        if plan.recipe.accumulate > 1:
            raise ValueError("Expected more than 1 value per channel")
        return MemoryPrediction(0, 0, 0, GIB, 0, 0)

    monkeypatch.setattr(Plan, "memory", memory)
    predicted = CostPredictor(with_time=False).predict(tiny(), 4, "cpu", 10)
    assert (predicted.fits, predicted.change) == ("no", None)
    assert memory_warning(tiny(), predicted).endswith(
        "the search of a change ended (ValueError: Expected more than 1 value per channel)"
    )


def test_a_change_is_searched_again_when_less_memory_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def memory(plan: Plan, inference: bool = True) -> MemoryPrediction:
        size = 4 - plan.recipe.checkpointing - 2 * (plan.recipe.accumulate > 1)
        return MemoryPrediction(0, 0, 0, size * GIB, 0, 0)

    monkeypatch.setattr(Plan, "memory", memory)
    predictor = CostPredictor(with_time=False)
    changes = [predictor.predict(tiny(), 4, "cpu", gib * GIB // 2).change for gib in (12, 8, 12)]
    assert changes == ["--checkpointing", "--accumulate 2", "--accumulate 2"]


def test_the_speed_of_the_numbered_device_is_measured(
    sizes: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []

    def probe(device: str, precision: str, seconds: float) -> Speed:
        devices.append(device)
        return SPEEDS[precision]

    monkeypatch.setattr(module, "probe_speed", probe)
    CostPredictor().predict(tiny(), 4, "cuda:1", None)
    assert devices == ["cuda:1"]
    assert probe_speed("cpu:0", "fp32", 0.01).operator_s == OPERATOR_S["cpu"]


def test_views_that_are_drawn_for_each_batch_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_of(tiny(), 3, "cpu").views == 4
    assert plan_of(tiny(), 30, "cpu").views == 30
    assert plan_of(tiny("zero_shot"), 30, "cpu").views == 0
    monkeypatch.setitem(MOST_BYTES, "cpu", 30 * 4 * 64 * 64 - 1)
    assert plan_of(tiny(), 30, "cpu").views == 0
    assert plan_of(tiny(), 30, "cuda:0").views == 30
    assert plan_of(tiny(), 30, "cpu").made_views == 4, "two for each of two steps"


def test_training_parts_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "mine")
    cell, sizes = replace(tiny(), dataset=str(tmp_path / "mine")), TrainingSizes()
    number = sizes.of(cell)
    assert 1 <= number < 8
    monkeypatch.setattr("bench.run.training_sizes.load_collection", None)
    assert sizes.of(replace(cell, seed=3)) == number
    assert sizes.of(replace(cell, labels=1)) == 1


def test_a_record_keeps_its_prediction_and_old_ones_stay_as_they_are() -> None:
    predicted = PredictedCost("cpu", available_bytes=GIB, fits="no", change="--checkpointing")
    old = make_record(make_cell())
    new = replace(old, predicted=predicted)
    assert "predicted" not in old.to_dict()
    assert Record.from_dict(json.loads(json.dumps(new.to_dict()))) == new
    assert Record.from_dict(json.loads(json.dumps(old.to_dict()))).predicted is None
    assert list(new.to_dict()) == [*old.to_dict(), "predicted"]
    wrong = new.to_dict()
    wrong["predicted"]["available_bytes"] = "much"
    with pytest.raises(TypeError, match="available_bytes is 'much', expected int or NoneType"):
        Record.from_dict(wrong)


def test_the_probe_runs_once_for_each_precision(
    sizes: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def probe(device: str, precision: str, seconds: float) -> Speed:
        calls.append(precision)
        return SPEEDS[precision]

    monkeypatch.setattr(module, "probe_speed", probe)
    predictor = CostPredictor()
    for seed in (0, 1):
        predictor.predict(replace(tiny(), seed=seed), 4 + seed, "cpu", GIB)
    assert calls == ["fp32"]
