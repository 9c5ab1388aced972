"""Wrong uses of `data import`: each ends with one sentence that names the file and the remedy."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest

from bench.cli import main

# pycocotools with NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

Make = Callable[[Path], list[str] | None]


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def coco(change: Callable[[dict[str, Any]], Any]) -> Make:
    """A COCO folder of which the JSON file of the test part is changed."""

    def make(root: Path) -> None:
        foreign.coco(root)
        edit(root / "annotations" / "instances_test2017.json", change)

    return make


def labelme(change: Callable[[dict[str, Any]], Any]) -> Make:
    def make(root: Path) -> None:
        foreign.labelme(root)
        edit(root / "image_0.json", change)

    return make


def changed(maker: Callable[[Path], Any], file: str, text: str) -> Make:
    """A folder in which one file has other text."""

    def make(root: Path) -> None:
        maker(root)
        foreign.write(root / file, text)

    return make


def without(maker: Callable[[Path], Any], file: str) -> Make:
    def make(root: Path) -> None:
        maker(root)
        (root / file).unlink()

    return make


def plus(maker: Callable[[Path], Any], more: Callable[[Path], Any]) -> Make:
    def make(root: Path) -> None:
        maker(root)
        more(root)

    return make


def words(maker: Callable[[Path], Any], *options: str) -> Make:
    def make(root: Path) -> list[str]:
        maker(root)
        return list(options)

    return make


def small(path: Path) -> None:
    foreign.save(path, np.zeros((5, 5), np.uint8))


def folders(root: Path) -> None:
    """Two folders of images with masks, which can be patients or kinds of images."""
    for name in ("one", "two"):
        foreign.save(root / name / f"{name}.png", foreign.image(0))
        foreign.save(root / name / f"{name}_mask.png", foreign.mask(0))


def two_masks(root: Path) -> None:
    foreign.suffix("{}_mask.png")(root)
    foreign.suffix("{}_manual1.png")(root)


def numbered_cells(root: Path) -> None:
    for name in foreign.NAMES:
        foreign.save(root / f"{name}.png", foreign.image(0))
        cells = np.arange(foreign.HEIGHT * foreign.WIDTH, dtype=np.uint16) // 16
        foreign.save(root / f"{name}_mask.png", cells.reshape(foreign.HEIGHT, foreign.WIDTH))


CASES: dict[str, tuple[Make, str]] = {
    "empty folder": (lambda root: None, "it holds no files; see docs/import.md"),
    "only images": (
        lambda root: foreign.save(root / "a.png", foreign.image(0)),
        "no layout that is known here .* it holds 1 .png",
    ),
    "coco: image missing": (
        lambda root: without(foreign.coco, "test2017/image_6.png")(root),
        "'image_6.png' is listed in 'annotations/instances_test2017.json' but is not there; add",
    ),
    "coco: unknown category": (
        coco(lambda d: d["annotations"][0].update(category_id=99)),
        "has an object of category 99, which is not listed",
    ),
    "coco: no annotations": (
        coco(lambda d: d.update(images=d["images"][:1] * 2)),
        "has two images with the id 6",
    ),
    "coco: object of an unknown image": (
        coco(lambda d: d["annotations"][0].update(image_id=99)),
        "has objects of 1 images that it does not list, such as id 99",
    ),
    "coco: only a box": (
        coco(lambda d: d["annotations"][0].pop("segmentation")),
        "has an object with a box only; export polygons",
    ),
    "coco: polygon of two points": (
        coco(lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 4]])),
        "has a polygon with fewer than three points",
    ),
    "coco: polygon outside": (
        coco(lambda d: d["annotations"][0].update(segmentation=[[60, 1, 70, 1, 70, 9]])),
        "'test2017/image_6.png' has an object outside the image; export",
    ),
    "coco: run lengths of another size": (
        coco(lambda d: d["annotations"][0].update(segmentation={"size": [9, 9], "counts": [81]})),
        r"has a run-length mask of the size \[9, 9\]",
    ),
    "coco: damaged run lengths": (
        coco(
            lambda d: d["annotations"][0].update(
                segmentation={"size": [foreign.HEIGHT, foreign.WIDTH], "counts": "~~!"}
            )
        ),
        "has a damaged run-length mask; export",
    ),
    "coco: numbers as text": (
        coco(lambda d: d["annotations"][0].update(segmentation=[["a"] * 6])),
        "has an outline that is not pairs of numbers",
    ),
    "coco: another size": (
        coco(lambda d: d["images"][0].update(width=7)),
        "is 48 x 40 pixels .* but the JSON file says 7 x 40",
    ),
    "coco: entry without an id": (
        coco(lambda d: d["images"][0].pop("id")),
        "has an entry in images without id or file_name",
    ),
    "coco: two categories of one name": (
        lambda root: _same_names(root),
        "two classes called 'grain'; give each its own name",
    ),
    "coco: damaged image": (
        plus(foreign.coco, lambda root: (root / "test2017/image_6.png").write_bytes(b"PNG?")),
        "'test2017/image_6.png' cannot be read .*; replace the file",
    ),
    "labelme: not JSON": (
        changed(foreign.labelme, "image_1.json", "{"),
        "'image_1.json' is not valid JSON",
    ),
    "labelme: image missing": (
        without(foreign.labelme, "image_1.png"),
        "'image_1.json' means the image 'image_1.png', which is not there; add the image",
    ),
    "labelme: point as polygon": (
        labelme(lambda d: d["shapes"][0].update(points=[[1, 1]])),
        "has a polygon with fewer than three points; correct it in labelme",
    ),
    "labelme: shape of something else": (
        labelme(lambda d: d["shapes"].append(3)),
        "'image_0.json' has a shape that is not an object",
    ),
    "labelme: label not listed": (
        changed(foreign.labelme, "labels.txt", "a grain\n"),
        "label 'b pore' is not in 'labels.txt'; add it",
    ),
    "labelme: another size": (
        labelme(lambda d: d.update(imageHeight=7)),
        "says 48 x 7 pixels .* but the image is 48 x 40",
    ),
    "voc: no image": (
        without(foreign.voc, "JPEGImages/image_3.jpg"),
        "'SegmentationClass/image_3.png' has no image in JPEGImages; add the image",
    ),
    "voc: two parts": (
        changed(foreign.voc, "ImageSets/Segmentation/val.txt", "image_0\n"),
        "'image_0' is in the lists .*; keep it in one",
    ),
    "yolo: boxes": (
        changed(foreign.yolo, "labels/test/image_7.txt", "0 0.5 0.5 0.1 0.1\n"),
        "'labels/test/image_7.txt' holds a box in line 1; export polygons",
    ),
    "yolo: class without a name": (
        changed(foreign.yolo, "labels/test/image_7.txt", "9 .1 .1 .1 .2 .2 .2\n"),
        "hold class 9, which data.yaml does not name",
    ),
    "yolo: pixels": (
        changed(foreign.yolo, "labels/test/image_7.txt", "0 10 10 10 20 20 20\n"),
        "holds coordinates in pixels",
    ),
    "yolo: outside": (
        changed(foreign.yolo, "labels/test/image_7.txt", "0 1.1 .1 1.2 .1 1.2 .2\n"),
        "'labels/test/image_7.txt' has an object outside the image",
    ),
    "yolo: damaged YAML": (
        changed(foreign.yolo, "data.yaml", "names: [a"),
        "'data.yaml' is not valid YAML",
    ),
    "runs outside": (
        changed(foreign.rle_csv, "train.csv", "ImageId,EncodedPixels\nimage_0.jpg,1900 50\n"),
        "'train_images/image_0.jpg' has runs outside its 48 x 40 pixels",
    ),
    "runs without a length": (
        changed(foreign.rle_csv, "train.csv", "ImageId,EncodedPixels\nimage_0.jpg,1 2 3\n"),
        "has a run without a length",
    ),
    "runs of an image that is not there": (
        changed(foreign.rle_csv, "train.csv", "ImageId,EncodedPixels\nz.jpg,1 2\n"),
        "'z.jpg' is in the table but is not there; add the image",
    ),
    "nnU-Net: no labels": (
        changed(foreign.nnunet, "dataset.json", "{}"),
        "'dataset.json' has no labels; add their names",
    ),
    "nnU-Net: order of other regions": (
        changed(
            foreign.nnunet,
            "dataset.json",
            '{"labels": {"background": 0, "all": [1, 2]}, "regions_class_order": [1, 2]}',
        ),
        r"has 1 regions but regions_class_order is \[1, 2\]; give one number for each region",
    ),
    "nnU-Net: region of no numbers": (
        changed(foreign.nnunet, "dataset.json", '{"labels": {"background": 0, "all": [1, "b"]}}'),
        "gives 'all' the value .*; give a whole number or a list of them",
    ),
    "nnU-Net: damaged volume": (
        plus(
            foreign.nnunet,
            lambda root: (root / "labelsTr/case_000.nii.gz").write_bytes(b"no volume"),
        ),
        "case_000.nii.gz' is not a NIfTI volume",
    ),
    "object of another size": (
        plus(foreign.object_masks, lambda root: small(root / "image_0/masks/object1.png")),
        "'image_0/masks/object1.png' is 5 x 5 pixels but the image is 48 x 40",
    ),
    "class mask with many values": (
        plus(
            foreign.class_folders,
            lambda root: foreign.save(root / "masks/pore/image_0.png", foreign.image(0)),
        ),
        "'masks/pore/image_0.png' holds more than two values",
    ),
    "mask of another size": (
        plus(foreign.suffix("{}_mask.png"), lambda root: small(root / "image_0_mask.png")),
        r"'image_0.png' is 48 x 40 pixels .* but its mask is 5 x 5; make them the same size",
    ),
    "mask without an image": (
        plus(foreign.suffix("{}_mask.png"), lambda root: small(root / "z_mask.png")),
        "'z_mask.png' is named like a mask but has no image; add the image",
    ),
    "two masks of an image": (two_masks, 'has two masks, .*; say which files .* --masks "'),
    "few folders": (folders, "images are in 2 folders .*: add --groups folders if each is one"),
    "numbers of cells": (numbered_cells, "more than 64 different values.*add --instances"),
    "two layouts": (
        plus(foreign.coco, lambda root: foreign.suffix("{}_mask.png")(root / "more")),
        "has 2 layouts .*coco: .*pairs: .*; choose one with --layout NAME",
    ),
    "cvat: not XML": (
        changed(foreign.cvat, "annotations.xml", "<annotations><image>"),
        "'annotations.xml' is not valid XML",
    ),
    "cvat: video": (
        changed(foreign.cvat, "annotations.xml", "<annotations><track id='0'/></annotations>"),
        "is of a video with an unknown number of frames, but there are 8 images; export the task",
    ),
    "geojson: no image": (
        without(foreign.geojson, "image_0.tif"),
        "'image_0.geojson' has no image of its name",
    ),
    "geojson: outside": (
        plus(foreign.geojson, lambda root: edit(root / "image_0.geojson", _moved)),
        "'image_0.geojson' has an object outside the image; export image",
    ),
    "geojson: no polygon": (
        plus(foreign.geojson, lambda root: edit(root / "image_0.geojson", _broken)),
        "'image_0.geojson' has a geometry that is not GeoJSON",
    ),
    "arrays: other shapes": (
        plus(foreign.npz, lambda root: np.savez(root / "image_0.npz", image=1, label=np.ones(3))),
        "'image_0.npz' or its masks cannot be used: ",
    ),
    "link that leads out": (
        plus(foreign.coco, lambda root: (root / "more.png").symlink_to("/etc/hosts")),
        "more.png' is a link to a folder or to a file outside; put the files themselves",
    ),
    "unknown layout": (words(foreign.coco, "--layout", "cocoo"), "Did you mean 'coco'"),
    "channel that is not there": (
        words(foreign.ome_tiff, "--channels", "5"),
        "--channels names channel 5, but 'images/case0.ome.tif' has 2",
    ),
    "levels": (words(foreign.ome_tiff, "--levels", "9"), "--levels is '9': give two numbers"),
    "groups that do not fit": (
        words(foreign.coco, "--groups", "patient([0-9]+)"),
        "does not fit the path 'test2017/image_6.png'",
    ),
    "groups that are no expression": (
        words(foreign.coco, "--groups", "("),
        "which is not a regular expression",
    ),
}


def _same_names(root: Path) -> None:
    foreign.coco(root)
    for file in (root / "annotations").iterdir():
        edit(file, lambda d: d["categories"][1].update(name="grain"))


def _moved(content: Any) -> None:
    ring = [[x + 500, y] for x, y in foreign.corners((0, 0, 9, 9))]
    content["features"][0]["geometry"]["coordinates"] = [[*ring, ring[0]]]


def _broken(content: Any) -> None:
    content["features"][0]["geometry"] = {"type": "Polygon", "coordinates": 5}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = CASES[case]
    (tmp_path / "raw").mkdir()
    options = make(tmp_path / "raw") or []
    target = tmp_path / "target"
    assert main(["data", "import", str(tmp_path / "raw"), str(target), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert re.search(message, err)
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_archives_and_missing_folders_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "raw"), "zip", tmp_path)
    assert main(["data", "import", archive, str(tmp_path / "target")]) == 2
    assert "is an archive: unpack it first" in capsys.readouterr().err
    assert main(["data", "import", str(tmp_path / "nothing"), str(tmp_path / "target")]) == 2
    assert "there is no folder" in capsys.readouterr().err
