"""Cells under the rules of `--objects`, from the request to the kept model and `verify`."""

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
from bench.ask.request import Request
from bench.data.decode import decode, instance_numbers
from bench.data.fingerprint import fingerprint
from bench.errors import UserError
from bench.export.model import export_model
from bench.metrics.objects import objects_row, score_objects_by_class
from bench.plugins.registry import get_method, load_collection
from bench.predict.job import predict_files
from bench.predict.pictures import open_pictures
from bench.predict.settings import PredictionSettings
from bench.record_values import Cost
from bench.report.compare.grouping import words_of
from bench.run.cell import run_cell
from bench.run.record_images import RecordImages
from bench.run.store import Store
from bench.spec import Cell, Recipe, Record, Task
from bench.verify.predictions import check_predictions

SIDE = 48
RECIPE = Recipe(lr=3e-3, steps=12, batch_size=4, bank_views=12, precision="fp32")


@pytest.fixture(autouse=True)
def without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the measurement of costs out, which takes most of the time of a tiny cell."""
    monkeypatch.setattr("bench.run.cell.measure_cost", lambda model, *alone: Cost(1, 1, 1))


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """A folder of 6 images of three bright discs that touch, with instance maps."""
    return write_discs(tmp_path / "discs")


def cell_of(folder: Path, method: str = "unet", **changes: object) -> Cell:
    registered = get_method(method)
    task = Task(2, SIDE, "none" if registered.from_scratch else "sam_nano", "random")
    recipe = replace(RECIPE, **changes)  # type: ignore[arg-type]
    sha = fingerprint(load_collection(str(folder)))
    return Cell(method, str(folder), task, recipe, dataset_sha=sha)


@pytest.mark.parametrize(
    ("rule", "method", "evaluation"),
    [
        ("watershed", "unet", "whole"),
        ("distances", "unet", "whole"),
        ("distances", "unet", "tiles"),
        ("distances", "lora", "whole"),
        ("rays", "unet", "whole"),
        ("rays", "unet", "tiles"),
    ],
)
def test_predict_finds_the_objects_that_the_cell_scored(
    discs: Path, tmp_path: Path, rule: str, method: str, evaluation: str
) -> None:
    cell = cell_of(discs, method, objects=rule, evaluation=evaluation)
    if evaluation == "tiles":
        cell = replace(cell, task=replace(cell.task, image_size=32))
    store = Store.open(tmp_path / "results", keep="all")
    record = run_cell(cell, torch.device("cpu"), store, lambda event: None)
    store.write(record)
    card = store.model(cell).with_suffix(".md").read_text()
    assert f"- Objects: {rule} (" in card
    model = bench.load_model(store.model(cell), device="cpu")
    assert model.model.recipe.objects == rule
    assert model.model.task.num_classes == 2

    collection = load_collection(str(discs))
    items = {item.name: item for item in collection.items}
    pictures = open_pictures([discs / "images" / f"{row['name']}.png" for row in record.per_image])
    outcomes = predict_files(model, pictures, tmp_path / "out", PredictionSettings())
    assert [outcome.error for outcome in outcomes] == [None] * len(pictures)
    for row in record.per_image:
        name = row["name"]
        item = items[name]
        _, truth = decode(item, collection)
        classes = np.asarray(Image.open(tmp_path / "out" / "labels" / f"{name}.png"))
        objects = tifffile.imread(tmp_path / "out" / "objects" / f"{name}.tif")
        assert np.array_equal(objects > 0, classes > 0)
        numbers = instance_numbers(item, truth.shape)
        scores = score_objects_by_class(classes, truth, 2, numbers, predicted_instances=objects)
        expected = objects_row(scores, collection.classes)
        assert {key: row[key] for key in expected} == expected

    count, skipped, findings = check_predictions(store, [record], RecordImages(load_collection))
    assert (count, skipped, findings) == (len(record.per_image), [], [])
    if rule == "distances":
        with pytest.raises(UserError, match="also predicts "):
            export_model(model, "merged", tmp_path / "merged.safetensors")


@pytest.mark.parametrize("method", ["unet", "lora"])
def test_rules_without_maps_share_one_training(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    cells = [cell_of(discs, method, objects=rule, steps=3) for rule in ("components", "watershed")]
    state = {"commit": "1", "dirty": False}
    monkeypatch.setattr("bench.run.environment.source_state", lambda: state)

    def run(cell: Cell, folder: str) -> Record:
        store = Store.open(tmp_path / folder, keep="all")
        return run_cell(cell, torch.device("cpu"), store, lambda event: None)

    alone = run(cells[1], "alone")
    first = run(cells[0], "shared")
    with monkeypatch.context() as patch:
        patch.setattr("bench.run.cell.train_model", None)  # it must not be called
        shared = run(cells[1], "shared")
    assert (alone.per_image, alone.metrics) == (shared.per_image, shared.metrics)
    assert shared.history == first.history == alone.history
    assert shared.env["trained_as"] == cells[0].id
    assert shared.cost is not None
    assert first.cost is not None
    assert shared.cost.train_wall_s == first.cost.train_wall_s
    assert not [one for one in (first, alone) if "trained_as" in one.env]
    state["commit"] = "2"  # another program trains another model
    assert "trained_as" not in run(cells[1], "shared").env


def test_the_rule_is_in_the_id_and_in_titles_only_where_it_is_not_the_default() -> None:
    cell = Cell("lora", "particles", Task(2), Recipe(lr=1e-3))
    others = [replace(cell, recipe=replace(cell.recipe, objects=rule)) for rule in ("watershed",)]
    assert replace(cell, recipe=replace(cell.recipe, objects="components")).id == cell.id
    assert all(other.id != cell.id for other in others)
    assert "objects watershed" in words_of(others[0])
    assert not [word for word in words_of(cell) if "objects" in word]


def test_distances_need_instance_maps(discs: Path) -> None:
    request = Request("unet", str(discs), objects="distances", weights="random", image_size=SIDE)
    cells, _ = expand(request)
    assert [cell.recipe.objects for cell in cells] == ["distances"]
    for file in (discs / "instances").iterdir():
        file.unlink()
    (discs / "instances").rmdir()
    with pytest.raises(UserError, match=r"has no instance maps: give --objects watershed"):
        expand(request)
    assert expand(replace(request, objects="watershed"))[0]


def test_a_mask_generator_finds_its_objects_itself(discs: Path) -> None:
    request = Request("lora", str(discs), objects="watershed", evaluation="generator")
    with pytest.raises(UserError, match="leave one of them out"):
        expand(request)
    with pytest.raises(UserError, match="no rule for objects 'shed'"):
        expand(replace(request, objects="shed"))


def test_distances_are_learned_without_prompts_only(discs: Path, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "results")
    cell = cell_of(discs, "medsam", objects="distances")
    with pytest.raises(bench.UnsupportedError, match="takes prompts"):
        run_cell(cell, torch.device("cpu"), store, lambda event: None)
