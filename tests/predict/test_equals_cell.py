"""A kept model predicts the test images of its cell exactly as the cell did."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from folders import make_folder
from PIL import Image

import bench
from bench.data.decode import decode, instance_numbers
from bench.data.fit import resize_mask
from bench.data.items import Collection, Item
from bench.data.split import split
from bench.errors import UserError
from bench.plugins.registry import Method, get_method, list_methods, load_collection
from bench.predict.job import predict_files
from bench.predict.model import KeptModel
from bench.predict.pictures import open_pictures
from bench.predict.settings import PredictionSettings
from bench.record_values import Cost
from bench.run.cell import run_cell
from bench.run.store import Store
from bench.sam.prompts import PromptRule, nearest
from bench.spec import Cell, Recipe, Task

FAST = {"lora", "unet", "medsam"}
SIDE = 64


@pytest.fixture(autouse=True)
def without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the measurement of costs out, which takes most of the time of a tiny cell."""
    monkeypatch.setattr("bench.run.cell.measure_cost", lambda model, *alone: Cost(1, 1, 1))


def tiny_cell(method: str, dataset: str, depth: int = 1, **options: Any) -> Cell:
    registered = get_method(method)
    task = Task(2, SIDE, "none" if registered.from_scratch else "sam_nano", "random", depth)
    recipe = Recipe(lr=1e-3, steps=2, batch_size=2, bank_views=4)
    return Cell(method, dataset, task, recipe, options)


def trained(cell: Cell, folder: Path) -> tuple[Store, KeptModel]:
    store = Store.open(folder / "results", keep="all")
    run_cell(cell, torch.device("cpu"), store, lambda event: None)
    return store, bench.load_model(store.model(cell), device="cpu")


def oracle_csv(path: Path, rule: PromptRule, items: Sequence[Item], collection: Collection) -> Path:
    """The prompts that a cell makes from the truth, in pixels of the images, as a CSV file."""
    columns = ["x0", "y0", "x1", "y1"] if rule.kind == "box" else ["x", "y"]
    lines = [",".join(["image", "class", "object", *columns])]
    for item in items:
        _, mask = decode(item, collection)
        instances = nearest(instance_numbers(item, mask.shape), SIDE)
        prompts = rule.for_evaluation(resize_mask(mask, SIDE), instances)
        scale = np.array([mask.shape[1], mask.shape[0]]) / SIDE
        assert isinstance(item.image, Path)
        lines.append(f"{item.image.name},,,{',' * (len(columns) - 1)}")
        for number, index in enumerate(prompts.classes[0].tolist()):
            boxes = prompts.boxes[0][number].double().numpy()[None] * np.tile(scale, 2)
            points = prompts.clicks[0][number].double().numpy() * scale
            for values in (boxes if rule.kind == "box" else points).tolist():
                words = [item.image.name, str(index), str(number), *map(repr, values)]
                lines.append(",".join(words))
    path.write_text("\n".join(lines))
    return path


def assert_same_maps(cell: Cell, folder: Path) -> None:
    """Run a cell on a folder of images, predict its test images, and compare the files."""
    store, model = trained(cell, folder)
    collection = load_collection(cell.dataset)
    test = split(collection, fold=cell.fold, folds=cell.folds).test
    settings = PredictionSettings()
    rule = model.model.prompt_rule
    if model.takes_prompts:
        assert rule is not None
        prompts = oracle_csv(folder / "prompts.csv", rule, test, collection)
        settings = replace(settings, prompts=prompts)
    pictures = open_pictures([item.image for item in test if isinstance(item.image, Path)])
    out = folder / "predicted"
    outcomes = predict_files(model, pictures, out, settings)
    assert [outcome.error for outcome in outcomes] == [None] * len(test)
    for item in test:
        ours = (out / "labels" / f"{item.name}.png").read_bytes()
        assert ours == (store.predictions(cell) / f"{item.name}.png").read_bytes()


def all_methods() -> list[Any]:
    slow = pytest.mark.slow
    return [
        pytest.param(method, id=method.name, marks=() if method.name in FAST else slow)
        for method in list_methods()
    ]


@pytest.mark.parametrize("method", all_methods())
def test_label_maps_equal_those_of_the_cell(method: Method, tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images", 6, ((".png", ".png"), (".tif", ".tif")))
    assert_same_maps(tiny_cell(method.name, str(images)), tmp_path)


def test_tiles_equal_those_of_the_cell(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images", 6)
    cell = tiny_cell("lora", str(images))
    cell = replace(cell, recipe=replace(cell.recipe, evaluation="tiles"))
    cell = replace(cell, task=replace(cell.task, image_size=32))
    assert_same_maps(cell, tmp_path)


@pytest.mark.slow  # one prediction for each point of a grid
def test_maps_of_the_mask_generator_equal_those_of_the_cell(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images", 6)
    shutil.copytree(images / "masks", images / "instances")  # each shows one object
    cell = tiny_cell("sam_lora", str(images))
    assert_same_maps(replace(cell, recipe=replace(cell.recipe, evaluation="generator")), tmp_path)


def test_points_equal_those_of_the_cell(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images", 6)
    assert_same_maps(tiny_cell("sam_lora", str(images), prompt="point", clicks=2), tmp_path)


def test_a_box_around_the_whole_image_needs_no_prompts(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images", 6)
    assert_same_maps(tiny_cell("medsam", str(images), prompt="image"), tmp_path)


def test_stacks_equal_those_of_the_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last stack overlaps the one before: 5 slices in stacks of 3."""
    images = make_folder(tmp_path / "images", 15)
    plain = load_collection(str(images))
    items = tuple(
        replace(item, volume=f"v{number // 5}", group=f"v{number // 5}")
        for number, item in enumerate(sorted(plain.items, key=lambda item: item.name))
    )
    volumes = replace(plain, items=items)
    monkeypatch.setattr("bench.run.cell.load_collection", lambda *_: volumes)
    cell = tiny_cell("med_sa", str(images), depth=3, dims=3)
    store, model = trained(cell, tmp_path)
    test = split(volumes).test
    assert len(test) == 5
    slices = [np.asarray(Image.open(str(item.image))) for item in test]
    tifffile.imwrite(tmp_path / "volume.tif", np.stack(slices), photometric="minisblack")
    settings = PredictionSettings(maps=("uncertainty",))
    if model.model.prompt_rule is not None:
        prompts = oracle_csv(tmp_path / "p.csv", model.model.prompt_rule, test, volumes)
        text = prompts.read_text()
        for number, item in enumerate(test):
            assert isinstance(item.image, Path)
            text = text.replace(f"{item.image.name},", f"volume.tif#{number},")
        prompts.write_text(text)
        settings = replace(settings, prompts=prompts)
    pictures = open_pictures([tmp_path / "volume.tif"])
    (outcome,) = predict_files(model, pictures, tmp_path / "out", settings)
    assert outcome.error is None
    labels = tifffile.imread(tmp_path / "out" / "labels" / "volume.tif")
    for item, ours in zip(test, labels, strict=True):
        stored = np.asarray(Image.open(store.predictions(cell) / f"{item.name}.png"))
        np.testing.assert_array_equal(ours, stored)
    with pytest.raises(UserError, match="takes stacks of 3 slices"):
        model.predict(slices[0])
