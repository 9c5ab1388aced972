"""Images that are read and written in strips; outputs of a command that is run twice."""

import csv
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from kept_models import make_kept_model
from PIL import Image

import bench
from bench.data.decode import STRETCH, read_image
from bench.data.traits import ImageTraits
from bench.predict.job import predict_files
from bench.predict.model import KeptModel
from bench.predict.outputs import write_map
from bench.predict.pictures import open_pictures
from bench.predict.settings import PredictionSettings
from bench.predict.tiff_rows import TiffRows, percentiles

HOW: dict[str, dict[str, Any]] = {
    "one block": {},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (16, 32), "compression": "zlib"},
    "plain tiles": {"tile": (16, 16)},
    "white is zero": {"photometric": "miniswhite"},
}


def picture(dtype: type, colour: bool = False) -> Any:
    shape = (61, 75, 3) if colour else (61, 75)
    most = 255 if dtype is np.uint8 else 4000
    return np.random.default_rng(0).integers(3, most, shape).astype(dtype)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("dtype", "colour"), [(np.uint8, 0), (np.uint8, 1), (np.uint16, 0)])
def test_rows_are_those_of_the_whole_image(
    how: str, dtype: type, colour: int, tmp_path: Path
) -> None:
    if colour and how == "white is zero":
        pytest.skip("for grey images only")
    path = tmp_path / "a.tif"
    settings = {"photometric": "rgb" if colour else "minisblack", **HOW[how]}
    tifffile.imwrite(path, picture(dtype, bool(colour)), **settings)
    rows, whole = TiffRows(path), read_image(path)
    assert rows.shape == whole.shape
    assert rows.kind == (np.dtype(dtype).name, "colour" if colour else "grey")
    for start, stop in ((0, 61), (0, 1), (13, 40), (60, 61)):
        np.testing.assert_array_equal(rows[start:stop], whole[start:stop])
    rows.close()


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_of_a_histogram_are_numpys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 60_000, rng.integers(2, 3000)).astype(np.uint16)
    counts = np.bincount(values, minlength=1 << 16)
    assert percentiles(counts) == tuple(np.percentile(values, STRETCH))


@pytest.fixture
def model(tmp_path: Path) -> KeptModel:
    """A model that was trained on images of 40 x 48 px."""
    traits = ImageTraits(("uint8", "uint16"), ("grey",), 40, 48, 48)
    path = make_kept_model(tmp_path / "m.safetensors", traits=traits)
    return bench.load_model(path, device="cpu")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_file_in_strips_gives_the_labels_of_the_array(
    dtype: type, model: KeptModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.predict.pictures.LARGE_PX", 1000)
    monkeypatch.setattr("bench.predict.segmentation.BAND_PX", 500)
    values = np.tile(picture(dtype), (2, 2))
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(32, 32), compression="zlib")
    settings = PredictionSettings(maps=("probability", "uncertainty"), tiff=True)
    out = tmp_path / "out"
    (outcome,) = predict_files(model, open_pictures([tmp_path / "a.tif"]), out, settings)
    assert outcome.evaluation == "tiles"
    theirs = model.predict(values)
    assert theirs.evaluation == "tiles"
    for folder, expected in (
        ("labels", theirs.classes),
        ("probability", theirs.foreground),
        ("uncertainty", theirs.uncertainty),
    ):
        np.testing.assert_array_equal(tifffile.imread(out / folder / "a.tif"), expected)
    with Image.open(out / "overlays" / "a.png") as overlay:
        assert overlay.size == (150, 122)


@pytest.mark.parametrize("rule", ["watershed", "distances"])
def test_objects_of_an_image_in_strips_are_those_of_the_array(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.predict.pictures.LARGE_PX", 1000)
    monkeypatch.setattr("bench.predict.segmentation.BAND_PX", 500)
    monkeypatch.setattr("bench.objects.stored.BAND_PX", 700)
    traits = ImageTraits(("uint8",), ("grey",), 40, 48, 48)
    path = make_kept_model(tmp_path / "m.safetensors", traits=traits, noise=0.3, objects=rule)
    model = bench.load_model(path, device="cpu")
    values = np.tile(picture(np.uint8), (2, 2))
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(32, 32), compression="zlib")
    (outcome,) = predict_files(
        model, open_pictures([tmp_path / "a.tif"]), tmp_path / "out", PredictionSettings()
    )
    assert outcome.error is None
    theirs = model.predict(values).objects
    assert theirs is not None
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "objects" / "a.tif"), theirs)
    with (tmp_path / "out" / "objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    areas = np.bincount(theirs.ravel())[1:]
    assert len(areas) > 10
    assert sorted(float(row["area"]) for row in rows) == sorted(areas.tolist())
    alone = [len(np.unique(around(theirs, number))) == 1 for number in range(1, len(areas) + 1)]
    assert sum(row["touching"] == "0" for row in rows) == sum(alone)


def around(numbers: Any, number: int) -> Any:
    """Numbers of the pixels next to an object, without its own, and 0."""
    inside = np.pad(numbers == number, 1)
    near = np.zeros_like(inside)
    for axis in (0, 1):
        near |= np.roll(inside, 1, axis) | np.roll(inside, -1, axis)
    return np.append(numbers[near[1:-1, 1:-1] & ~inside[1:-1, 1:-1]], 0)


def test_windows_have_the_size_of_the_training_images(model: KeptModel) -> None:
    assert model.choose_evaluation((72, 60)) == "whole"
    assert model.choose_evaluation((40, 73)) == "tiles"
    assert model.choose_evaluation((40, 73), "whole") == "whole"
    with pytest.raises(bench.UserError, match="give one of auto, whole, tiles"):
        model.choose_evaluation((9, 9), "parts")


def test_images_that_are_done_are_not_predicted_again(model: KeptModel, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        Image.fromarray(picture(np.uint8)).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    out, settings = tmp_path / "out", PredictionSettings()

    def again(settings: PredictionSettings = settings) -> list[str]:
        outcomes = predict_files(model, open_pictures([tmp_path / "in"]), out, settings)
        return [one.name for one in outcomes if one.seconds is not None]

    assert again() == ["a", "c"]  # and not b
    (tmp_path / "in" / "b.png").unlink()
    table = (out / "table.csv").read_text()
    assert again() == []
    assert (out / "table.csv").read_text() == table
    (out / "labels" / "a.png").unlink()
    assert again() == ["a"]
    Image.fromarray(picture(np.uint8)[::-1]).save(tmp_path / "in" / "c.png")
    assert again() == ["c"]
    assert again(PredictionSettings(min_area=3)) == ["a", "c"]


@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize(("dtype", "size"), [(np.uint8, (70, 50)), (np.float32, (33, 130))])
def test_large_maps_are_tiled(
    slices: int, dtype: type, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.predict.outputs.STRIP_PX", 1000)
    monkeypatch.setattr("bench.predict.outputs.TILE_PX", 32)
    values: Any = np.random.default_rng(0).integers(0, 200, (slices, *size)).astype(dtype)
    path = write_map(tmp_path / "a", BytesIO(values.tobytes()), values.shape, dtype, tiff=True)
    np.testing.assert_array_equal(tifffile.imread(path), values.squeeze())
    with tifffile.TiffFile(path) as written:
        assert written.pages.first.is_tiled
