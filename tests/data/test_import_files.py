"""Which files `data import` joins, and how it reads their pixels: one small case for each rule."""

from pathlib import Path
from typing import Any

import foreign
import foreign_dicom
import numpy as np
import pytest
import tifffile
from PIL import Image

from bench.data.layouts import class_folders, dicom, write, yolo
from bench.data.layouts.draft import Options, Report, Sample
from bench.data.layouts.groups import group_of
from bench.data.layouts.pictures import image_planes, mask_planes, read_stack
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
    stored = np.stack([slice_.pixel_array for slice_ in slices]).astype(float)
    np.testing.assert_array_equal(np.ptp(planes + stored), 0)


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
    stack = read_stack(Source(tmp_path), "b.tif", Report())
    np.testing.assert_array_equal(np.stack(mask_planes(stack, "b.tif")), numbers)


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_stacks_whose_zero_is_white_are_inverted(tmp_path: Path, compression: str | None) -> None:
    values = np.arange(48, dtype=np.uint8).reshape(2, 4, 6)
    stored = {"a.tif": values, "b.tif": (values % 2) * np.uint8(255), "c.tif": values % 3}
    for name, pages in stored.items():
        images = [Image.fromarray(page) for page in pages]
        images[0].save(
            tmp_path / name,
            save_all=True,
            append_images=images[1:],
            compression=f"tiff_{compression}" if compression else None,
            tiffinfo={262: 0},
        )
    np.testing.assert_array_equal(shown(tmp_path, "a.tif"), values)
    for name, expected in (("b.tif", stored["b.tif"]), ("c.tif", 255 - stored["c.tif"])):
        planes = mask_planes(read_stack(Source(tmp_path), name, Report()), name)
        np.testing.assert_array_equal(np.stack([np.asarray(p) for p in planes]), expected)


def test_a_dark_image_of_16_bits_keeps_them(tmp_path: Path) -> None:
    dark = np.arange(24, dtype=np.uint16).reshape(4, 6)
    write._write_pixels(dark, tmp_path / "images" / "a", is_image=True)
    write._write_pixels(dark, tmp_path / "masks" / "a")
    kinds = [np.asarray(Image.open(tmp_path / f / "a.png")).dtype for f in ("images", "masks")]
    assert kinds == [np.uint16, np.uint8]
