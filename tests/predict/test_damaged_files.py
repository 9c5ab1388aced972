"""One image that cannot be read or predicted does not stop the others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from kept_models import make_kept_model

import bench
from bench.cli import main
from bench.predict.job import predict_files
from bench.predict.model import KeptModel
from bench.predict.pictures import open_pictures
from bench.predict.settings import PredictionSettings

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 40, 48), np.uint8)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kept_model(tmp_path_factory.mktemp("models") / "m.safetensors")


def damaged_page(path: Path, pixels: Any = PIXELS) -> None:
    """A compressed TIFF file whose last page is not zlib data."""
    tifffile.imwrite(path, pixels, compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        last = file.pages[-1]
        start, count = last.dataoffsets[0], last.databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start : start + count] = b"?" * count
    path.write_bytes(content)


def cut_block(path: Path, pixels: Any = PIXELS) -> None:
    """An uncompressed TIFF file without its last rows."""
    tifffile.imwrite(
        path, pixels, photometric="minisblack", metadata={"axes": "ZYX"[-pixels.ndim :]}
    )
    path.write_bytes(path.read_bytes()[: -pixels.nbytes // 2])


@pytest.mark.parametrize("damage", [damaged_page, cut_block])
@pytest.mark.parametrize("large", [False, True], ids=["stack", "large"])
def test_a_damaged_file_is_named_and_the_others_are_predicted(
    damage: Callable[..., None],
    large: bool,
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # no line break inside the path
    if large:
        monkeypatch.setattr("bench.predict.pictures.LARGE_PX", 1000)
    damage(tmp_path / "bad.tif", PIXELS[0] if large else PIXELS)
    tifffile.imwrite(tmp_path / "good.tif", PIXELS[1])
    images, out = [str(tmp_path / f"{name}.tif") for name in ("bad", "good")], tmp_path / "out"
    assert main(["predict", "--model", str(kept), *images, "--out", str(out)]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "failed bad: cannot read" in text
    assert "bad.tif" in text
    assert "cannot write" not in text
    assert [path.name for path in (out / "labels").iterdir()] == ["good.png"]
    assert "bad" not in (out / "table.csv").read_text()
    assert main(["predict", "--model", str(kept), images[0], "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith("error: cannot read")


def test_damaged_files_of_a_folder_are_named_and_the_others_are_predicted(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nibabel = pytest.importorskip("nibabel")
    monkeypatch.setenv("COLUMNS", "1000")  # no line break inside the path
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    tifffile.imwrite(folder / "good.tif", PIXELS[0])
    volume = nibabel.Nifti1Image(PIXELS.transpose(2, 1, 0), np.eye(4))
    for name, ending, part in (
        ("voxels", ".nii", 0.5),
        ("stream", ".nii.gz", 0.5),
        ("header", ".nii", 0.01),
        ("packed", ".nii.gz", 0.01),
    ):
        path = folder / f"{name}{ending}"
        nibabel.save(volume, path)
        content = path.read_bytes()
        path.write_bytes(content[: int(part * len(content))])
    nibabel.save(volume, folder / "checksum.nii.gz")
    packed = bytearray((folder / "checksum.nii.gz").read_bytes())
    packed[-8] ^= 1  # of the sum of the values, which can all be decoded
    (folder / "checksum.nii.gz").write_bytes(packed)
    (folder / "tail.nii.gz").write_bytes(packed[:-4])
    unknown = bytearray(volume.to_bytes())
    unknown[70:72] = b"??"  # data type
    (folder / "type.nii").write_bytes(unknown)
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((4, 4, 2, 2), np.uint8), np.eye(4)), folder / "4d.nii"
    )
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4), np.uint8), np.eye(4)), folder / "2d.nii")
    (folder / "photo.png").write_bytes(b"not a PNG file")
    assert main(["predict", "--model", str(kept), str(folder), "--out", str(out)]) == 1
    lines = capsys.readouterr().out.splitlines()
    failed = [line for line in lines if line.startswith("failed")]
    expected = {"voxels", "stream", "header", "packed", "type", "4d", "2d", "photo"}
    expected |= {"checksum", "tail"}
    assert {line.split()[1].rstrip(":") for line in failed} == expected
    assert all(str(folder) in line for line in failed)
    assert [path.name for path in (out / "labels").iterdir()] == ["good.png"]


@pytest.mark.parametrize("evaluation", ["whole", "tiles"])
def test_a_model_of_nan_ends_in_one_sentence(
    evaluation: str,
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = bench.load_model(kept, device="cpu")
    with torch.no_grad():
        for parameter in model.model.module.parameters():
            parameter.fill_(torch.nan)
    monkeypatch.setattr("bench.predict.model.load_model", lambda path, **options: model)
    tifffile.imwrite(tmp_path / "a.tif", PIXELS[0])
    arguments = ["predict", "--model", str(kept), str(tmp_path / "a.tif"), "--out", str(tmp_path)]
    assert main([*arguments, "--evaluation", evaluation]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot predict {tmp_path / 'a.tif'}: ")
    assert "are not finite (NaN or infinity)" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "table.csv").exists()


def test_a_file_that_disappears_does_not_stop_the_others(kept: Path, tmp_path: Path) -> None:
    model: KeptModel = bench.load_model(kept, device="cpu")
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", PIXELS[0])
    pictures = open_pictures([tmp_path / "a.tif", tmp_path / "b.tif"])
    (tmp_path / "a.tif").unlink()
    first, second = predict_files(model, pictures, tmp_path / "out", PredictionSettings())
    assert first.error is not None
    assert str(tmp_path / "a.tif") in first.error
    assert second.error is None


def test_names_are_the_shortest_that_no_other_file_has(tmp_path: Path) -> None:
    files = ("a.png", "a.tif", "b.tif", "one/c.png", "two/c.png")
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [picture.name for picture in open_pictures(tmp_path / name for name in files)]
    assert names == ["a.png", "a.tif", "b", "one_c.png", "two_c.png"]


def test_the_first_twenty_failures_are_named_and_the_others_counted(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # no line break inside the path
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for number in range(23):
        (folder / f"{number:02d}.png").write_bytes(b"not a PNG file")
    assert main(["predict", "--model", str(kept), str(folder), "--out", str(out)]) == 2
    output = capsys.readouterr()
    lines = [line for line in output.out.splitlines() if line.startswith("failed")]
    assert [line.split()[1] for line in lines[:20]] == [f"{number:02d}:" for number in range(20)]
    assert lines[20:] == ["failed 3 further images"]
    assert output.err.splitlines() == [
        "error: none of 23 images could be predicted: see the reasons above"
    ]
    tifffile.imwrite(folder / "good.tif", PIXELS[0])
    assert main(["predict", "--model", str(kept), str(folder), "--out", str(out)]) == 1
    assert "failed 3 further images" in capsys.readouterr().out
