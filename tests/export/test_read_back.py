"""A real prediction of hundreds of objects, read back from every format by another library."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

import bench
from bench.export.predictions import write_formats
from bench.metrics.objects import label_objects
from bench.predict.job import predict_files
from bench.predict.pictures import Picture, open_pictures
from bench.predict.settings import PredictionSettings
from bench.record_values import Cost
from bench.run.cell import run_cell
from bench.run.store import Store
from bench.spec import Cell, Recipe, Task

Mask = npt.NDArray[np.bool_]


def grains(side: int, seed: int) -> tuple[Any, Any]:
    """Touching grains of two classes, some with a hole: image and mask (S, S) uint8."""
    random = np.random.default_rng(seed)
    count = side * side // 150
    centres = random.uniform(0, side, (count, 2))
    places = np.moveaxis(np.indices((side, side)), 0, -1).reshape(-1, 2)
    distance, nearest = (part.reshape(side, side) for part in cKDTree(centres).query(places))
    mask = random.choice(3, count, p=(0.45, 0.3, 0.25))[nearest].astype(np.uint8)
    mask[(distance < 2) & (random.random(count) < 0.5)[nearest]] = 0
    image = np.array([40, 130, 220])[mask] + random.normal(0, 8, mask.shape)
    return image.clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope="module")
def prediction(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Picture, Any]:
    """A folder with a prediction by a trained model, its picture, and its class map."""
    folder = tmp_path_factory.mktemp("grains")
    for part in ("images", "masks"):
        (folder / "grains" / part).mkdir(parents=True)
    for number in range(8):
        for part, values in zip(("images", "masks"), grains(64, number), strict=True):
            Image.fromarray(values).save(folder / "grains" / part / f"{number}.png")
    recipe = Recipe(lr=5e-3, steps=40, batch_size=4, bank_views=16, precision="fp32")
    cell = Cell("unet", str(folder / "grains"), Task(3, 64, "none", "random"), recipe)
    store = Store.open(folder / "results", keep="all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.run.cell.measure_cost", lambda model, *alone: Cost(1, 1, 1))
        run_cell(cell, torch.device("cpu"), store, lambda event: None)
    model = bench.load_model(store.model(cell), device="cpu")
    Image.fromarray(grains(512, 99)[0]).save(folder / "new.png")
    (picture,) = open_pictures([folder / "new.png"])
    (outcome,) = predict_files(model, [picture], folder, PredictionSettings())
    assert outcome.evaluation == "tiles"
    return folder, picture, np.asarray(Image.open(folder / "labels" / "new.png"))


def objects_of(classes: Any) -> dict[tuple[int, bytes], int]:
    """Every object: its class and mask, with its number of holes."""
    objects = {}
    for index in (1, 2):
        numbers = label_objects(classes, index)
        for number in range(1, int(numbers.max()) + 1):
            mask = numbers == number
            if mask.any():
                outside = ndimage.label(np.pad(~mask, 1, constant_values=True), np.ones((3, 3)))
                objects[index, np.packbits(mask).tobytes()] = outside[1] - 1
    return objects


def fill(rings: list[Any], shape: tuple[int, int]) -> Mask:
    """Pixels inside an odd number of rings of (x, y) on pixel edges, by Pillow."""
    inside = np.zeros(shape, bool)
    for ring in rings:
        # Four times as large, so that the edge that Pillow draws stays off the pixel centres.
        points = [(int(4 * x), int(4 * y)) for x, y in ring]
        left, top = (min(axis) // 4 for axis in zip(*points, strict=True))
        right, bottom = (max(axis) // 4 for axis in zip(*points, strict=True))
        large = Image.new("1", (4 * (right - left) + 4, 4 * (bottom - top) + 4))
        moved = [(x - 4 * left, y - 4 * top) for x, y in points]
        ImageDraw.Draw(large).polygon(moved, fill=1, outline=0)
        inside[top:bottom, left:right] ^= np.asarray(large)[2:-4:4, 2:-4:4]
    return inside


def assert_same(ours: list[tuple[int, Mask]], classes: Any) -> None:
    """All objects have an IoU of 1, and there are at least 200, touching ones and some with holes.

    The issue asks for 99 %; every format can be exact.
    """
    theirs = objects_of(classes)
    assert len(theirs) >= 200
    assert sum(holes > 0 for holes in theirs.values()) >= 20
    touching = (classes[:, 1:] != classes[:, :-1]) & (classes[:, 1:] > 0) & (classes[:, :-1] > 0)
    assert touching.sum() >= 200
    assert len(ours) == len(theirs)
    equal = sum((index, np.packbits(mask).tobytes()) in theirs for index, mask in ours)
    assert equal == len(theirs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools with NumPy 2
def test_every_format_gives_the_pixels_of_every_object(
    prediction: tuple[Path, Picture, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    roifile = pytest.importorskip("roifile")
    folder, picture, classes = prediction
    names = ("matrix", "grain", "pore")
    geojson, imagej, document = write_formats(
        [picture], folder, ["geojson", "imagej", "coco"], names
    )
    annotations = coco.COCO(str(document))
    capsys.readouterr()  # the library prints
    entries = annotations.loadAnns(annotations.getAnnIds())
    masks = [(entry["category_id"], annotations.annToMask(entry).astype(bool)) for entry in entries]
    assert_same(masks, classes)
    masks = []
    for feature in json.loads(geojson.read_text())["features"]:
        index = names.index(feature["properties"]["classification"]["name"])
        masks.append((index, fill(feature["geometry"]["coordinates"], classes.shape)))
    assert_same(masks, classes)
    masks = []
    for region in roifile.roiread(imagej):
        rings = region.coordinates(multi=True)
        rings = rings if isinstance(rings, list) else [rings]
        masks.append((names.index(region.name.partition("-")[0]), fill(rings, classes.shape)))
    assert_same(masks, classes)
