"""The side of a pixel from files that other libraries wrote."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from kept_models import make_kept_model
from PIL import Image

from bench.errors import UserError
from bench.predict.job import predict_files
from bench.predict.model import load_model
from bench.predict.pictures import open_pictures
from bench.predict.pixel_size import pixel_size_in_file
from bench.predict.settings import PredictionSettings

PIXELS = np.zeros((4, 6), np.uint8)


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}}, 0.25),
        (
            {
                "ome": True,
                "metadata": {
                    **{"PhysicalSizeX": 12.5, "PhysicalSizeXUnit": "nm"},
                    **{"PhysicalSizeY": 12.5, "PhysicalSizeYUnit": "nm"},
                },
            },
            0.0125,
        ),
        ({"imagej": True, "resolution": (4.0, 4.0), "metadata": {"unit": "um"}}, 0.25),
        ({"imagej": True, "resolution": (0.5, 0.5), "metadata": {"unit": "nm"}}, 0.002),
    ],
)
def test_tiff_files_state_their_pixels(
    options: dict[str, Any], side: float, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, **options)
    assert pixel_size_in_file(tmp_path / "a.tif") == pytest.approx(side)


def test_metadata_of_electron_microscopes_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS)
    zeiss = {"ap_image_pixel_size": ("Image Pixel Size", 2.233, "nm")}
    monkeypatch.setattr(tifffile.TiffFile, "sem_metadata", zeiss)
    assert pixel_size_in_file(tmp_path / "a.tif") == pytest.approx(2.233e-3)
    monkeypatch.setattr(tifffile.TiffFile, "sem_metadata", None)
    fei = {"Scan": {"PixelWidth": 5e-9, "PixelHeight": 5e-9}}
    monkeypatch.setattr(tifffile.TiffFile, "fei_metadata", fei)
    assert pixel_size_in_file(tmp_path / "a.tif") == pytest.approx(5e-3)


def test_volumes_state_millimetres(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = nibabel.Nifti1Image(np.zeros((4, 5, 3), np.uint8), np.diag([0.5, 0.5, 2.0, 1.0]))
    nibabel.save(volume, tmp_path / "a.nii.gz")
    assert pixel_size_in_file(tmp_path / "a.nii.gz") == pytest.approx(500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": (72.0, 72.0), "resolutionunit": "INCH"}, "states no pixel size"),
        ({"imagej": True}, "states no pixel size"),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "furlong"}}, "unit 'furlong'"),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2}}, "not square"),
    ],
)
def test_other_tiff_files_are_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, **options)
    with pytest.raises(UserError, match=f"{message}.*: give --pixel-size X"):
        pixel_size_in_file(tmp_path / "a.tif")


def test_the_printing_resolution_of_a_png_is_not_used(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png", dpi=(300, 300))
    with pytest.raises(UserError, match="states no pixel size"):
        pixel_size_in_file(tmp_path / "a.png")


def test_sizes_come_in_micrometres_where_files_state_them(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(folder / "stated.tif", noise, ome=True, metadata=size)
    tifffile.imwrite(folder / "silent.tif", noise)
    model = load_model(make_kept_model(tmp_path / "m.safetensors", "frozen_head", noise=0.3))
    tables = {}
    for rule in ("file", 1.0):
        out = tmp_path / str(rule)
        settings = PredictionSettings(pixel_size=rule)
        outcomes = predict_files(model, open_pictures([folder]), out, settings)
        failed = [one.error for one in outcomes if one.error is not None]
        assert len(failed) == (rule == "file"), "the file that states nothing is refused by name"
        assert all("silent.tif states no pixel size" in str(error) for error in failed)
        rows = pd.read_csv(out / "objects.csv")
        tables[rule] = rows[rows["image"] == "stated"]
        assert set(pd.read_csv(out / "table.csv")["pixel_size"]) == {0.5 if failed else 1.0}
    assert len(tables["file"])
    np.testing.assert_allclose(tables["file"]["diameter"], tables[1.0]["diameter"] / 2, rtol=1e-4)
    np.testing.assert_allclose(tables["file"]["area"], tables[1.0]["area"] / 4, rtol=1e-4)
