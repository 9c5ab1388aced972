import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from bench.data.decode import decode, decode_mask, read_image
from bench.data.items import IGNORE, Collection, Item
from bench.data.masks import COLOUR, read_instances, read_mask
from bench.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (11, 17), np.uint8)
RGB = RNG.integers(0, 256, (11, 17, 3), np.uint8)
MASK = RNG.integers(0, 3, (11, 17), np.uint8)


def stacked(grey: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.stack([grey] * 3, axis=-1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp"])
def test_lossless_formats_give_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    for name, pixels, expected in [("grey", GREY, stacked(GREY)), ("rgb", RGB, RGB)]:
        file = tmp_path / f"{name}{suffix}"
        Image.fromarray(pixels).save(file)
        image = read_image(file)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, expected)


def test_jpeg_is_read_nearly_as_saved(tmp_path: Path) -> None:
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - stacked(smooth)).max() < 8


def test_camera_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be shown turned by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (17, 11, 3)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
def test_tiff_compressions(tmp_path: Path, compression: str | None) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)


def test_tiled_and_planar_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "tiled.tif", RGB, tile=(16, 16), photometric="rgb")
    planar = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "p.tif", planar, photometric="rgb", planarconfig="separate")
    for name in ("tiled.tif", "p.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name), RGB)


def test_white_is_zero_tiff_is_shown_inverted_but_masks_keep_stored_values(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", MASK, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), stacked(255 - MASK))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), MASK)


def test_stack_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 5), photometric="minisblack")
    with pytest.raises(UserError, match=r"a\.tif' is a stack .* one image or slice per file"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_is_stretched_to_its_own_range(tmp_path: Path, suffix: str) -> None:
    twelve_bits = np.linspace(100, 4095, 64 * 64).astype(np.uint16).reshape(64, 64)
    twelve_bits[0, 0] = 65535  # one hot pixel must not darken the rest
    Image.fromarray(twelve_bits).save(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image, read_image(twelve_bits))
    assert image.min() == 0
    assert image.max() == 255
    assert abs(int(np.median(image)) - 128) < 3


@pytest.mark.parametrize("level", [0, 700])
def test_a_constant_16_bit_image_is_black(level: int) -> None:
    assert not read_image(np.full((8, 8), level, np.uint16)).any()


def test_sparse_bright_pixels_survive_the_stretch() -> None:
    sparse = np.zeros((100, 100), np.uint16)
    sparse[5, 5] = 3000
    assert read_image(sparse)[5, 5, 0] == 255


def test_float_tiff_and_nan(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    tifffile.imwrite(tmp_path / "a.tif", ramp)
    assert read_image(tmp_path / "a.tif")[-1, -1, 0] == 255
    ramp[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", ramp)
    assert read_image(tmp_path / "a.tif")[0, 0, 0] == 0
    item = Item("x", tmp_path / "a.tif", np.ones((10, 10), np.uint8), "g")
    for mask in (decode(item, collection(item))[1], decode_mask(item, collection(item))):
        assert np.argwhere(mask == IGNORE).tolist() == [[0, 0]]


def test_alpha_is_dropped_and_palettes_are_applied(tmp_path: Path) -> None:
    alpha = np.concatenate([RGB, GREY[..., None]], axis=-1)
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), RGB)
    indexed = Image.fromarray(MASK)
    indexed.putpalette([0, 0, 0, 200, 10, 20, 30, 40, 50])
    for name in ("p.png", "p.tif"):
        indexed.save(tmp_path / name)
        colours = np.array([[0, 0, 0], [200, 10, 20], [30, 40, 50]], np.uint8)
        np.testing.assert_array_equal(read_image(tmp_path / name), colours[MASK])
        np.testing.assert_array_equal(read_mask(tmp_path / name), MASK)


def test_one_bit_files(tmp_path: Path) -> None:
    Image.fromarray(MASK > 0).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), MASK > 0)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], (MASK > 0) * 255)


def test_colour_masks_keep_grey_and_blue_apart(tmp_path: Path) -> None:
    mask = np.array([[[0, 0, 0], [200, 200, 200]], [[0, 0, 200], [255, 0, 0]]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.png")
    codes = read_mask(tmp_path / "a.png")
    assert codes.tolist() == [[0, 200], [COLOUR + 200, COLOUR + 0xFF0000]]
    np.testing.assert_array_equal(read_mask(stacked(MASK)), MASK)


def test_fractions_are_no_mask() -> None:
    np.testing.assert_array_equal(read_mask(MASK.astype(np.float32)), MASK)
    with pytest.raises(UserError, match="holds fractions"):
        read_mask(MASK / 2)


@pytest.mark.parametrize("compression", [None, "group4", "tiff_lzw", "packbits"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_one_bit_tiff_masks_are_1_where_they_are_white(
    tmp_path: Path, compression: str | None, white_is_zero: bool
) -> None:
    objects, file = MASK > 0, tmp_path / "a.tif"
    if compression is None:
        photometric = "miniswhite" if white_is_zero else "minisblack"
        tifffile.imwrite(file, objects ^ white_is_zero, photometric=photometric, bitspersample=1)
    else:
        tags = {262: 0 if white_is_zero else 1}
        Image.fromarray(objects).save(file, compression=compression, tiffinfo=tags)
    shown = np.asarray(Image.open(file))
    np.testing.assert_array_equal(shown, objects)  # as Pillow shows it
    np.testing.assert_array_equal(read_mask(file), objects)
    np.testing.assert_array_equal(read_image(file)[..., 0], objects * 255)


def test_colours_of_16_bits_keep_apart() -> None:
    colours = np.array([[[0, 0, 0], [1, 0, 0], [0, 256, 0]], [[0, 0, 1], [1, 1, 1], [0, 0, 65535]]])
    codes = read_mask(colours.astype(np.uint16))
    assert np.unique(codes).size == 6
    with pytest.raises(UserError, match="holds fractions"):
        read_mask(colours + 0.5)


@pytest.mark.parametrize(
    "numbers",
    [
        np.array([[0, 2**24], [2**24, 2**24 + 7]], np.int32),
        np.array([[0, 2**32 - 2], [2**32 - 2, 2**32 - 1]], np.uint32),
        np.array([[0, 3e9], [3e9, 4e9]], np.float64),
        np.array([[[0, 0, 0], [1, 2, 3]], [[1, 2, 3], [255, 0, 7]]], np.uint8),
        np.array([[[0, 0, 0, 255], [1, 2, 3, 255]], [[1, 2, 3, 255], [1, 2, 4, 255]]], np.uint8),
    ],
)
def test_instances_of_any_number_or_colour_are_numbered_from_1(numbers: Any) -> None:
    assert read_instances(numbers).tolist() == [[0, 1], [1, 2]]


def test_instances_without_background_are_all_objects() -> None:
    assert read_instances(np.array([[2**25, 2**26]])).tolist() == [[1, 2]]


def test_instances_below_0_are_refused() -> None:
    with pytest.raises(UserError, match="hold the number -1; number objects from 1"):
        read_instances(np.array([[-1, 0, 1]], np.int16))


def test_instances_keep_16_bits(tmp_path: Path) -> None:
    numbers = np.arange(11 * 17, dtype=np.uint16).reshape(11, 17) * 300
    Image.fromarray(numbers).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_instances(tmp_path / "a.png"), numbers)


def damage_text(file: Path) -> None:
    file.write_bytes(b"this is no image")


def damage_empty(file: Path) -> None:
    file.write_bytes(b"")


def damage_cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("damage", [damage_text, damage_empty, damage_cut])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "lzw.tif", "deflate.tif"])
def test_damaged_files_are_named(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    compression = {"lzw.tif": "tiff_lzw", "deflate.tif": "tiff_deflate"}.get(name)
    extra = {"compression": compression} if compression else {}
    Image.fromarray(pixels).save(tmp_path / name, **extra)
    damage(tmp_path / name)
    with pytest.raises(UserError, match=rf"cannot read '.*{name}' as an image .*replace or remove"):
        read_image(tmp_path / name)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read '.*gone\.png'"):
        read_mask(tmp_path / "gone.png")


def collection(item: Item, **facts: Any) -> Collection:
    return Collection("made", ("a", "b", "c"), (item,), **facts)


def test_decode_maps_stored_values() -> None:
    stored = np.array([0, 128, 255], np.uint8)[MASK]
    item = Item("x", GREY, stored, "g")
    image, mask = decode(item, collection(item, mask_values={0: 0, 128: 1, 255: 2}))
    np.testing.assert_array_equal(image, stacked(GREY))
    np.testing.assert_array_equal(mask, MASK)
    assert mask.dtype == np.uint8


def test_decode_maps_colours_and_negative_ignore() -> None:
    code = COLOUR + 0xFF0000
    stored = np.array([0, code, -1])[MASK]
    item = Item("x", GREY, stored, "g")
    mask = decode(item, collection(item, mask_values={0: 0, code: 1, -1: IGNORE}))[1]
    np.testing.assert_array_equal(mask, np.array([0, 1, IGNORE], np.uint8)[MASK])


def test_decode_passes_indices_and_ignore() -> None:
    stored = MASK.copy()
    stored[0] = IGNORE
    item = Item("x", GREY, stored, "g")
    np.testing.assert_array_equal(decode(item, collection(item))[1], stored)


def test_decode_refuses_undeclared_values_and_differing_sizes(tmp_path: Path) -> None:
    file = tmp_path / "m.png"
    Image.fromarray(MASK + 5).save(file)
    item = Item("x", GREY, file, "g")
    with pytest.raises(UserError, match=r"m\.png' holds 5, 6, 7, but only 0, 1, 2, 255 are"):
        decode(item, collection(item))
    item = Item("x", GREY, MASK[:, 1:], "g")
    with pytest.raises(UserError, match=r"'x' is 17 x 11 pixels .* is 16 x 11"):
        decode(item, collection(item))


@pytest.mark.parametrize("name", ["huge.png", "huge.tif", "huge.bmp"])
def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path: Path, name: str) -> None:
    Image.fromarray(np.zeros((100, 100), np.uint8)).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    huge = 13_000  # px a side
    if name == "huge.png":  # the header alone says so; its checksum is put right
        header = whole[12:29].replace((100).to_bytes(4, "big"), huge.to_bytes(4, "big"))
        whole = whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]
        (tmp_path / name).write_bytes(whole)
    elif name == "huge.tif":
        tifffile.memmap(tmp_path / name, shape=(huge, huge), dtype=np.uint8).flush()  # sparse
    else:
        (tmp_path / name).write_bytes(whole[:18] + huge.to_bytes(4, "little") * 2 + whole[26:])
    with pytest.raises(UserError, match=f"{name}' has more than 150 million pixels; cut it into"):
        read_image(tmp_path / name)
