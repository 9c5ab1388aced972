"""Which trained models a results folder keeps."""

from dataclasses import replace
from pathlib import Path

import pytest
from folders import make_folder
from records import make_cell, make_record
from safetensors.torch import load_file, save_file
from torch import nn

from bench.data.split import split
from bench.errors import UserError
from bench.keep.header import read_header
from bench.plugins.registry import load_collection
from bench.run.models import keep_model, list_models, remove_worse_models
from bench.run.schedule import RunSettings, run_cells
from bench.run.store import Store
from bench.spec import Cell, Recipe, Task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Kept models of lora with seeds 0 to 2 and of lora[rank=8] with seed 0."""
    parts = split(load_collection(str(make_folder(tmp_path / "images"))))
    store = Store.open(tmp_path / "out", "best")
    for options, seed, dice in (({}, 0, 0.5), ({}, 1, 0.75), ({}, 2, None), ({"rank": 8}, 0, 0.1)):
        cell = replace(make_cell(options=options), seed=seed)
        row = {"step": 1.0, "epoch": 1.0, "loss": 0.1} | (
            {} if dice is None else {"val_dice": dice}
        )
        record = replace(make_record(cell), history=(row,))
        keep_model(nn.Linear(2, 1), record, parts, {"licence": "CC0"}, store.model(cell), "best")
    return store.models


def seeds(folder: Path) -> list[tuple[str, int]]:
    return [(header.cell.label, header.cell.seed) for header in list_models(folder).values()]


def test_a_header_names_the_images_of_the_training(folder: Path) -> None:
    header = next(iter(list_models(folder).values()))
    assert set(header.trained_on) == {"train"}
    assert len(header.trained_on["train"]) == 5
    assert (header.images.height, header.images.width, header.images.longest) == (40, 48, 48)
    assert (header.images.types, header.images.colours) == (("uint8",), ("grey",))


def test_the_best_of_each_method_remains(folder: Path) -> None:
    (folder / "notes.safetensors").write_text("not a model")
    removed = remove_worse_models(folder)
    assert len(removed) == 2
    assert seeds(folder) == [("lora[rank=8]", 0), ("lora", 1)]
    assert remove_worse_models(folder) == []
    assert (folder / "notes.safetensors").exists()


def test_models_of_a_run_that_keeps_all_are_removed_on_request_only(folder: Path) -> None:
    for path, header in list_models(folder).items():
        if header.cell.seed == 0:
            rewrite(path, "all")
    remove_worse_models(folder)
    assert seeds(folder) == [("lora[rank=8]", 0), ("lora", 0), ("lora", 1)]
    remove_worse_models(folder, also_kept_all=True)
    assert seeds(folder) == [("lora[rank=8]", 0), ("lora", 1)]


def test_final_models_neither_are_removed_nor_remove_others(folder: Path) -> None:
    for path, header in list_models(folder).items():
        if header.cell.seed > 0:
            rewrite(path, "final")
    assert remove_worse_models(folder, also_kept_all=True) == []
    assert seeds(folder) == [("lora[rank=8]", 0), ("lora", 0), ("lora", 1), ("lora", 2)]


def rewrite(path: Path, rule: str) -> None:
    metadata = read_header(path).to_metadata() | {"rule": rule}
    save_file(load_file(path), path, metadata)


def test_an_empty_folder_has_no_models(tmp_path: Path) -> None:
    assert list_models(tmp_path / "models") == {}
    assert remove_worse_models(tmp_path / "models") == []


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UserError, match="--keep cannot be 'some': give one of none, best, all"):
        RunSettings(keep="some").check()


@pytest.mark.slow
@pytest.mark.parametrize(("keep", "kept"), [("none", 0), ("best", 1), ("all", 2)])
def test_a_run_keeps_what_its_rule_says(keep: str, kept: int, tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images")
    recipe = Recipe(lr=1e-3, steps=2, batch_size=2, bank_views=4, precision="fp32")
    cell = Cell("frozen_head", str(images), Task(2, 64, weights="random"), recipe)
    store = Store.open(tmp_path / "out")
    run_cells(
        [cell, replace(cell, seed=1)], store, RunSettings(keep=keep, threads=1), lambda event: None
    )
    assert len(list_models(store.models)) == kept
