"""Rules of `data import`: pixels, overlaps, parts, specimens, what is left out or replaced."""

import csv
import json
import unicodedata
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest
import shapely
import tifffile
from folders import make_folder
from PIL import Image

from bench.cli import main
from bench.data.decode import decode_mask
from bench.data.folder.read import read_folder
from bench.data.items import IGNORE
from bench.data.layouts import write as write_module
from bench.data.layouts.draft import Options, Report
from bench.data.layouts.importing import import_folder
from bench.data.layouts.shapes import Canvas, region
from bench.data.layouts.source import part_of
from bench.data.masks import read_mask
from bench.data.parallel import listening
from bench.errors import UserError
from bench.plugins.registry import load_collection

# pycocotools with NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def groups(target: Path) -> dict[str, str]:
    with (target / "groups.csv").open(newline="") as file:
        return {row["id"]: row["group"] for row in csv.DictReader(file)}


def stored(target: Path, name: str, folder: str = "masks") -> Any:
    return np.asarray(Image.open(target / folder / f"{name}.png"))


def test_pixels_of_a_polygon_are_those_whose_centre_it_holds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(5, 28, 9)
        ring = np.stack([32 + radii * np.cos(angles), 30 + radii * np.sin(angles)], 1)
        hole = shapely.Point(32, 30).buffer(3)
        outline = shapely.Polygon(ring).buffer(0)
        inside = np.zeros((60, 64), bool)
        shape = Canvas(60, 64, Report()).polygon(1, [ring.tolist(), list(hole.exterior.coords)])
        high, wide = shape.inside.shape
        inside[shape.top : shape.top + high, shape.left : shape.left + wide] = shape.inside
        x, y = np.meshgrid(np.arange(64) + 0.5, np.arange(60) + 0.5)
        expected = shapely.contains_xy(outline, x, y) ^ shapely.contains_xy(hole, x, y)
        np.testing.assert_array_equal(inside, expected)
        area = outline.area + hole.area - 2 * outline.intersection(hole).area
        assert abs(inside.sum() - area) < 0.35 * (outline.length + hole.length)


def test_coco_masks_equal_those_of_pycocotools(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    image = np.zeros((50, 60), np.uint8)
    foreign.save(tmp_path / "raw" / "images" / "a.png", image)
    foreign.save(tmp_path / "raw" / "images" / "b.png", image)
    ring = [3.2, 4.1, 30.7, 8.9, 25.3, 40.6, 70, 20, 9.4, 33.3]
    annotations: list[dict[str, Any]] = [
        {"id": 1, "image_id": 1, "category_id": 5, "segmentation": [ring], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 5, "iscrowd": 1},
    ]
    crowd = np.zeros((50, 60), np.uint8)
    crowd[30:45, 2:20] = 1
    annotations[1]["segmentation"] = {"size": [50, 60], "counts": foreign.runs(crowd)}
    size = {"height": 50, "width": 60}
    content = {"annotations": annotations, "categories": [{"id": 5, "name": "cell"}]}
    listed = [{"id": k, "file_name": f"{name}.png", **size} for k, name in ((1, "a"), (2, "b"))]
    foreign.write(tmp_path / "raw" / "labels.json", {**content, "images": listed})
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    assert done.sentences[:3] == (
        "1 image without objects",
        "1 object",
        "1 object cut at the border of the image",
    )
    library = coco.COCO(str(tmp_path / "raw" / "labels.json"))
    expected = np.where(crowd, 255, 0)
    expected[library.annToMask(library.anns[1]) > 0] = 1
    np.testing.assert_array_equal(stored(tmp_path / "target", "a"), expected)
    assert not stored(tmp_path / "target", "b").any()
    assert read(tmp_path / "target" / "classes.json")["ignore"] == 255


def test_the_smallest_object_is_on_top() -> None:
    report = Report()
    large, small, hidden = np.zeros((3, 8, 8), bool)
    large[1:7, 1:7] = small[2:5, 2:5] = True
    hidden[3, 3] = True
    shapes = [region(2, small), region(1, large), region(3, hidden), region(4, hidden)]
    mask, numbers = Canvas(8, 8, report).paint(shapes)
    assert (mask[1, 1], mask[2, 2], mask[3, 3], mask[0, 0]) == (1, 2, 4, 0)
    assert (numbers[1, 1], numbers[2, 2], numbers[3, 3]) == (2, 1, 4)
    assert report.counts == {"object": 4, "overlapping pixel": 11, "hidden object": 1}
    above, _ = Canvas(8, 8, report).paint([region(1, large, 1), region(2, small, 0)])
    assert not (above == 2).any()


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("train2017", "train"),
        ("annotations/instances_val2017.json", "val"),
        ("Dataset/Test Set/images", "test"),
        ("ISIC2018_Task1_Training_GroundTruth", "train"),
        ("train_val", ""),
        ("latest/contests", ""),
        ("test/train", "train"),
    ],
)
def test_part_of(path: str, part: str) -> None:
    assert part_of(path) == part


def test_val_is_the_test_part_where_there_is_none(tmp_path: Path) -> None:
    foreign.yolo(tmp_path / "raw")
    for kind in ("images", "labels"):
        for file in (tmp_path / "raw" / kind / "test").iterdir():
            file.unlink()
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    split = read(tmp_path / "target" / "split.json")
    assert {part: len(names) for part, names in split.items()} == {"train": 4, "val": 0, "test": 2}
    assert any("its val images are the test part here" in line for line in done.sentences)


def test_folders_are_specimens_as_the_user_says(tmp_path: Path) -> None:
    foreign.patients(tmp_path / "raw")
    import_folder(tmp_path / "raw", tmp_path / "a")
    assert groups(tmp_path / "a")["patient3_2"] == "patient3"
    import_folder(tmp_path / "raw", tmp_path / "b", options=Options(groups="none"))
    assert not (tmp_path / "b" / "groups.csv").exists()
    options = Options(groups=r"patient\d+_(\d)")
    import_folder(tmp_path / "raw", tmp_path / "c", options=options)
    assert set(groups(tmp_path / "c").values()) == {"1", "2"}


def test_slices_of_a_volume_are_one_specimen_and_keep_their_brightness(tmp_path: Path) -> None:
    foreign.nnunet(tmp_path / "raw")
    options = Options(channels=(1,), levels=(0.0, 700.0))
    import_folder(tmp_path / "raw", tmp_path / "target", options=options)
    assert groups(tmp_path / "target")["case_002_s001"] == "case_002"
    values = foreign.image(5).astype(np.int16) * 3 + 1
    shown = (values * (255 / 700)).round().clip(0, 255)
    np.testing.assert_allclose(
        stored(tmp_path / "target", "case_002_s001", "images"), shown, atol=1
    )


def test_instances_on_request(tmp_path: Path) -> None:
    for name in foreign.NAMES:
        foreign.save(tmp_path / "raw" / f"{name}.png", foreign.image(0))
        pixels = np.arange(foreign.HEIGHT * foreign.WIDTH).reshape(foreign.HEIGHT, foreign.WIDTH)
        cells = (pixels // 16 * 5).astype(np.uint16)
        foreign.save(tmp_path / "raw" / f"{name}_mask.png", cells)
    import_folder(tmp_path / "raw", tmp_path / "target", options=Options(instances=True))
    collection = read_folder(tmp_path / "target")
    assert collection.classes == ("background", "object")
    instances = collection.items[0].instances
    assert instances is not None
    np.testing.assert_array_equal(read_mask(instances), cells)


PAINT = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)  # of numbers of objects


def test_colours_number_objects_in_voc(tmp_path: Path) -> None:
    foreign.voc(tmp_path / "raw")
    for number, name in enumerate(foreign.NAMES):
        painted = PAINT[foreign.mask(number)]
        painted[0] = (224, 224, 192)  # void in the palette of VOC
        foreign.save(tmp_path / "raw" / "SegmentationObject" / f"{name}.png", painted)
    import_folder(tmp_path / "raw", tmp_path / "target")
    expected = foreign.mask(2)
    expected[0] = 0
    numbers = stored(tmp_path / "target", foreign.NAMES[2], "instances")
    np.testing.assert_array_equal(numbers, np.array([0, 2, 1])[expected])


def test_colours_number_objects_on_request(tmp_path: Path) -> None:
    for number, name in enumerate(foreign.NAMES):
        foreign.save(tmp_path / "raw" / f"{name}.png", foreign.image(number))
        foreign.save(tmp_path / "raw" / f"{name}_mask.png", PAINT[foreign.mask(number)])
    import_folder(tmp_path / "raw", tmp_path / "target", options=Options(instances=True))
    numbers = stored(tmp_path / "target", foreign.NAMES[0], "instances")
    np.testing.assert_array_equal(numbers, np.array([0, 2, 1])[foreign.mask(0)])


def test_nan_in_an_array_of_masks_is_unlabelled(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    images = np.stack([foreign.image(number) for number in range(4)])
    masks = np.stack([foreign.mask(number) for number in range(4)]).astype(np.float32)
    masks[:, 0] = np.nan
    np.savez(tmp_path / "raw" / "all.npz", train_images=images, train_masks=masks)
    import_folder(tmp_path / "raw", tmp_path / "target")
    collection = read_folder(tmp_path / "target")
    mask = decode_mask(collection.items[0], collection)
    assert (mask[0] == IGNORE).all()
    np.testing.assert_array_equal(mask[1:], foreign.mask(0)[1:])


def test_several_masks_of_an_image_by_pattern(tmp_path: Path) -> None:
    foreign.suffix("{}_mask.png")(tmp_path / "raw")
    for number, name in enumerate(foreign.NAMES):
        foreign.save(tmp_path / "raw" / "second" / f"{name}.png", 2 - foreign.mask(number))
    options = Options(masks="second/*")
    import_folder(tmp_path / "raw", tmp_path / "target", options=options)
    np.testing.assert_array_equal(stored(tmp_path / "target", "image_3"), 2 - foreign.mask(3))


def test_modalities_by_pattern(tmp_path: Path) -> None:
    """As in BraTS: several images of one mask, of which the user names one."""
    for number in range(6):
        for kind in ("flair", "t1", "seg"):
            shown = foreign.mask(number) if kind == "seg" else foreign.image(number)
            foreign.save(tmp_path / "raw" / f"B{number}" / f"B{number}_{kind}.png", shown)
    options = Options(images="*_flair.png", masks="*_seg.png")
    done = import_folder(tmp_path / "raw", tmp_path / "target", layout="pairs", options=options)
    assert done.images == 6
    assert {path.stem for path in (tmp_path / "target" / "images").iterdir()} == {
        f"B{number}_flair" for number in range(6)
    }


def test_names_in_other_unicode_forms_match(tmp_path: Path) -> None:
    for number, name in enumerate(("Müller", "Škoda", "año")):
        foreign.save(
            tmp_path / "raw" / f"{unicodedata.normalize('NFC', name)}.png", foreign.image(number)
        )
        mask = f"{unicodedata.normalize('NFD', name)}_mask.png"
        foreign.save(tmp_path / "raw" / mask, foreign.mask(number))
    import_folder(tmp_path / "raw", tmp_path / "target")
    names = {item.name for item in read_folder(tmp_path / "target").items}
    assert names == {unicodedata.normalize("NFC", name) for name in ("Müller", "Škoda", "año")}


def test_large_values_and_minus_one_stay(tmp_path: Path) -> None:
    for number, name in enumerate(foreign.NAMES):
        (tmp_path / "raw" / "masks").mkdir(parents=True, exist_ok=True)
        foreign.save(tmp_path / "raw" / "images" / f"{name}.png", foreign.image(number))
        values = foreign.mask(number).astype(np.int8)
        values[0] = -1
        np.save(tmp_path / "raw" / "masks" / f"{name}.npy", values)
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    named = '{"background": 0, "class 1": 1, "class 2": 2, "ignore": -1}'
    assert any(line.endswith(f"as in {named}") for line in done.sentences)
    kept = tifffile.imread(tmp_path / "target" / "masks" / "image_1.tif")
    assert set(np.unique(kept)) == {-1, 0, 1, 2}


def test_what_is_left_out_is_listed(tmp_path: Path) -> None:
    foreign.coco(tmp_path / "raw")
    foreign.save(tmp_path / "raw" / "more" / "z.png", foreign.image(0))
    (tmp_path / "raw" / "test2017" / "image_6.png").unlink()
    (tmp_path / "raw" / ".hidden").write_text("")
    (tmp_path / "raw" / "scan.czi").write_text("")
    (tmp_path / "raw" / "README.md").write_text("")
    done = import_folder(tmp_path / "raw", tmp_path / "target", options=Options(skip=True))
    assert done.images == 7
    assert "left out 1 file (not listed in the JSON files), such as 'more/z.png'" in done.sentences
    assert "left out 1 hidden name (such as .DS_Store)" in done.sentences
    assert "files of other kinds are not read: 1 .md, 1 .czi" in done.sentences
    left_out = read(tmp_path / "target" / "meta.json")["imported"]["left_out"]
    assert [path for path, _ in left_out] == ["image_6.png", "more/z.png"]


def test_lists_of_classes_that_are_not_read_are_told(tmp_path: Path) -> None:
    foreign.suffix("{}_mask.png")(tmp_path / "raw")
    foreign.write(tmp_path / "raw" / "_classes.csv", "Pixel Value, Class\n0, ground\n")
    foreign.write(tmp_path / "raw" / "classes.json", {"ground": 0})
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    assert "files of other kinds are not read: 1 .csv, 1 .json" in done.sentences


def test_only_imported_folders_are_replaced_and_only_on_request(tmp_path: Path) -> None:
    source, target = tmp_path / "raw", tmp_path / "target"
    foreign.yolo(source)
    (target / "images").mkdir(parents=True)
    with pytest.raises(UserError, match="exists and is not from an import"):
        import_folder(source, target, overwrite=True)
    (target / "images").rmdir()
    import_folder(source, target)
    with pytest.raises(UserError, match="replace it with --overwrite"):
        import_folder(source, target)
    (target / "images" / "old.png").write_text("")
    import_folder(source, target, overwrite=True)
    assert not (target / "images" / "old.png").exists()
    for other in (source, source / "inside", tmp_path):
        with pytest.raises(UserError, match="is not apart from"):
            import_folder(source, other)


def test_progress_is_told(tmp_path: Path) -> None:
    foreign.yolo(tmp_path / "raw")
    steps: list[tuple[str, int, int]] = []
    with listening(lambda *step: steps.append(step)):
        import_folder(tmp_path / "raw", tmp_path / "target")
    converted = [(done, total) for what, done, total in steps if what == "converting images"]
    assert converted == [(number + 1, 0) for number in range(foreign.COUNT)]


def test_a_stopped_import_leaves_no_target_and_the_next_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.yolo(tmp_path / "raw")
    target = tmp_path / "target"
    real, calls = write_module._write_sample, []

    def stop(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(write_module, "_write_sample", stop)
        with pytest.raises(KeyboardInterrupt):
            import_folder(tmp_path / "raw", target)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    killed = tmp_path / ".target.importing"  # as SIGKILL leaves it
    foreign.save(killed / "images" / "half.png", foreign.image(0))
    import_folder(tmp_path / "raw", target)
    assert not killed.exists()
    assert len(list((target / "images").iterdir())) == foreign.COUNT


def test_dataset_says_how_to_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign.coco(tmp_path / "raw")
    command = f"data import {tmp_path / 'raw'} {tmp_path / 'raw_imported'}"
    with pytest.raises(UserError, match=f"it looks like COCO JSON: sam-bench {command}"):
        load_collection(str(tmp_path / "raw"))
    assert main(command.split()) == 0
    assert len(load_collection(str(tmp_path / "raw_imported")).items) == foreign.COUNT
    assert main(["data", "import", str(tmp_path / "raw")]) == 0
    assert "COCO JSON (coco): 'annotations/instances_test2017.json'" in capsys.readouterr().out


def test_a_fault_of_a_plain_folder_gets_no_advice_to_import(tmp_path: Path) -> None:
    for number, name in enumerate(foreign.NAMES):
        foreign.save(tmp_path / "images" / f"{name}.png", foreign.image(number))
        foreign.save(tmp_path / "masks" / f"{name}.png", foreign.mask(number))
    for number in range(5):
        (tmp_path / "masks" / f"image_{number}.png").unlink()
    with pytest.raises(UserError, match="5 of 8 images have no mask") as caught:
        load_collection(str(tmp_path))
    assert "looks like" not in str(caught.value)


@pytest.mark.parametrize("make", [foreign.coco, foreign.labelme, foreign.yolo, foreign.cvat])
def test_a_damaged_image_is_left_out_on_request(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "raw")
    next((tmp_path / "raw").rglob("image_6.png")).write_bytes(b"damaged")
    done = import_folder(tmp_path / "raw", tmp_path / "target", options=Options(skip=True))
    assert done.images == foreign.COUNT - 1
    assert any("image_6" in line for line in done.sentences)


def test_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign.yolo(tmp_path / "raw")
    (tmp_path / "target").mkdir()
    monkeypatch.chdir(tmp_path / "raw")
    with pytest.raises(UserError, match=f"data import . {tmp_path / 'raw_imported'}"):
        load_collection(".")
    monkeypatch.chdir(tmp_path / "target")
    with pytest.raises(UserError, match="is the current folder; name a folder"):
        import_folder(Path("../raw"), Path())
    assert import_folder(Path("../raw"), Path("new")).images == foreign.COUNT
    assert main(["data", "import", "../raw", "uhcs"]) == 0  # also the name of a dataset
    assert "next: sam-bench data check ./uhcs\n" in capsys.readouterr().out


def test_a_folder_that_needs_no_import_is_not_converted(tmp_path: Path) -> None:
    for number, name in enumerate(foreign.NAMES):
        foreign.save(tmp_path / "raw" / "images" / f"{name}.png", foreign.image(number))
        foreign.save(tmp_path / "raw" / "masks" / f"{name}.png", foreign.mask(number))
    with pytest.raises(UserError, match="needs no import: use it as --dataset"):
        import_folder(tmp_path / "raw", tmp_path / "target")


def test_a_folder_without_coco_files_is_no_coco(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "mine")
    with pytest.raises(UserError, match="has no JSON file with images, annotations and categories"):
        import_folder(source, tmp_path / "made", layout="coco")
