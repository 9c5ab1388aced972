"""Channels and frames of images: what is read without options, and with --channels and --crop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from troubled_folders import BAR, SIDES, U8, barred, folder, grey, save, turned, two

from bench.data.contents import bar_height
from bench.data.decode import decode, decode_mask, read_image
from bench.data.fingerprint import fingerprint
from bench.data.folder.read import read_folder
from bench.data.items import IGNORE
from bench.data.raster import load, size_of
from bench.data.selection import Selection
from bench.errors import UserError
from bench.spec import Cell, Recipe, Task

FIVE = np.stack([grey(number) for number in range(5)])  # (5, H, W)


def composite(root: Path, count: int = 5, kind: Any = U8, **metadata: Any) -> Path:
    """An ImageJ hyperstack of channels."""
    file = root / "a.tif"
    planes = FIVE[:count].astype(kind) * (1 if kind is U8 else 16)
    tifffile.imwrite(file, planes, imagej=True, metadata={"axes": "CYX", **metadata})
    return file


def test_the_first_three_channels_of_a_composite_are_read(tmp_path: Path) -> None:
    file = composite(tmp_path)
    assert load(file).channels == 5
    np.testing.assert_array_equal(read_image(file), np.moveaxis(FIVE[:3], 0, -1))


def test_two_channels_are_red_and_green(tmp_path: Path) -> None:
    image = read_image(composite(tmp_path, 2))
    np.testing.assert_array_equal(image[..., :2], np.moveaxis(FIVE[:2], 0, -1))
    assert not (image[..., 2] - FIVE[:2].min()).any()


def test_channels_of_16_bits_are_scaled_one_by_one(tmp_path: Path) -> None:
    file = composite(tmp_path, 3, np.uint16)
    planes = tifffile.imread(file)
    planes[1] //= 7
    tifffile.imwrite(file, planes, imagej=True, metadata={"axes": "CYX"})
    image = read_image(file)
    assert image.max(axis=(0, 1)).tolist() == [255] * 3
    np.testing.assert_array_equal(image[..., 1], read_image(planes[1])[..., 0])


@pytest.mark.parametrize(
    ("channels", "planes"), [("4", [4] * 3), ("3,0,1", [3, 0, 1]), ("GFP,dapi,3", [1, 0, 3])]
)
def test_channels_by_number_and_name(tmp_path: Path, channels: str, planes: list[int]) -> None:
    labels = ["DAPI", "GFP", "Cy3", "Cy5", "BF"]
    image = read_image(composite(tmp_path, Labels=labels), Selection(channels))
    np.testing.assert_array_equal(image, np.moveaxis(FIVE[planes], 0, -1))


def test_names_of_ome_channels(tmp_path: Path) -> None:
    file = tmp_path / "a.ome.tif"
    names = {"Name": ["DAPI", "GFP", "Cy3", "Cy5", "BF"]}
    metadata = {"axes": "CYX", "Channel": names}
    tifffile.imwrite(file, FIVE, photometric="minisblack", metadata=metadata)
    np.testing.assert_array_equal(read_image(file, Selection("BF"))[..., 0], FIVE[4])


def test_a_true_fourth_channel_is_not_alpha(tmp_path: Path) -> None:
    pixels = np.moveaxis(FIVE[:4], 0, -1)
    file = save(pixels, tmp_path / "a.tif", planarconfig="contig")
    assert load(file).channels == 4
    np.testing.assert_array_equal(read_image(file), pixels[..., :3])
    np.testing.assert_array_equal(read_image(file, Selection("3"))[..., 0], FIVE[3])
    Image.fromarray(pixels).save(tmp_path / "a.png")  # RGBA
    assert load(tmp_path / "a.png").channels == 3


def test_colour_channels_have_their_names(tmp_path: Path) -> None:
    save(np.moveaxis(FIVE[:3], 0, -1), tmp_path / "a.png")
    shown = read_image(tmp_path / "a.png", Selection("blue,red,0"))
    assert (shown == np.moveaxis(FIVE[[2, 0, 0]], 0, -1)).all()


@pytest.mark.parametrize("channels", ["5", "DAPI", "0,7"])
def test_a_missing_channel_is_named(tmp_path: Path, channels: str) -> None:
    with pytest.raises(UserError, match=r"--channels names '.*', but image '.*a\.tif' has 5 chan"):
        read_image(composite(tmp_path), Selection(channels))


@pytest.mark.parametrize(
    ("channels", "crop", "message"),
    [
        ("0,1,2,3", None, "one to three different channels"),
        ("0,0", None, "one to three different channels"),
        ("", None, "one to three different channels"),
        (None, "60", "pixels to cut off at the edges"),
        (None, "bottom=-1", "--crop bottom is -1: give a whole number from 0"),
        (None, "bottom=1,bottom=2", "pixels to cut off at the edges"),
    ],
)
def test_selections_that_are_none(channels: str | None, crop: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Selection.parse(channels, crop)


def test_equal_selections_are_equal_words() -> None:
    assert Selection.parse(" 0, 2", "left=0, bottom = 08,top=2") == Selection(
        "0,2", "top=2,bottom=8"
    )
    assert Selection.parse(None, None) == Selection()


def test_a_selection_enters_the_id_only_where_it_is_given() -> None:
    plain, recipe = Task(2), Recipe(1e-3)
    ids = {
        Cell("lora", "x", task, recipe).id
        for task in (plain, Task(2, channels=""), Task(2, channels="0"), Task(2, crop="bottom=6"))
    }
    assert len(ids) == 3
    cell = Cell("lora", "x", Task(2, channels="0", crop="bottom=6"), recipe)
    assert Cell.from_dict(cell.to_dict()) == cell


def test_the_fingerprint_does_not_depend_on_the_selection(tmp_path: Path) -> None:
    root = folder(tmp_path, two)
    whole, cut = read_folder(root), read_folder(root, Selection("0", "top=3"))
    assert fingerprint(whole) == fingerprint(cut)


def test_an_information_bar_is_told_and_cut(tmp_path: Path) -> None:
    root = folder(tmp_path, lambda n: np.pad(two(n), ((30, BAR), (0, 0))), image=barred)
    (note,) = [note for note in read_folder(root).notes if "information bar at" in note]
    assert f"3 of 3 images have an information bar at the bottom ({BAR} rows)" in note
    assert f"--crop bottom={BAR}" in note
    collection = read_folder(root, Selection.parse(None, f"bottom={BAR}"))
    image, mask = decode(collection.items[0], collection)
    assert image.shape == (*mask.shape, 3) == (70, 48, 3)
    np.testing.assert_array_equal(mask, np.pad(two(0), ((30, 0), (0, 0))))
    assert not any("information bar at" in note for note in collection.notes)


def test_masks_without_the_bar_are_not_cut(tmp_path: Path) -> None:
    root = folder(tmp_path, lambda n: np.pad(two(n), ((30, 0), (0, 0))), image=barred)
    with pytest.raises(UserError, match=f"with --crop bottom={BAR}$"):
        read_folder(root)
    collection = read_folder(root, Selection.parse(None, f"bottom={BAR}"))
    assert decode(collection.items[0], collection)[1].sum() == two(0).sum()
    assert decode_mask(collection.items[0], collection).shape == (70, 48)


def test_plain_images_have_no_bar() -> None:
    assert bar_height(np.dstack([barred(0)[:-BAR]] * 3)) == 0
    assert bar_height(np.zeros((100, 100, 3), U8)) == 0
    dark = np.zeros((100, 100), U8)
    dark[20:60, 20:60] = 200  # an object on black
    assert bar_height(np.dstack([dark] * 3)) == 0


@pytest.mark.parametrize("part", ["images", "masks"])
def test_rotation_tags_count_for_images_and_masks(tmp_path: Path, part: str) -> None:
    root = folder(tmp_path, two)
    turned(root, part)
    collection = read_folder(root)
    item = collection.items[0]
    image, mask = decode(item, collection)
    np.testing.assert_array_equal(mask, two(0))
    assert np.abs(image[..., 0].astype(int) - grey(0)).mean() < 8
    assert size_of(item.image) == SIDES
    assert any("turned" in note for note in collection.notes) == (part == "images")


@pytest.mark.parametrize("tag", range(1, 9))
def test_every_orientation_is_that_of_pillow(tmp_path: Path, tag: int) -> None:
    pixels = np.arange(12, dtype=U8).reshape(3, 4)
    file = save(pixels, tmp_path / "a.tif", extratags=[(274, "H", 1, tag, True)])
    exif = Image.Exif()
    exif[274] = tag
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(file), read_image(tmp_path / "a.png"))
    assert size_of(file) == size_of(tmp_path / "a.png") == read_image(file).shape[:2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_ignored(tmp_path: Path, value: float) -> None:
    def image(number: int) -> Any:
        pixels = grey(number).astype(np.float32)
        pixels[3, 7] = value
        return pixels

    collection = read_folder(folder(tmp_path, two, image=image, image_ending=".tif"))
    assert any("3 pixels of images are NaN or infinite" in note for note in collection.notes)
    item = collection.items[0]
    expected = two(0)
    expected[3, 7] = IGNORE
    np.testing.assert_array_equal(decode(item, collection)[1], expected)
    np.testing.assert_array_equal(decode_mask(item, collection), expected)


def test_more_channels_are_told(tmp_path: Path) -> None:
    root = folder(tmp_path, two)
    composite(tmp_path / "images")
    (tmp_path / "images/a.png").unlink()
    (note,) = [note for note in read_folder(root).notes if "5 channels" in note]
    assert note.startswith("1 of 3 images have 5 channels: 0, 1 and 2 are read as red, green and")
