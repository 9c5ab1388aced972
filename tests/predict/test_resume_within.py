"""A prediction that was interrupted within a picture goes on there, and gives the same files."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from kept_models import make_kept_model

import bench
from bench.data.traits import ImageTraits
from bench.errors import WriteError
from bench.predict.job import PictureDone, PictureProgress, predict_files
from bench.predict.model import KeptModel
from bench.predict.pictures import open_pictures
from bench.predict.settings import PredictionSettings
from bench.predict.unfinished import Unfinished

TRAITS = ImageTraits(("uint8",), ("grey",), 40, 48, 48)
SETTINGS = PredictionSettings(maps=("probability",), tiff=True)


@pytest.fixture(autouse=True)
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bands of six rows, of which the progress is noted after each, without waiting for disks."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    for module in ("predict.segmentation", "predict.picture_job", "objects.stored"):
        monkeypatch.setattr(f"bench.{module}.BAND_PX", 600)
    monkeypatch.setattr("bench.predict.unfinished.SAVE_S", 0.0)


def files(out: Path) -> dict[str, str]:
    """Hashes of all visible outputs by their path."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".done" not in path.parts
    }


def stop_at(share: float) -> Callable[[PictureProgress | PictureDone], None]:
    def say(event: PictureProgress | PictureDone) -> None:
        if isinstance(event, PictureProgress) and event.share >= share:
            raise KeyboardInterrupt

    return say


def counted_rows(model: KeptModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list to which every predicted band adds its number of rows."""
    rows: list[int] = []
    original = model.bands

    def bands(*arguments: Any) -> Iterator[Any]:
        for band in original(*arguments):
            rows.append(len(band.classes))
            yield band

    monkeypatch.setattr(model, "bands", bands)
    return rows


@pytest.mark.parametrize(
    ("kind", "objects"),
    [
        ("windows", "components"),
        ("windows", "distances"),
        ("volume", "components"),
        ("volume", "watershed"),
        pytest.param("generator", "components", marks=pytest.mark.slow),
    ],
)
def test_a_picture_stopped_at_four_fifths_goes_on_there(
    kind: str, objects: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_kept_model(
        tmp_path / "m.safetensors",
        "zero_shot" if kind == "generator" else "frozen_head",
        classes=("matrix", "grain"),
        evaluation="generator" if kind == "generator" else "whole",
        traits=TRAITS,
        noise=0.3,
        objects=objects,
    )
    model = bench.load_model(path, device="cpu")
    shape = {"windows": (120, 97), "volume": (5, 40, 48), "generator": (5, 30, 32)}[kind]
    values = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    pictures = open_pictures([tmp_path / "a.tif"])
    predict_files(model, pictures, tmp_path / "at_once", SETTINGS)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_files(model, pictures, out, SETTINGS, stop_at(0.8))
    assert files(out).keys() <= {"overlays/a.png"}
    rows = counted_rows(model, monkeypatch)
    (outcome,) = predict_files(model, pictures, out, SETTINGS)
    assert outcome.error is None
    assert sum(rows) <= 0.2 * np.prod(shape[:-1])
    assert files(out) == files(tmp_path / "at_once")
    assert {one.name for one in (out / ".done").iterdir()} == {"a.json", "a.objects.csv"}


def test_rows_of_other_settings_or_cut_rows_are_not_used(tmp_path: Path) -> None:
    model = bench.load_model(make_kept_model(tmp_path / "m.safetensors", traits=TRAITS))
    values = np.random.default_rng(0).integers(0, 255, (120, 97)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values)
    pictures, out = open_pictures([tmp_path / "a.tif"]), tmp_path / "out"
    shares: list[float] = []

    def note(event: PictureProgress | PictureDone) -> None:
        if isinstance(event, PictureProgress):
            shares.append(event.share)

    for other in (replace(SETTINGS, min_area=2), SETTINGS):
        with pytest.raises(KeyboardInterrupt):
            predict_files(model, pictures, out, other, stop_at(0.5))
    labels = out / ".done" / "a.rows" / "labels.rows"
    labels.write_bytes(labels.read_bytes()[:-1])
    predict_files(model, pictures, out, SETTINGS, note)
    assert shares[0] < 0.1
    predict_files(model, pictures, tmp_path / "at_once", SETTINGS)
    assert files(out) == files(tmp_path / "at_once")


def test_two_processes_do_not_predict_the_same_picture(tmp_path: Path) -> None:
    types = {"labels": np.uint8}
    with (
        Unfinished(tmp_path / "a.rows", 4, types, {}),
        pytest.raises(bench.UserError, match="another process predicts into"),
    ):
        Unfinished(tmp_path / "a.rows", 4, types, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["rows", "outputs"])
def test_a_full_disk_stops_with_one_sentence_and_the_next_command_goes_on(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_kept_model(tmp_path / "m.safetensors", traits=TRAITS, noise=0.3)
    model = bench.load_model(path, device="cpu")
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(0)
    for name in "abc":
        values = random.integers(0, 255, (120, 97)).astype(np.uint8)
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", values)
    pictures, out = open_pictures([tmp_path / "in"]), tmp_path / "out"

    def full(*arguments: Any, **settings: Any) -> None:
        raise OSError(28, "No space left on device")

    def fill(event: PictureProgress | PictureDone) -> None:
        if event.name == "b" and isinstance(event, PictureProgress) and event.share > 0.5:
            target = "unfinished.Unfinished.add" if where == "rows" else "outputs.tifffile.imwrite"
            context.setattr(f"bench.predict.{target}", full)

    with (
        monkeypatch.context() as context,
        pytest.raises(WriteError, match="No space left on device") as raised,
    ):
        predict_files(model, pictures, out, SETTINGS, fill)
    assert "\n" not in str(raised.value)
    assert (out / "labels" / "a.tif").exists()
    assert not (out / "labels" / "b.tif").exists()
    rows = counted_rows(model, monkeypatch)
    outcomes = predict_files(model, pictures, out, SETTINGS)
    assert [one.seconds is None for one in outcomes] == [True, False, False]
    assert sum(rows) < 1.6 * 120
    predict_files(model, pictures, tmp_path / "at_once", SETTINGS)
    assert files(out) == files(tmp_path / "at_once")
