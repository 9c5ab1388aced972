"""Cells whose prompts come from a second model: from the request to the record."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from touching_discs import write_discs

import bench
from bench.ask.grid import expand
from bench.ask.proposer import proposer_cell
from bench.ask.request import Request
from bench.cost.predict.fit import Plan
from bench.cost.predict.memory import MemoryPrediction
from bench.data.decode import decode, instance_numbers
from bench.data.fingerprint import fingerprint
from bench.errors import UserError
from bench.metrics.objects import objects_row, score_objects_by_class
from bench.plugins.registry import get_method, load_collection
from bench.predict.job import predict_files
from bench.predict.pictures import open_pictures
from bench.predict.settings import PredictionSettings
from bench.record_values import Cost
from bench.report.compare.grouping import words_of
from bench.run.cell import run_cell
from bench.run.predictor import CostPredictor
from bench.run.proposer import add_costs
from bench.run.record_images import RecordImages
from bench.run.stop import StopRequested, StopSignals
from bench.run.store import Store
from bench.spec import Cell, Recipe, Record, Task
from bench.verify.predictions import check_predictions

SIDE = 48
RECIPE = Recipe(
    lr=3e-3,
    steps=4,
    batch_size=2,
    bank_views=6,
    precision="fp32",
    evaluation="proposals",
    proposer="lora[rank=2]",
)


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """A folder of 6 images of three bright discs that touch, with instance maps."""
    return write_discs(tmp_path / "discs")


@pytest.fixture
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure speeds in one short block each."""
    monkeypatch.setattr("bench.cost.measure.WARMUP_S", 0.0)
    monkeypatch.setattr("bench.cost.measure.BLOCKS", 1)
    monkeypatch.setattr("bench.cost.measure.BLOCK_S", 0.0)


@pytest.fixture
def clean_checkout(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    state: dict[str, object] = {"commit": "1", "dirty": False}
    monkeypatch.setattr("bench.run.environment.source_state", lambda: state)
    return state


def cell_of(folder: Path, method: str, **changes: object) -> Cell:
    registered = get_method(method)
    recipe = replace(RECIPE, lr=registered.lr or 0.0, **changes)  # type: ignore[arg-type]
    sha = fingerprint(load_collection(str(folder)))
    return Cell(method, str(folder), Task(2, SIDE, weights="random"), recipe, dataset_sha=sha)


def run(cell: Cell, store: Store, stop: StopSignals | None = None) -> Record:
    return run_cell(cell, torch.device("cpu"), store, lambda event: None, stop=stop)


@pytest.mark.slow  # trains and measures five models
def test_the_proposer_is_trained_as_its_own_cell_and_taken_over(
    discs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    few_blocks: None,
    clean_checkout: dict[str, object],
) -> None:
    cell = cell_of(discs, "zero_shot")
    own = proposer_cell(cell)
    assert (own.method, own.options, own.recipe.objects) == ("lora", {"rank": 2}, "distances")
    alone = run(cell, Store.open(tmp_path / "alone", keep="none"))
    assert alone.env["proposer"] == {"cell": own.id}
    assert alone.prompts == "automatic"
    assert alone.metrics["pq_dataset"] is not None

    store = Store.open(tmp_path / "shared", keep="all")
    first = run(own, store)
    with monkeypatch.context() as patch:
        patch.setattr("bench.run.proposer.train_model", None)  # it must not be called
        shared = run(cell, store)
    assert shared.env["proposer"] == {"cell": own.id, "trained_as": own.id}
    # The same model, step for step: trained within the cell, or before it.
    assert (alone.metrics, alone.per_image) == (shared.metrics, shared.per_image)
    assert first.cost is not None
    assert shared.cost is not None
    assert shared.cost.trainable_params == first.cost.trainable_params
    assert shared.cost.total_params > first.cost.total_params
    assert shared.cost.train_wall_s == first.cost.train_wall_s
    assert shared.cost.train_peak_bytes is not None
    assert shared.cost.infer_images_per_s is not None
    clean_checkout["commit"] = "2"  # another program trains another model
    assert "trained_as" not in run(cell, store).env["proposer"]


@pytest.mark.parametrize("options", [{}, {"prompt": "point"}])
def test_a_trained_method_is_prompted_and_verified(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    monkeypatch.setattr("bench.run.cell.measure_cost", lambda model, *alone: Cost(10, 100, 1))
    monkeypatch.setattr("bench.run.proposer.measure_cost", lambda model, *alone: Cost(1, 2, 3))
    cell = replace(cell_of(discs, "sam_lora"), options=options)
    store = Store.open(tmp_path / "results")
    record = run(cell, store)
    store.write(record)
    assert record.cost is not None
    assert (record.cost.trainable_params, record.cost.total_params) == (11, 102)
    assert record.cost.infer_images_per_s
    assert record.cost.train_wall_s
    assert len(record.history) == 4
    oracle = replace(cell, recipe=replace(cell.recipe, evaluation="whole", proposer=""))
    other = run(oracle, store)
    # The training of the prompted model does not depend on the proposer.
    assert [row["loss"] for row in other.history] == [row["loss"] for row in record.history]
    count, skipped, findings = check_predictions(store, [record], RecordImages(load_collection))
    assert (count, skipped, findings) == (len(record.per_image), [], [])


def test_predict_finds_the_objects_that_the_cell_scored(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_checkout: dict[str, object]
) -> None:
    for module in ("cell", "proposer"):
        monkeypatch.setattr(
            f"bench.run.{module}.measure_cost", lambda model, *alone: Cost(10, 100, 1)
        )
    store = Store.open(tmp_path / "results", keep="all")
    cell = cell_of(discs, "sam_lora")
    finds = proposer_cell(cell)
    run(finds, store)
    record = run(cell, store)
    path, second = store.model(cell), store.model(finds)
    model = bench.load_model(path, device="cpu", proposer=second)
    assert not model.takes_prompts
    assert model.separates_objects
    collection = load_collection(str(discs))
    items = {item.name: item for item in collection.items}
    pictures = open_pictures([discs / "images" / f"{row['name']}.png" for row in record.per_image])
    settings = PredictionSettings()
    outcomes = predict_files(model, pictures, tmp_path / "out", settings)
    assert [outcome.error for outcome in outcomes] == [None] * len(pictures)
    for row in record.per_image:
        _, truth = decode(items[row["name"]], collection)
        classes = np.asarray(Image.open(tmp_path / "out" / "labels" / f"{row['name']}.png"))
        objects = tifffile.imread(tmp_path / "out" / "objects" / f"{row['name']}.tif")
        numbers = instance_numbers(items[row["name"]], truth.shape)
        scores = score_objects_by_class(classes, truth, 2, numbers, predicted_instances=objects)
        expected = objects_row(scores, collection.classes)
        assert {key: row[key] for key in expected} == expected
    with pytest.raises(UserError, match="finds objects itself"):
        model.predict(pictures[0].path, evaluation="whole")
    with pytest.raises(UserError, match="takes no prompts"):
        model.predict(pictures[0].path, boxes=[[0, 0, 9, 9]])
    with pytest.raises(UserError, match="has not learned to separate objects"):
        bench.load_model(path, device="cpu", proposer=path)
    with pytest.raises(UserError, match="this one takes no prompts"):
        bench.load_model(second, device="cpu", proposer=second)
    alone = bench.load_model(path, device="cpu")  # without the proposer: prompts of the user
    assert alone.takes_prompts
    assert alone.predict(pictures[0].path, boxes=[[5, 10, 20, 30]]).evaluation == "whole"
    with pytest.raises(UserError, match="or --proposer FILE"):
        predict_files(alone, pictures, tmp_path / "other", settings)


def test_a_stopped_training_of_the_proposer_continues(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.run.cell.measure_cost", lambda model, *alone: Cost(10, 100, 1))
    monkeypatch.setattr("bench.run.proposer.measure_cost", lambda model, *alone: Cost(1, 2, 3))
    cell = cell_of(discs, "zero_shot")
    store = replace(Store.open(tmp_path / "results"), save_s=1e-9)
    whole = run(cell, Store.open(tmp_path / "other"))

    class StopsAtStep(StopSignals):
        steps = 0

        def raise_noted(self) -> None:
            self.steps += 1
            if self.steps == 3:
                self.noted = 15
            super().raise_noted()

    with pytest.raises(StopRequested):
        run(cell, store, StopsAtStep())
    assert store.proposer_training(cell).exists()
    record = run(cell, store, StopSignals())
    assert record.env["proposer"]["resumed"]["steps"] == [3]
    assert record.metrics == whole.metrics
    store.remove_training(cell)
    assert not store.proposer_training(cell).parent.exists()


def test_costs_of_both_models() -> None:
    own = Cost(
        trainable_params=10,
        total_params=100,
        checkpoint_bytes=1000,
        forward_flops=3,
        train_images_per_s=6.0,
        train_peak_bytes=50,
        weights_bytes=5,
        train_wall_s=2.0,
        data_bytes=7,
    )
    other = Cost(
        trainable_params=1,
        total_params=200,
        checkpoint_bytes=2000,
        forward_flops=4,
        train_images_per_s=3.0,
        train_peak_bytes=70,
        weights_bytes=6,
        train_wall_s=5.0,
        data_bytes=9,
    )
    both = add_costs(own, other, 1.5, 0.1)
    assert (both.trainable_params, both.total_params, both.checkpoint_bytes) == (11, 300, 3000)
    assert (both.train_peak_bytes, both.weights_bytes, both.data_bytes) == (70, 6, 9)
    assert (both.train_wall_s, both.forward_flops) == (7.0, 7)
    assert both.train_images_per_s == pytest.approx(2.0)  # 1/6 + 1/3 s for one image in both
    assert (both.infer_images_per_s, both.infer_images_per_s_iqr) == (1.5, 0.1)
    frozen = add_costs(Cost(0, 100, 0, forward_flops=3), other, 1.5, None)
    assert frozen.train_images_per_s == pytest.approx(3.0)
    assert frozen.train_step_flops is None
    assert frozen.train_wall_s == 5.0


def test_the_proposer_is_in_the_id_and_in_titles() -> None:
    plain = Recipe(lr=1e-3)
    cell = Cell("sam_lora", "nuclei", Task(2), plain)
    proposed = replace(cell, recipe=replace(plain, evaluation="proposals", proposer="lora"))
    other = replace(cell, recipe=replace(plain, evaluation="proposals", proposer="unet"))
    assert len({cell.id, proposed.id, other.id}) == 3
    assert replace(cell, recipe=replace(plain, proposer="")).id == cell.id
    assert "proposer lora" in words_of(proposed)
    assert proposer_cell(other).task.backbone == "none"


def test_what_is_asked_and_refused(discs: Path) -> None:
    asked = Request(
        "zero_shot,medsam[unit=object]",
        str(discs),
        weights="random",
        image_size=SIDE,
        evaluation="proposals",
        proposer="lora[rank=4]",
    )
    cells, _ = expand(asked)
    assert {cell.recipe.proposer for cell in cells} == {"lora"}  # 4 is the default
    for changes, sentence in (
        ({"proposer": None}, r"name it, as in --proposer lora"),
        ({"evaluation": None}, r"finds the objects of --evaluation proposals: give both"),
        ({"objects": "watershed"}, r"finds objects itself"),
        ({"protocol": "published"}, r"give --protocol equal"),
        ({"proposer": "sam_lora"}, r"takes prompts itself"),
        ({"proposer": "zero_shot"}, r"takes prompts itself"),
        ({"proposer": "lora[rank=1|2]"}, r"give one method with one value of each option"),
        ({"proposer": "lora[rank=0]"}, r"rank 0"),
        ({"proposer": "loar"}, r"Did you mean 'lora'"),
        ({"depth": 2}, r"other than whole"),
    ):
        with pytest.raises(UserError, match=sentence):
            expand(replace(asked, **changes))
    for file in (discs / "instances").iterdir():
        file.unlink()
    (discs / "instances").rmdir()
    with pytest.raises(UserError, match=r"--proposer lora\[rank=4\] learns from objects"):
        expand(asked)


def test_the_larger_model_is_predicted_with_the_weights_of_the_other(
    discs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory(plan: Plan, inference: bool = True) -> MemoryPrediction:
        activations = 100 if plan.recipe.objects == "distances" else 50
        return MemoryPrediction(7, 0, 0, activations, 0, 0)

    monkeypatch.setattr(Plan, "memory", memory)
    cell = cell_of(discs, "sam_lora")
    predictor = CostPredictor(with_time=False)
    assert not predictor.knows(cell, 4, "cpu")
    both = predictor.predict(cell, 4, "cpu", 10**9)
    parts = [
        predictor.predict(one, 4, "cpu", 10**9)
        for one in (replace(cell, recipe=replace(cell.recipe, proposer="")), proposer_cell(cell))
    ]
    assert predictor.knows(cell, 4, "cpu")
    assert both.run_peak_bytes == max(part.run_peak_bytes or 0 for part in parts) + 7
    assert both.train_peak_bytes == parts[1].train_peak_bytes
    assert both.fits == "fits"
