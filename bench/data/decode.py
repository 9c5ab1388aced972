"""Decode an item: image and mask files of the usual formats to uint8 arrays.

Images: PNG, TIFF, JPEG, BMP; grey, RGB, palette; alpha is dropped. 8-bit values stay as they are;
wider ones (16-bit, float) are scaled so that the 0.1th and 99.9th percentiles of the image become
0 and 255, because microscopes often store 10 to 14 bits in 16, which would be almost black.
(Pillow reads 16-bit RGB PNG as 8-bit; such files keep their full range.)

Masks: one stored value per pixel. Grey and index masks give their values, palette masks their
indices. In colour masks a grey pixel gives its level, a coloured one `COLOUR + 0xRRGGBB`.
"""

import math
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageOps

from bench.data.items import IGNORE, Collection, Item, Pixels
from bench.errors import UserError

SUFFIXES = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp"})
COLOUR = 1 << 24  # added to the code of a coloured mask pixel, so that blue differs from grey

LARGEST_PX = 150_000_000  # decoding an image of this size as RGB and floats takes 2.3 GB
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which only warns at first
STRETCH = (0.1, 99.9)  # percentiles
_PLAIN_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "F", "RGB", "RGBA"})
_TIFFFILE_CODECS = frozenset({1, 8, 32773, 32946, 34925})  # none, deflate, PackBits, LZMA
# What decoders raise for a damaged file.
UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError),
    *(zlib.error, struct.error),
)

UInt8 = npt.NDArray[np.uint8]
Levels = tuple[float, float]


class Raster(NamedTuple):
    """Values as stored, and how to show them.

    Attributes:
        values: (H, W) or (H, W, C), of the type in the file.
        palette: colour (256, 3), or (65536, 3) for 16 bits, of each value; None if values are grey
            levels or colours.
        inverted: whether 0 is shown white.
    """

    values: npt.NDArray[Any]
    palette: UInt8 | None = None
    inverted: bool = False


def decode(item: Item, collection: Collection) -> tuple[UInt8, UInt8]:
    """Image (H, W, 3) uint8 and mask (H, W) uint8 of class indices, `IGNORE` where unlabelled.

    The arrays may be those of the item: do not change them.

    Raises:
        UserError: as `read_image`, `decode_mask` and `check_sizes`.
    """
    image = read_image(item.image)
    mask = decode_mask(item, collection)
    check_sizes(item, image.shape[:2], mask.shape)
    return image, mask


def decode_mask(item: Item, collection: Collection) -> UInt8:
    """Class indices (H, W) uint8 of an item, with `IGNORE` where unlabelled.

    Without `mask_values` of the collection, stored values are class indices or `IGNORE`.

    Raises:
        UserError: the file cannot be read, or holds fractions or a value without a class.
    """
    table = collection.mask_values
    if table is None:
        table = {**{k: k for k in range(collection.num_classes)}, IGNORE: IGNORE}
    stored = read_mask(item.mask)
    known = np.array(sorted(table))
    nearest = np.searchsorted(known, stored).clip(max=known.size - 1)
    if (unknown := stored[known[nearest] != stored]).size:
        raise undeclared(item, np.unique(unknown).tolist(), table)
    return np.array([table[value] for value in known.tolist()], np.uint8)[nearest]


def read_image(pixels: Pixels) -> UInt8:
    """Image (H, W, 3) uint8, as an image viewer shows it; see the module for wider values.

    An array (H, W, 3) uint8 is returned itself: do not change the result.

    Args:
        pixels: file, or array (H, W) or (H, W, C), C from 1 to 4; the last of 2 or 4 is alpha.

    Raises:
        UserError: the file cannot be read, or a value is NaN or infinite.
    """
    return show(load(pixels), describe(pixels))


def show(raster: Raster, name: str, levels: Levels | None = None) -> UInt8:
    """Image (H, W, 3) uint8 of stored values, as an image viewer shows them.

    Args:
        raster: all of an image, or some of its rows.
        name: of the image, in quotes, for messages.
        levels: the values that become 0 and 255; None: as in the docstring of the module, with
            percentiles of the given rows only.

    Raises:
        UserError: a value is NaN or infinite.
    """
    if not np.isfinite(raster.values).all():
        raise UserError(f"image {name} holds NaN or infinite values; replace them")
    values = raster.values if raster.palette is None else raster.palette[raster.values]
    if values.ndim == 2:
        values = values[..., None]
    if values.shape[-1] in (2, 4):
        values = values[..., :-1]  # alpha
    grey = _to_uint8(values) if levels is None else scale(values, levels)
    shown = np.broadcast_to(grey, (*values.shape[:2], 3))
    return np.invert(shown) if raster.inverted else np.ascontiguousarray(shown)


def read_mask(pixels: Pixels) -> npt.NDArray[np.integer[Any]]:
    """Stored values (H, W) of a mask; colours as in the docstring of the module.

    Args:
        pixels: file, or array (H, W) or (H, W, C).

    Raises:
        UserError: the file cannot be read, or holds fractions, NaN or infinite values.
    """
    return mask_codes(load(pixels).values, pixels)


def read_instances(pixels: Pixels) -> npt.NDArray[np.int32]:
    """Instance numbers (H, W), 0 is background.

    If any is 2^24 or more, or a colour, all are replaced by 1, 2, ... in ascending order: only
    which pixels share a number matters. The value 255 is a number like any other.

    Raises:
        UserError: the file cannot be read, or holds fractions or numbers below 0.
    """
    numbers = read_mask(pixels)
    if numbers.size and numbers.min() < 0:
        raise UserError(
            f"instances {describe(pixels)} hold the number {numbers.min()}; number objects from 1 "
            "and save 0 where there is none"
        )
    if numbers.size and numbers.max() >= COLOUR:
        distinct, order = np.unique(numbers, return_inverse=True)
        numbers = order.reshape(numbers.shape) + (distinct[0] != 0)
    return numbers.astype(np.int32)


def instance_numbers(item: Item, shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """Instance numbers (H, W) of an item; all 0 without an instance map.

    That the map has the size of the mask is not checked.

    Args:
        item: the image.
        shape: (H, W) of its mask, for an item without an instance map.

    Raises:
        UserError: as `read_instances`.
    """
    return np.zeros(shape, np.int32) if item.instances is None else read_instances(item.instances)


def mask_codes(values: npt.NDArray[Any], pixels: Pixels) -> npt.NDArray[np.integer[Any]]:
    """One integer per pixel (H, W) of a mask: its grey level or index, or the code of its colour.

    Args:
        values: stored values (H, W) or (H, W, C).
        pixels: where they come from, for messages.

    Raises:
        UserError: a value is not a whole number, or is NaN or infinite.
    """
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if not np.issubdtype(values.dtype, np.integer):
        values = _whole_numbers(values, pixels)
    if values.ndim == 2:
        return values
    rgb = values[..., :3] if values.shape[-1] >= 3 else values[..., :1]
    if not (coloured := (rgb != rgb[..., :1]).any(axis=-1)).any():
        return np.asarray(rgb[..., 0])
    red, green, blue = np.moveaxis(rgb.astype(np.int64), -1, 0)
    bits = 8 if rgb.dtype.itemsize == 1 else 16
    code = (red << 2 * bits) + (green << bits) + blue
    return np.where(coloured, COLOUR + code, red)


def _whole_numbers(values: npt.NDArray[Any], pixels: Pixels) -> npt.NDArray[np.int64]:
    """Floats as integers, which they must be."""
    if np.isfinite(values).all() and np.array_equal(whole := values.astype(np.int64), values):
        return whole
    raise UserError(f"mask {describe(pixels)} holds fractions; save class indices as integers")


def load(pixels: Pixels) -> Raster:
    """Stored values of a file, or the array itself, which is not checked.

    A rotation in the EXIF data is applied, except in TIFF files that are not compressed, or by
    deflate, PackBits or LZMA. CMYK and other rare modes become RGB.

    Raises:
        UserError: the file is missing, damaged, cut short, of an unknown kind, a stack, or larger
            than `LARGEST_PX`.
    """
    if not isinstance(pixels, Path):
        return Raster(pixels)
    try:
        if pixels.suffix.lower() in (".tif", ".tiff"):
            return _load_tiff(pixels)
        return _load_pillow(pixels)
    except UserError:
        raise
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot read {describe(pixels)} as an image ({reason}); replace or remove the file"
        ) from error


def check_sizes(item: Item, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """Check that image and mask have one size.

    Args:
        item: their item, for the message.
        image: (H, W) of the image.
        mask: (H, W) of the mask.

    Raises:
        UserError: the sizes differ.
    """
    if image != mask:
        raise UserError(
            f"image '{item.name}' is {image[1]} x {image[0]} pixels (width x height) but its mask "
            f"{describe(item.mask)} is {mask[1]} x {mask[0]}; make them the same size"
        )


def undeclared(item: Item, values: list[int], table: dict[int, int]) -> UserError:
    """The error for a mask that holds values without a class; it is returned, not raised.

    Args:
        item: the image of the mask.
        values: the values without a class; the message has the first 8.
        table: stored value to class index.
    """
    return UserError(
        f"mask {describe(item.mask, item.name)} holds {', '.join(map(show_value, values[:8]))}"
        f"{' and more' if len(values) > 8 else ''}, but only "
        f"{', '.join(map(show_value, sorted(table)))} are declared; "
        "correct the mask or the class list"
    )


def show_value(value: int) -> str:
    """A stored mask value as a person writes it: 128, or #ff0000 for a colour."""
    return f"#{value - COLOUR:06x}" if value >= COLOUR else str(value)


def describe(pixels: Pixels, name: str = "in memory") -> str:
    """The path of a file in quotes, or `name` for an array."""
    return f"'{pixels}'" if isinstance(pixels, Path) else name


def _load_pillow(path: Path) -> Raster:
    with Image.open(path) as image:
        if image.width * image.height > LARGEST_PX:
            raise _too_large(path)
        ImageOps.exif_transpose(image, in_place=True)  # cameras store the rotation as metadata
        image.load()
        if image.mode == "P":
            palette = np.zeros((256, 3), np.uint8)
            colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            palette[: len(colours)] = colours
            return Raster(np.array(image), palette)
        return Raster(np.array(image if image.mode in _PLAIN_MODES else image.convert("RGB")))


def _load_tiff(path: Path) -> Raster:
    with tifffile.TiffFile(path) as file:
        series, page = file.series[0], file.series[0].keyframe
        lengths = zip(series.axes, series.shape, strict=True)
        used = [(axis, length) for axis, length in lengths if axis in "YX" or length > 1]
        axes = "".join(axis for axis, _ in used)
        if axes not in ("YX", "YXS", "SYX"):
            raise UserError(
                f"'{path}' is a stack of shape {series.shape}; save one image or slice per file"
            )
        if math.prod(length for axis, length in used if axis in "YX") > LARGEST_PX:
            raise _too_large(path)
        inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        if page.compression not in _TIFFFILE_CODECS:  # Pillow's libtiff knows LZW and JPEG
            raster = _load_pillow(path)
            if raster.values.dtype == bool:
                return raster  # Pillow inverts it: as shown
            undo = inverted and raster.values.dtype.itemsize == 1  # Pillow inverts 8 bits, too
            return raster._replace(
                values=np.invert(raster.values) if undo else raster.values, inverted=inverted
            )
        values = series.asarray().reshape([length for _, length in used])
        if axes == "SYX":
            values = np.moveaxis(values, 0, -1)
        if values.dtype == bool and inverted:
            return Raster(~values)  # one bit is not an index: white is 1, as in other formats
        if page.colormap is not None:
            return Raster(values, (page.colormap.T >> 8).astype(np.uint8))
        return Raster(values, inverted=inverted)


def _too_large(path: Path) -> UserError:
    return UserError(
        f"'{path}' has more than {LARGEST_PX / 1e6:.0f} million pixels; cut it into smaller images"
    )


def _to_uint8(values: npt.NDArray[Any]) -> UInt8:
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    low, high = np.percentile(values, STRETCH)
    if high <= low:  # a few bright pixels on black
        low, high = float(values.min()), float(values.max())
    return scale(values, (low, high))


def scale(values: npt.NDArray[Any], levels: Levels) -> UInt8:
    """Scale values linearly to uint8 and clip them.

    Args:
        values: of any shape.
        levels: the values that become 0 and 255; if the second is not larger, the result is 0.
    """
    low, high = levels
    factor = 255 / (high - low) if high > low else 0.0
    return ((values.astype(np.float32) - low) * factor).round().clip(0, 255).astype(np.uint8)
