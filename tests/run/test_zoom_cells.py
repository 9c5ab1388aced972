"""Cells with `--zoom` and `--mask-grid`, from the request to the kept model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import make_folder
from PIL import Image
from records import make_record

import bench
from bench.ask.grid import expand
from bench.ask.request import Request
from bench.data.fingerprint import fingerprint
from bench.errors import UserError
from bench.export.model import export_model
from bench.keep.header import read_header
from bench.plugins.registry import load_collection
from bench.record_values import Cost
from bench.report.compare.comparison import make_comparisons
from bench.report.records.frame import to_frame
from bench.run.cell import run_cell
from bench.run.final import FinalTraining, train_final
from bench.run.models import chosen_zoom
from bench.run.same_training import trained_before
from bench.run.store import Store
from bench.spec import Cell, Recipe, Record, Task
from bench.wording import counted

RECIPE = Recipe(lr=3e-3, steps=3, batch_size=2, bank_views=8, precision="fp32")


@pytest.fixture(autouse=True)
def without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the measurement of costs out, which takes most of the time of a tiny cell."""
    monkeypatch.setattr("bench.run.cell.measure_cost", lambda model, *alone: Cost(1, 1, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


def cell_of(folder: Path, grid: str = "coarse", **recipe: Any) -> Cell:
    task = Task(2, 64, weights="random", mask_grid=grid)
    sha = fingerprint(load_collection(str(folder)))
    changed = replace(RECIPE, **recipe)
    return Cell("decoder_only", str(folder), task, changed, dataset_sha=sha)


@pytest.mark.parametrize(("grid", "zoom"), [("fine", "auto"), ("fine", "3"), ("coarse", "2")])
def test_predict_does_what_the_cell_did(folder: Path, tmp_path: Path, grid: str, zoom: str) -> None:
    cell = cell_of(folder, grid, evaluation="tiles", zoom=zoom)
    store = Store.open(tmp_path / "results", keep="all")
    record = run_cell(cell, torch.device("cpu"), store, lambda event: None)
    chosen = int(record.env["zoom"]["chosen"] if zoom == "auto" else zoom)
    assert ("zoom" in record.env) == (zoom == "auto")
    if zoom == "auto":
        scores = record.env["zoom"]["scores"]
        assert record.env["zoom"]["by"] == "dice_dataset"
        assert scores[str(chosen)] == max(score or 0 for score in scores.values())
    card = store.model(cell).with_suffix(".md").read_text()
    assert f"evaluation: tiles of images enlarged {counted(chosen, 'time')}" in card
    assert ("Grid of masks: fine" in card) == (grid == "fine")
    model = bench.load_model(store.model(cell), device="cpu")
    assert (model.model.zoom, model.model.task.mask_grid) == (chosen, grid)
    for row in record.per_image:
        name = row["name"]
        expected = np.asarray(Image.open(store.predictions(cell) / f"{name}.png"))
        (path,) = (folder / "images").glob(f"{name}.*")
        assert np.array_equal(model.predict(path).classes, expected)


def test_zooms_and_modes_share_one_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bench.run.environment.source_state", lambda: {"commit": "1", "dirty": False}
    )
    store = Store.open(tmp_path / "results", keep="all")
    cells = [cell_of(folder), cell_of(folder, evaluation="tiles", zoom="2")]

    def run(cell: Cell, store: Store) -> Record:
        return run_cell(cell, torch.device("cpu"), store, lambda event: None)

    alone = run(cells[1], Store.open(tmp_path / "alone", keep="all"))
    run(cells[0], store)
    monkeypatch.setattr("bench.run.cell.train_model", None)  # it must not be called
    shared = run(cells[1], store)
    assert shared.env["trained_as"] == cells[0].id
    assert (shared.per_image, shared.history) == (alone.per_image, alone.history)
    monkeypatch.setattr("bench.run.same_training.is_built_in", lambda method: False)
    assert trained_before(cells[1], store, "cpu") is None  # the code of a plugin may have changed


def test_a_final_model_takes_the_zoom_that_its_runs_chose(folder: Path, tmp_path: Path) -> None:
    cell = cell_of(folder, evaluation="tiles", zoom="auto")
    records = [
        replace(made, env={**made.env, "zoom": {"chosen": zoom}})
        for seed, zoom in enumerate((3, 2, 2))
        if (made := make_record(replace(cell, seed=seed), dice_dataset=0.5))
    ]
    assert chosen_zoom(cell, records) == 2
    assert chosen_zoom(replace(cell, recipe=replace(cell.recipe, zoom="4")), records) is None
    with pytest.raises(UserError, match="runs with the same settings chose"):
        chosen_zoom(cell, [])
    path = tmp_path / "m.safetensors"
    train_final(FinalTraining(cell, zoom=2), "cpu", path, lambda event: None)
    assert read_header(path).zoom == 2
    assert bench.load_model(path, device="cpu").model.zoom == 2


def test_rows_of_both_grids_share_a_table(folder: Path) -> None:
    cells = [cell_of(folder, grid) for grid in ("coarse", "fine")]
    assert cells[0].id != cells[1].id
    records = [make_record(cell, dice_dataset=0.5) for cell in cells]
    (comparison,) = make_comparisons(to_frame(records))
    assert [row.label for row in comparison.rows] == [
        "decoder_only",
        "decoder_only mask_grid=fine",
    ]


def test_a_zoom_of_its_own_is_named_by_the_table(folder: Path) -> None:
    cell = cell_of(folder, evaluation="tiles", zoom="2")
    (comparison,) = make_comparisons(to_frame([make_record(cell, dice_dataset=0.5)]))
    assert comparison.title.endswith("evaluation tiles, zoom 2")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"zoom": "2"}, "--evaluation whole cuts none: give --evaluation tiles"),
        ({"zoom": 2, "evaluation": "generator"}, "--evaluation generator cuts none"),
        ({"zoom": "0"}, "--zoom is 0: give a whole number from 1 to 16"),
        ({"mask_grid": "finest"}, "grid of masks"),
        ({"mask_grid": "fine", "evaluation": "generator"}, "leave one of them out"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    folder: Path, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(UserError, match=why):
        expand(Request("lora", str(folder), **options))


def test_a_request_has_its_grid_and_zoom(folder: Path) -> None:
    request = Request(
        "lora,unet", str(folder), image_size=64, mask_grid="fine", evaluation="tiles", zoom="auto"
    )
    cells, _ = expand(request)
    assert [cell.task.mask_grid for cell in cells] == ["fine", "fine"]
    assert {cell.recipe.zoom for cell in cells} == {"auto"}
    assert Cell.from_dict(cells[0].to_dict()) == cells[0]


@pytest.mark.slow
def test_a_fine_grid_is_exported(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    cell = cell_of(folder, "fine")
    store = Store.open(tmp_path / "results", keep="all")
    run_cell(cell, torch.device("cpu"), store, lambda event: None)
    model = bench.load_model(store.model(cell), device="cpu")
    for to in ("onnx", "merged"):
        export_model(model, to, tmp_path / f"m.{to}")
    with pytest.raises(UserError, match="it takes no prompts"):
        export_model(model, "sam", tmp_path / "m.pth")
