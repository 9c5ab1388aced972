"""Every wrong use of `predict` ends in one sentence that says what was given and what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from kept_models import make_kept_model
from PIL import Image

import bench
from bench.cli import main
from bench.predict.prompts import ImagePrompts, prompts_of

Change = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept models: `grey` without prompts, `boxes`, `points`, and `stacks` of 3 slices."""
    folder = tmp_path_factory.mktemp("models")
    make_kept_model(folder / "grey.safetensors")
    make_kept_model(folder / "boxes.safetensors", "medsam")
    make_kept_model(folder / "points.safetensors", "sam_lora", prompt="point")
    make_kept_model(folder / "stacks.safetensors", "med_sa", depth=3, dims=3)
    return folder


def grey() -> Any:
    return np.random.default_rng(0).integers(0, 255, (40, 48), np.uint8)


def image(path: Path, values: Any) -> list[str]:
    """Write an image; returns the arguments that predict it."""
    if path.suffix == ".tif":
        tifffile.imwrite(path, values)
    else:
        Image.fromarray(values).save(path)
    return [str(path)]


def cut(path: Path) -> list[str]:
    arguments = image(path, grey())
    path.write_bytes(path.read_bytes()[:200])
    return arguments


def prompted(folder: Path, text: str, name: str = "prompts.csv") -> list[str]:
    (folder / name).write_text(text)
    return [*image(folder / "a.png", grey()), "--prompts", str(folder / name)]


def coco(folder: Path, **changes: Any) -> list[str]:
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 7, "name": "grain"}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 9, 9]}],
    }
    return prompted(folder, json.dumps(document | changes), "prompts.json")


def missing_folder(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return [str(folder / "empty")]


def text_file(folder: Path) -> list[str]:
    (folder / "notes.txt").write_text("no image")
    return [str(folder / "notes.txt")]


def unwritable(folder: Path) -> list[str]:
    (folder / "out").write_text("a file")
    return image(folder / "a.png", grey())


def huge_png(folder: Path) -> list[str]:
    """A PNG whose header says 20,000 x 20,000 pixels."""
    image(folder / "a.png", grey())
    content = bytearray((folder / "a.png").read_bytes())
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    (folder / "a.png").write_bytes(bytes(content))
    return [str(folder / "a.png")]


def good(folder: Path) -> list[str]:
    return image(folder / "a.png", grey())


BOX = "image,class,x0,y0,x1,y1\n"
# Model, arguments after the files are made, and words of the sentence.
WRONG: dict[str, tuple[str, Change, str]] = {
    "missing image": ("grey", lambda f: [str(f / "none.png")], "there is no file .*none.png"),
    "empty folder": ("grey", missing_folder, "holds no images"),
    "text file": ("grey", text_file, r"notes.txt is not an image file: give \.bmp"),
    "cut PNG": ("grey", lambda f: cut(f / "a.png"), r"cannot read '.*a.png' as an image"),
    "cut TIFF": ("grey", lambda f: cut(f / "a.tif"), "cannot read"),
    "huge PNG": ("grey", huge_png, "more than 150 million pixels: save it as TIFF"),
    "16 bit": (
        "grey",
        lambda f: image(f / "a.tif", grey().astype(np.uint16) * 16),
        "values of type uint16, but this model was trained on uint8: give --levels",
    ),
    "float": ("grey", lambda f: image(f / "a.tif", grey().astype(np.float32)), "type float32"),
    "bits": ("grey", lambda f: image(f / "a.png", grey() > 99), "type bool"),
    "colour": (
        "grey",
        lambda f: image(f / "a.png", np.stack([grey(), grey() // 2, grey()], -1)),
        "is a colour image, but this model was trained on grey images",
    ),
    "not a number": (
        "grey",
        lambda f: image(f / "a.tif", np.where(grey() > 9, np.nan, 1).astype(np.float32)),
        "holds NaN or infinite values",
    ),
    "channels": (
        "grey",
        lambda f: [str(_ome(f / "a.ome.tif", np.zeros((5, 40, 48), np.uint8), "CYX"))],
        "is a 5-channel image, but this model was trained on grey images: convert it",
    ),
    "times and slices": (
        "grey",
        lambda f: [str(_ome(f / "a.ome.tif", np.zeros((2, 3, 40, 48), np.uint8), "TZYX"))],
        "has the axes TZYX",
    ),
    "one slice of a stack": ("stacks", good, "give --prompts|takes stacks of 3"),
    "levels": (
        "grey",
        lambda f: [*good(f), "--levels", "9,1"],
        "--levels is '9,1': the first",
    ),
    "levels as text": ("grey", lambda f: [*good(f), "--levels", "9"], "give two numbers"),
    "evaluation": (
        "grey",
        lambda f: [*good(f), "--evaluation", "parts"],
        "evaluation cannot be 'parts': give one of auto, whole, tiles",
    ),
    "tiles with boxes": (
        "boxes",
        lambda f: [*prompted(f, BOX + "a.png,1,1,1,9,9"), "--evaluation", "tiles"],
        "predict whole images: give --evaluation whole",
    ),
    "maps": ("grey", lambda f: [*good(f), "--maps", "depth"], "--maps cannot be 'depth'"),
    "pixel size": ("grey", lambda f: [*good(f), "--pixel-size", "0"], "--pixel-size is 0"),
    "smallest area": ("grey", lambda f: [*good(f), "--min-area", "0"], "--min-area is 0"),
    "threads": ("grey", lambda f: [*good(f), "--threads", "0"], "--threads is 0"),
    "device": ("grey", lambda f: [*good(f), "--device", "tpu"], "device 'tpu' is not available"),
    "folder of outputs": ("grey", unwritable, "cannot write|Not a directory|exists"),
    "weights for random ones": (
        "grey",
        lambda f: [*good(f), "--checkpoint", str(f / "x.pth")],
        "does not start from a weights file: leave --checkpoint out",
    ),
    "prompts for none": (
        "grey",
        lambda f: prompted(f, BOX + "a.png,1,1,1,9,9"),
        "takes no prompts: leave --prompts out",
    ),
    "no prompts": ("boxes", good, "was trained with a box for each class: give --prompts FILE"),
    "missing prompts": (
        "boxes",
        lambda f: [*good(f), "--prompts", str(f / "none.csv")],
        "cannot read the prompts .*none.csv",
    ),
    "no rows": ("boxes", lambda f: prompted(f, BOX), "holds no prompts"),
    "no column": ("boxes", lambda f: prompted(f, "file,x0\na.png,1"), "has no column 'image'"),
    "other image": (
        "boxes",
        lambda f: prompted(f, BOX + "b.png,1,1,1,9,9"),
        "has no prompts for 'a.png': add its rows",
    ),
    "another slice": (
        "boxes",
        lambda f: [
            *prompted(f, BOX + "vol.tif#0,1,1,1,9,9"),
            *image(f / "vol.tif", np.stack([grey(), grey()])),
        ][1:],
        "has no prompts for 'vol.tif#1': add its rows",
    ),
    "points for boxes": (
        "boxes",
        lambda f: prompted(f, "image,class,x,y\na.png,1,3,3"),
        "takes a box for each object: give numbers in the columns x0, y0, x1, y1",
    ),
    "boxes for points": (
        "points",
        lambda f: prompted(f, BOX + "a.png,1,1,1,9,9"),
        "takes a point for each object: give numbers in the columns x, y",
    ),
    "points of several numbers": (
        "points",
        lambda f: prompted(
            f, "image,class,object,x,y\na.png,1,1,3,3\na.png,1,1,4,4\na.png,1,2,9,9"
        ),
        "give each object the same number of prompts",
    ),
    "text in a box": (
        "boxes",
        lambda f: prompted(f, BOX + "a.png,1,left,1,9,9"),
        "give numbers in the columns x0",
    ),
    "empty box": ("boxes", lambda f: prompted(f, BOX + "a.png,1,9,1,3,9"), "a box is empty"),
    "endless box": ("boxes", lambda f: prompted(f, BOX + "a.png,1,nan,1,3,9"), "is NaN"),
    "background": ("boxes", lambda f: prompted(f, BOX + "a.png,0,1,1,9,9"), "names the class '0'"),
    "unknown class": (
        "boxes",
        lambda f: prompted(f, BOX + "a.png,rust,1,1,9,9"),
        "names the class 'rust': give one of grain, pore, or 1 to 2",
    ),
    "no class": ("boxes", lambda f: prompted(f, BOX + "a.png,,1,1,9,9"), "names the class ''"),
    "COCO without boxes": (
        "boxes",
        lambda f: coco(f, annotations=[{"image_id": 1}]),
        "as COCO JSON .*give images, annotations with a bbox",
    ),
    "COCO of another class": (
        "boxes",
        lambda f: coco(f, categories=[{"id": 7, "name": "rust"}]),
        "names the class 'rust'",
    ),
    "COCO that is not JSON": (
        "boxes",
        lambda f: prompted(f, "[1,", "prompts.json"),
        "as COCO JSON",
    ),
}


def _ome(path: Path, values: Any, axes: str) -> Path:
    tifffile.imwrite(path, values, metadata={"axes": axes}, photometric="minisblack")
    return path


@pytest.mark.parametrize("name", WRONG)
def test_it_is_refused_in_one_sentence(
    name: str,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, make, words = WRONG[name]
    arguments = ["predict", "--model", str(models / f"{model}.safetensors"), *make(tmp_path)]
    code = main([*arguments, "--out", str(tmp_path / "out")])
    output = capsys.readouterr()
    assert code == 2
    assert caplog.records == []  # which would be further lines
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert pytest.importorskip("re").search(words, output.err), output.err
    assert not (tmp_path / "out" / "table.csv").exists()


def test_slices_for_a_model_that_takes_prompts_are_refused(models: Path) -> None:
    model = bench.load_model(models / "boxes.safetensors", device="cpu")
    with pytest.raises(bench.UserError, match="takes prompts, and predict_stack does not"):
        model.predict_stack([grey()])


def test_prompts_of_a_slice_need_no_ending_but_its_number() -> None:
    some = ImagePrompts(np.zeros((0, 4)), np.zeros((0, 0, 2)), np.zeros(0, np.int64))
    for known in ("a.tif#3", "a#3"):
        assert prompts_of("a.tif#3", {known: some}, Path("p.csv")) is some
    for other in ("a.tif#2", "a#2", "a.tif", "a"):
        with pytest.raises(bench.UserError, match=r"has no prompts for 'a\.tif#3'"):
            prompts_of("a.tif#3", {other: some}, Path("p.csv"))
    assert prompts_of("a#1.png", {"a#1": some}, Path("p.csv")) is some
