"""Which files `data import` joins, and how it reads their pixels: one small case for each rule."""

from pathlib import Path

import foreign
import foreign_dicom
import numpy as np
import pytest

from bench.data.layouts import class_folders, dicom, yolo
from bench.data.layouts.draft import Options, Report, Sample
from bench.data.layouts.groups import group_of
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
