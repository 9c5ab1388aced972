"""Image and mask files as public collections arrange them."""

from collections.abc import Callable
from pathlib import Path

import foreign
import numpy as np
import pytest

from bench.data.folder.mask_names import bare_folder, bare_stem, is_mask_folder, is_mask_stem
from bench.data.folder.read import read_folder
from bench.data.layouts.draft import Options
from bench.data.layouts.importing import import_folder
from bench.errors import UserError

WHITE = np.uint8(255)


def busi(root: Path) -> None:
    """Folders of kinds of images; some images have two masks of one object each."""
    for number in range(3):
        for kind in ("benign", "malignant"):
            stem = f"{kind} ({number})"
            foreign.save(root / kind / f"{stem}.png", foreign.image(number))
            foreign.save(root / kind / f"{stem}_mask.png", (foreign.mask(number) == 1) * WHITE)
            foreign.save(root / kind / f"{stem}_mask_1.png", (foreign.mask(number) == 2) * WHITE)


def drive(root: Path) -> None:
    """The same names in both parts, and a second kind of masks, of the field of view."""
    for part in ("training", "test"):
        for number in range(3):
            stem = f"2{number}"
            foreign.save(root / part / "images" / f"{stem}_{part}.tif", foreign.image(number))
            vessels = foreign.mask(number, one_class=True) * WHITE
            foreign.save(root / part / "1st_manual" / f"{stem}_manual1.gif", vessels)
            foreign.save(root / part / "mask" / f"{stem}_{part}_mask.gif", np.full((40, 48), WHITE))


def isic(root: Path) -> None:
    for part in ("Training", "Validation", "Test"):
        for number in range(2):
            stem = f"ISIC_{part[:2]}{number}"
            images = root / f"ISIC2018_Task1-2_{part}_Input"
            foreign.save(images / f"{stem}.jpg", foreign.image(number))
            masks = root / f"ISIC2018_Task1_{part}_GroundTruth"
            lesion = foreign.mask(number, one_class=True) * WHITE
            foreign.save(masks / f"{stem}_segmentation.png", lesion)


def camvid(root: Path) -> None:
    for part in ("train", "val", "test"):
        for number in range(2):
            foreign.save(root / part / f"{part}{number}.png", foreign.image(number))
            foreign.save(root / f"{part}annot" / f"{part}{number}.png", foreign.mask(number))


def idrid(root: Path) -> None:
    """One folder for each class, whose files end with its initials."""
    for number in range(3):
        stem = f"IDRiD_{number:02d}"
        foreign.save(root / "images" / f"{stem}.jpg", foreign.image(number))
        for index, (kind, end) in enumerate((("Microaneurysms", "MA"), ("Haemorrhages", "HE")), 1):
            mask = (foreign.mask(number) == index) * WHITE
            foreign.save(root / "groundtruths" / kind / f"{stem}_{end}.tif", mask)


@pytest.mark.parametrize(
    ("make", "options", "images", "parts"),
    [
        (busi, Options(groups="none"), 6, {}),
        (drive, Options(masks="1st_manual/*"), 6, {"train": 3, "val": 0, "test": 3}),
        (isic, Options(), 6, {"train": 2, "val": 2, "test": 2}),
        (camvid, Options(), 6, {"train": 2, "val": 2, "test": 2}),
        (idrid, Options(), 3, {}),
    ],
)
def test_public_collections(
    tmp_path: Path,
    make: Callable[[Path], None],
    options: Options,
    images: int,
    parts: dict[str, int],
) -> None:
    make(tmp_path / "raw")
    done = import_folder(tmp_path / "raw", tmp_path / "target", options=options)
    assert (done.images, done.fault) == (images, "")
    collection = read_folder(tmp_path / "target")
    assert {part: len(names) for part, names in (collection.official or {}).items()} == parts


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (busi, r"images are in 2 folders \('benign', 'malignant'\)"),
        (drive, "has two masks, '.*1st_manual/20_manual1.gif' and '.*mask/20_test_mask.gif'"),
    ],
)
def test_what_is_not_clear_is_asked(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "raw")
    with pytest.raises(UserError, match=message):
        import_folder(tmp_path / "raw", tmp_path / "target")


@pytest.mark.parametrize(
    ("stem", "bare"),
    [
        *(("a_mask", "a"), ("mask_a", "a"), ("a_cp_masks", "a"), ("21_manual1", "21")),
        *(("a_Simple Segmentation", "a"), ("a-seg", "a"), ("a.label", "a"), ("seg", "")),
        *(("a_annotation", "a"), ("GT_a", "a"), ("a_labels", "a"), ("a b_Mask", "a b")),
    ],
)
def test_names_of_masks(stem: str, bare: str) -> None:
    assert is_mask_stem(stem)
    assert bare_stem(stem) == bare


@pytest.mark.parametrize("stem", ["a", "unmasked", "a_image", "gtx 3", "segments", "relabelled_1"])
def test_names_of_other_files(stem: str) -> None:
    assert not is_mask_stem(stem)


def test_folders_of_images_and_masks_have_one_bare_path() -> None:
    for masks, images in (
        ("train/masks", "train/images"),
        ("masks/train", "images/train"),
        ("trainannot", "train"),
        ("train_labels", "train_images"),
        ("x/1st_manual", "x/images"),
        ("SegmentationMasks/Ground Truth", "SegmentationMasks"),
    ):
        assert any(map(is_mask_folder, masks.split("/")))
        assert bare_folder(masks) == bare_folder(images)
