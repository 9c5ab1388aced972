"""Which files `data import` joins, and how it reads their pixels: one small case for each rule."""

import base64
import io
from pathlib import Path
from typing import Any

import foreign
import foreign_dicom
import numpy as np
import pytest
import tifffile
from PIL import Image

from bench.data.layouts import (
    arrays,
    class_folders,
    coco,
    dicom,
    labelme,
    object_masks,
    pairs,
    write,
    yolo,
)
from bench.data.layouts.draft import Options, Report, Sample, class_table
from bench.data.layouts.groups import group_of
from bench.data.layouts.pictures import read_stack
from bench.data.layouts.planes import image_planes, mask_planes
from bench.data.layouts.shapes import Canvas, FaultyImageError
from bench.data.layouts.source import Source
from bench.errors import UserError

PARTS = ("train", "test")


def grey(path: Path, value: int = 0) -> None:
    foreign.save(path, np.full((4, 6), value, np.uint8))


def value_of(sample: Sample) -> int:
    return int(np.asarray(sample.mask)[0, 0])


def test_dicom_pictures_belong_to_the_slices_in_natural_order(tmp_path: Path) -> None:
    for number in range(1, 12):
        grey(tmp_path / "P" / "masks" / f"m{number}.png", number)
    series = dicom._Series([(f"P/CT/IM{number}", None) for number in range(1, 12)])
    source = Source(tmp_path)
    masks = dicom._picture_masks(source, series, source.pictures, Report())
    assert [int(mask[0, 0]) for mask in masks] == list(range(1, 12))


def test_slices_of_an_inverted_series_keep_one_scale(tmp_path: Path) -> None:
    slices = [slice_ for _, slice_ in foreign_dicom.series(tmp_path)][:2]
    for number, slice_ in enumerate(slices):
        slice_.PhotometricInterpretation = "MONOCHROME1"
        slice_.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    series = dicom._Series([("0.dcm", None), ("1.dcm", None)])
    planes = dicom._pixels(Source(tmp_path), series).planes
    values = np.stack([slice_.pixel_array for slice_ in slices]).astype(float)
    np.testing.assert_array_equal(np.ptp(planes + values), 0)


@pytest.mark.parametrize(("groups", "group"), [("", "scan"), ("none", "scan"), ("folders", "P1")])
def test_slices_of_a_file_are_one_specimen(groups: str, group: str) -> None:
    sample = Sample("a_s000", "P1/images/a.nii", Path(), Path(), None, "scan")
    assert group_of(sample, Options(groups=groups)) == group


def test_masks_of_classes_stay_in_their_part(tmp_path: Path) -> None:
    for part, value in (("train", 0), ("test", 255)):
        for name in "ab":
            grey(tmp_path / part / "images" / f"{name}.png")
            grey(tmp_path / part / "masks" / "crack" / f"{name}.png", value)
            grey(tmp_path / part / "masks" / "pore" / f"{name}.png")
    draft = class_folders.convert(Source(tmp_path), Options(), Report())
    found = {sample.origin: value_of(sample) for sample in draft.samples}
    expected = {f"{part}/images/{name}.png": part == "test" for part in PARTS for name in "ab"}
    assert found == expected


def test_two_masks_of_one_class_of_an_image_are_refused(tmp_path: Path) -> None:
    for kind in ("crack", "pore"):
        grey(tmp_path / "masks" / kind / "a.png")
        grey(tmp_path / "masks" / kind / "b.png")
    grey(tmp_path / "masks" / "crack" / "a.tif")
    for name in "ab":
        grey(tmp_path / "images" / f"{name}.png")
    draft = class_folders.convert(Source(tmp_path), Options(), Report())
    with pytest.raises(
        UserError, match=r"a.tif' and '.*a.png' are masks of one class of one image"
    ):
        list(draft.samples)


def test_a_file_in_a_folder_of_masks_is_no_image(tmp_path: Path) -> None:
    for name in ("masks/a.png", "panoptic_val2017/b.png", "labels/images/c.png", "img.png"):
        grey(tmp_path / name)
    grey(tmp_path / "img.01.png")
    source = Source(tmp_path)
    found = [source.find_picture(label) for label in ("a.jpg", "b.jpg", "c.jpg", "img.01")]
    assert found == [None, None, "labels/images/c.png", "img.01.png"]
    assert source.find_picture("masks/a.png") == source.find_picture("a", "masks") == "masks/a.png"
    assert source.by_stem_only == 1


POLYGON = "0 .1 .1 .9 .1 .9 .9"


def test_yolo_background_images_lie_beside_labelled_ones(tmp_path: Path) -> None:
    for name in ("images/a.png", "images/empty.png", "docs/logo.png"):
        grey(tmp_path / name)
    foreign.write(tmp_path / "labels" / "a.txt", POLYGON)
    report = Report()
    draft = yolo.convert(Source(tmp_path), Options(), report)
    assert [sample.origin for sample in draft.samples] == ["images/a.png", "images/empty.png"]
    assert report.left_out == [("docs/logo.png", "not in a folder of labelled images")]


def test_two_yolo_files_of_one_image_are_refused(tmp_path: Path) -> None:
    grey(tmp_path / "images" / "a.png")
    for folder in ("labels", "old/labels"):
        foreign.write(tmp_path / folder / "a.txt", POLYGON)
    with pytest.raises(UserError, match=r"labels/a\.txt' and '.*a\.txt' are for one image; remove"):
        yolo.convert(Source(tmp_path), Options(), Report())


def test_text_that_is_not_finite_is_no_polygon(tmp_path: Path) -> None:
    grey(tmp_path / "a.png")
    foreign.write(tmp_path / "a.txt", "nan 1 2 3 4 5 6\ninf 1 2 3 4 5 6")
    assert yolo.recognise(Source(tmp_path)) is None


COLOURS = np.zeros((256, 3), np.uint8)
COLOURS[:3] = (9, 8, 7), (20, 30, 40), (50, 60, 70)


def shown(folder: Path, name: str, **options: Any) -> Any:
    report = Report()
    stack = read_stack(Source(folder), name, report)
    return np.stack([np.asarray(p) for p in image_planes(stack, name, Options(**options), report)])


def stored(folder: Path, name: str) -> Any:
    planes = mask_planes(read_stack(Source(folder), name, Report()), name)
    return np.stack([np.asarray(plane) for plane in planes])


def test_palettes_give_colours_of_images_and_numbers_of_masks(tmp_path: Path) -> None:
    numbers = np.arange(48, dtype=np.uint8).reshape(2, 4, 6) % 3
    marked = Image.fromarray(numbers[0])
    marked.putpalette(COLOURS.ravel().tolist())
    marked.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        shown(tmp_path, "a.png", channels=(1,))[0], COLOURS[numbers[0], 1]
    )
    colormap = COLOURS.T.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "b.tif", numbers, photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(shown(tmp_path, "b.tif"), COLOURS[numbers])
    np.testing.assert_array_equal(stored(tmp_path, "b.tif"), numbers)


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_stacks_whose_zero_is_white_are_inverted(tmp_path: Path, compression: str | None) -> None:
    values = np.arange(48, dtype=np.uint8).reshape(2, 4, 6)
    files = {"a.tif": values, "b.tif": (values % 2) * np.uint8(255), "c.tif": values % 3}
    for name, pages in files.items():
        images = [Image.fromarray(page) for page in pages]
        images[0].save(
            tmp_path / name,
            save_all=True,
            append_images=images[1:],
            compression=f"tiff_{compression}" if compression else None,
            tiffinfo={262: 0},
        )
    np.testing.assert_array_equal(shown(tmp_path, "a.tif"), values)
    for name, expected in (("b.tif", files["b.tif"]), ("c.tif", 255 - files["c.tif"])):
        np.testing.assert_array_equal(stored(tmp_path, name), expected)


def test_a_dark_image_of_16_bits_keeps_them(tmp_path: Path) -> None:
    dark = np.arange(24, dtype=np.uint16).reshape(4, 6)
    write._write_pixels(dark, tmp_path / "images" / "a", is_image=True)
    write._write_pixels(dark, tmp_path / "masks" / "a")
    kinds = [np.asarray(Image.open(tmp_path / f / "a.png")).dtype for f in ("images", "masks")]
    assert kinds == [np.uint16, np.uint8]


def test_an_object_mask_of_several_values_is_refused(tmp_path: Path) -> None:
    grey(tmp_path / "a" / "images" / "a.png")
    grey(tmp_path / "a" / "masks" / "1.png", 255)
    foreign.save(tmp_path / "a" / "masks" / "2.png", np.array([[0, 1, 2, 0, 0, 0]] * 4, np.uint8))
    draft = object_masks.convert(Source(tmp_path), Options(), Report())
    with pytest.raises(UserError, match=r"2\.png' holds more than two values"):
        list(draft.samples)


def test_instances_of_pairs_fit_their_masks(tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png", "b.png", "b_instances.png"):
        grey(tmp_path / name)
    with pytest.raises(UserError, match=r"'b\.png' has numbers of objects but no mask of classes"):
        pairs.convert(Source(tmp_path), Options(), Report())
    report = Report(skip=True)
    draft = pairs.convert(Source(tmp_path), Options(), report)
    assert [sample.name for sample in draft.samples] == ["a"]
    np.save(tmp_path / "a_instances.npy", np.zeros((5, 4, 6), np.uint8))
    draft = pairs.convert(Source(tmp_path), Options(), report)
    assert not list(draft.samples)
    assert report.left_out[-1] == ("a_instances.npy", "holds 5 planes but the mask has 1")


def test_masks_of_pairs_do_not_go_to_images_of_another_part(tmp_path: Path) -> None:
    for name in ("train/images/a.png", "test/masks/a.png", "masks/b.png", "more/b.png"):
        grey(tmp_path / name)
    files = pairs._match(Source(tmp_path), Options())
    assert (dict(files.masks), files.lone_masks) == (
        {"more/b.png": ["masks/b.png"]},
        ["test/masks/a.png"],
    )


def test_labelme_keeps_16_bits_and_refuses_two_files_of_one_image(tmp_path: Path) -> None:
    deep = np.arange(24, dtype=np.uint16).reshape(4, 6) * 1000
    buffer = io.BytesIO()
    Image.fromarray(deep).save(buffer, "PNG")
    read = labelme._embedded(base64.b64encode(buffer.getvalue()))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, deep)
    grey(tmp_path / "a.png")
    shape = {"label": "x", "points": [[1, 1], [4, 1], [4, 3]], "shape_type": "polygon"}
    for name in ("a.json", "b.json"):
        foreign.write(tmp_path / name, {"imagePath": "a.png", "shapes": [shape]})
    draft = labelme.convert(Source(tmp_path), Options(), Report())
    with pytest.raises(UserError, match=r"'b\.json' and another JSON file mean 'a\.png'"):
        list(draft.samples)


def test_classes_named_like_unlabelled_pixels_stay_classes() -> None:
    table = class_table(["Ignore", "ignored", "cell"], "this", ignored=True)
    assert list(table) == ["background", "Ignore (class)", "ignored (class)", "cell", "ignore"]
    with pytest.raises(UserError, match=r"two classes called 'ignore \(class\)'"):
        class_table(["ignore", "ignore (class)"], "this")


def test_coco_sizes_may_be_text() -> None:
    record = {"id": 1, "file_name": "a.png", "height": "4", "width": "6"}
    canvas = Canvas(4, 6, Report())
    assert coco._shapes(record, [], {}, canvas) == []
    record["width"] = "7"
    with pytest.raises(FaultyImageError, match="the JSON file says 7 x 4"):
        coco._shapes(record, [], {}, canvas)


def test_arrays_of_one_name_in_folders_of_parts(tmp_path: Path) -> None:
    for part, value in (("train", 1), ("test", 2)):
        for kind in ("images", "masks"):
            folder = tmp_path / kind / part
            folder.mkdir(parents=True)
            np.save(folder / f"{kind}.npy", np.full((2, 4, 6), value, np.uint8))
    source = Source(tmp_path)
    assert arrays.recognise(source)
    found = list(arrays.convert(source, Options(), Report()).samples)
    assert {(s.name, s.part, value_of(s)) for s in found} == {
        (f"{part}_s00{number}", part, value)
        for part, value in (("train", 1), ("test", 2))
        for number in range(2)
    }
