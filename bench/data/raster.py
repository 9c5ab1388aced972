"""Stored values of image files: what a file holds, before it is read as an image or as a mask.

PNG, TIFF, JPEG and BMP; grey, RGB, palette; channels of their own, as of ImageJ and OME-TIFF.
Tags count for images and masks alike: orientation, white is zero, palette.
(Pillow reads 16-bit RGB PNG as 8-bit; `Raster.narrowed` says so, and `load_wide` reads them whole.)
"""

import math
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageOps

from bench.data.items import Pixels
from bench.data.tiff import open_tiff
from bench.errors import UserError
from bench.files import check_regular, quote

SUFFIXES = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp"})
TIFF = (".tif", ".tiff")

LARGEST_PX = 150_000_000  # decoding an image of this size as RGB and floats takes 2.3 GB
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which only warns at first
_PLAIN_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "F", "RGB", "RGBA"})
_TIFFFILE_CODECS = frozenset({1, 8, 32773, 32946, 34925})  # none, deflate, PackBits, LZMA
_TIFFFILE_BITS = frozenset({1, 8, 16, 32, 64})
_ORIENTATION = 274
_ALPHA = (1, 2)  # of the tag ExtraSamples; 0 is a channel of unknown meaning
_COLOUR = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR, tifffile.PHOTOMETRIC.PALETTE)
# What decoders raise for a damaged file.
UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError),
    *(ArithmeticError, NotImplementedError, zlib.error, struct.error, zipfile.BadZipFile),
)

UInt8 = npt.NDArray[np.uint8]


class Raster(NamedTuple):
    """Values as stored, and how to show them.

    Attributes:
        values: (H, W) or (H, W, C), of the type in the file.
        palette: colour (256, 3), or (65536, 3) for 16 bits, of each value; None if values are grey
            levels or colours.
        inverted: whether 0 is shown white.
        alpha: whether the last channel is alpha; None: if there are 2 or 4.
        separate: whether the channels are no red, green and blue, but each a picture of its own.
        names: of the channels; empty where the file has none.
        narrowed: whether the file has 16 bits, of which 8 are read.
        turned: whether a tag turns the stored pixels.
        exchanged: whether a tag says that 0 is white, and values of one bit are as shown already.
    """

    values: npt.NDArray[Any]
    palette: UInt8 | None = None
    inverted: bool = False
    alpha: bool | None = None
    separate: bool = False
    names: tuple[str, ...] = ()
    narrowed: bool = False
    turned: bool = False
    exchanged: bool = False

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        last = self.values.shape[-1] if self.values.ndim == 3 else 1
        return last in (2, 4) if self.alpha is None else self.alpha

    @property
    def channels(self) -> int:
        """Number of channels without alpha; 3 with a palette."""
        if self.palette is not None:
            return 3
        return 1 if self.values.ndim == 2 else self.values.shape[-1] - self.has_alpha


def load(pixels: Pixels) -> Raster:
    """Stored values of a file, or the array itself, which is not checked.

    A rotation in the EXIF data or in the TIFF tag is applied. CMYK and other rare modes become RGB.

    Raises:
        UserError: the file is missing, damaged, cut short, of an unknown kind, a stack, or larger
            than `LARGEST_PX`.
    """
    if not isinstance(pixels, Path):
        return Raster(pixels)
    check_regular(pixels)
    try:
        raster = (_load_tiff if pixels.suffix.lower() in TIFF else _load_pillow)(pixels)
        if not raster.values.size:
            raise ValueError("it has no pixels")
        return raster
    except UserError:
        raise
    except UNREADABLE as error:
        raise _damaged(pixels, error) from error


def load_wide(path: Path) -> Raster:
    """All 16 bits of a PNG for which `load` gives a narrowed raster.

    Pillow keeps one byte of each colour: which one follows from the order of bytes that it assumes.
    PNG has the upper byte first, so the other order gives the lower byte.

    Raises:
        UserError: the file cannot be read, or is grey with alpha, for which Pillow has one order.
    """
    upper = load(path)
    try:
        with Image.open(path) as image:
            (tile,) = image.tile
            if tile.args not in ("RGB;16B", "RGBA;16B"):
                raise UserError(
                    f"mask {describe(path)} is a PNG of 16 bits per channel, of which only 8 can be"
                    " read; save it with one channel, with 8 bits, or as TIFF"
                )
            image.tile = [tile._replace(args=tile.args.replace("16B", "16L"))]
            ImageOps.exif_transpose(image, in_place=True)
            lower = np.array(image)
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    values = upper.values.astype(np.uint16) << 8 | lower
    return upper._replace(values=values, narrowed=False)


def pick(raster: Raster, channels: str, name: str) -> Raster:
    """The channels that are shown: (H, W, 1) or (H, W, 3), without alpha and palette.

    Args:
        raster: of an image.
        channels: one to three numbers or names, separated by commas, in the order red, green,
            blue; one is shown grey, and two leave blue black. "": a grey or colour image as it is,
            of more than three channels the first three.
        name: of the image, in quotes, for messages.

    Raises:
        UserError: the image does not have the channel.
    """
    values = raster.values if raster.palette is None else raster.palette[raster.values]
    if values.ndim == 2:
        values = values[..., None]
    count = raster.channels
    if channels:
        colours = ("red", "green", "blue") if count == 3 and not raster.separate else ()
        names = raster.names or colours
        words = [word.casefold() for word in names]
        order = []
        for word in channels.split(","):
            number = int(word) if word.isdecimal() else count
            if word.casefold() in words:
                number = words.index(word.casefold())
            if number >= count:
                listed = f", called {', '.join(names)}" if names else ""
                raise UserError(
                    f"--channels names '{word}', but image {name} has {count}"
                    f" channel{'s' * (count > 1)}, numbered from 0{listed}: give some of these"
                )
            order.append(number)
    else:
        order = list(range(min(count, 3)))
    if not channels and count == values.shape[-1] <= 3 and count != 2:
        shown = values
    else:
        shown = values[..., order]
    if shown.shape[-1] == 2:
        black = np.full_like(shown[..., :1], shown.min() if shown.size else 0)
        shown = np.concatenate([shown, black], axis=-1)
    return Raster(shown, inverted=raster.inverted, alpha=False, separate=raster.separate)


def size_of(pixels: Pixels) -> tuple[int, int]:
    """Height and width in pixels: of an array, or from the header of a file, as it is shown.

    Args:
        pixels: array (H, W) or (H, W, C), or the path of an image file.

    Raises:
        OSError or ValueError: the file cannot be read as an image.
    """
    if not isinstance(pixels, Path):
        return pixels.shape[0], pixels.shape[1]
    check_regular(pixels)
    if pixels.suffix.lower() in TIFF:
        with open_tiff(pixels) as file:
            page = file.series[0].keyframe
            size = page.imagelength, page.imagewidth
            return size[::-1] if orientation(page) > 4 else size
    with Image.open(pixels) as image:
        size = image.height, image.width
        # Pillow decodes a whole PNG to find out that it has no EXIF data.
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        return size[::-1] if exif.get(_ORIENTATION, 1) > 4 else size


def holds_fractions(pixels: Pixels) -> bool:
    """Whether the type of the values has NaN and infinity; of a file only the header is read.

    Raises:
        OSError or ValueError: the file cannot be read as an image.
    """
    if not isinstance(pixels, Path):
        return pixels.dtype.kind in "fc"
    check_regular(pixels)
    if pixels.suffix.lower() not in TIFF:
        return False
    with open_tiff(pixels) as file:
        return np.dtype(file.series[0].dtype).kind in "fc"


def orientation(page: Any) -> int:
    """The orientation of a TIFF page, 1 to 8; 1 is upright."""
    value = page.tags.valueof(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def describe(pixels: Pixels, name: str = "in memory") -> str:
    """The path of a file in quotes, or `name` for an array."""
    return quote(pixels) if isinstance(pixels, Path) else name


def _load_pillow(path: Path) -> Raster:
    with Image.open(path) as image:
        if image.width * image.height > LARGEST_PX:
            raise _too_large(path)
        narrowed = any("16" in str(tile[3]) for tile in image.tile if image.mode in _TWO_BYTES)
        turned = image.getexif().get(_ORIENTATION, 1) not in (0, 1)
        ImageOps.exif_transpose(image, in_place=True)  # cameras store the rotation as metadata
        image.load()
        if image.mode == "P":
            palette = np.zeros((256, 3), np.uint8)
            colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            palette[: len(colours)] = colours
            return Raster(np.array(image), palette, turned=turned)
        alpha = image.mode in ("LA", "RGBA")
        values = np.array(image if image.mode in _PLAIN_MODES else image.convert("RGB"))
        return Raster(values, alpha=alpha, narrowed=narrowed, turned=turned)


_TWO_BYTES = frozenset({"RGB", "RGBA", "LA"})  # modes that Pillow knows with 8 bits only


def _load_tiff(path: Path) -> Raster:
    with open_tiff(path) as file:
        series, page = file.series[0], file.series[0].keyframe
        lengths = zip(series.axes, series.shape, strict=True)
        used = [(axis, length) for axis, length in lengths if axis in "YX" or length > 1]
        axes = "".join(axis for axis, _ in used)
        if axes not in ("YX", "YXS", "SYX", "CYX", "YXC"):
            raise UserError(
                f"'{path}' is a stack of shape {series.shape}; save one image or slice per file"
            )
        if math.prod(length for axis, length in used if axis in "YX") > LARGEST_PX:
            raise _too_large(path)
        inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        known = page.compression in _TIFFFILE_CODECS and page.bitspersample in _TIFFFILE_BITS
        if not known and "C" not in axes:
            return _by_libtiff(path, inverted)
        values = series.asarray().reshape([length for _, length in used])
        if axes in ("SYX", "CYX"):
            values = np.moveaxis(values, 0, -1)
        values = _upright(values, orientation(page))
        turned = orientation(page) != 1
        if values.dtype == bool and inverted:
            # One bit is not an index: white is 1, as in other formats.
            return Raster(~values, turned=turned, exchanged=True)
        if page.colormap is not None:
            palette = (page.colormap.T >> 8).astype(np.uint8)
            return Raster(values, palette, turned=turned)
        extra = [] if "C" in axes else list(page.extrasamples or ())
        return Raster(
            values,
            inverted=inverted,
            alpha=values.ndim == 3 and bool(extra) and extra[-1] in _ALPHA,
            separate=values.ndim == 3 and ("C" in axes or page.photometric not in _COLOUR),
            names=_channel_names(file) if values.ndim == 3 else (),
            turned=turned,
        )


def _by_libtiff(path: Path, inverted: bool) -> Raster:
    """Pillow's libtiff knows LZW and JPEG, and values of 2, 4 and 12 bits."""
    raster = _load_pillow(path)
    if raster.values.dtype == bool:
        return raster._replace(exchanged=inverted)  # Pillow inverts it: as shown
    undo = inverted and raster.values.dtype.itemsize == 1  # Pillow inverts 8 bits, too
    values = np.invert(raster.values) if undo else raster.values
    return raster._replace(values=values, inverted=inverted)


def _upright(values: npt.NDArray[Any], tag: int) -> npt.NDArray[Any]:
    """Turn and mirror stored pixels (H, W, ...) as the tag says."""
    if tag in (5, 6, 7, 8):
        values = np.swapaxes(values, 0, 1)
    if tag in (3, 4, 7, 8):
        values = values[::-1]
    if tag in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values if tag == 1 else np.ascontiguousarray(values)


def _channel_names(file: tifffile.TiffFile) -> tuple[str, ...]:
    """The names that OME or ImageJ stored with the channels; empty without all of them."""
    if file.is_ome and file.ome_metadata:
        tags = re.findall(r"<(?:\w+:)?Channel\b[^>]*>", file.ome_metadata)
        names = [re.search(r'\bName="([^"]*)"', tag) for tag in tags]
        return tuple(name[1] for name in names if name) if all(names) else ()
    labels = (file.imagej_metadata or {}).get("Labels")
    return tuple(map(str, labels)) if isinstance(labels, list | tuple) else ()


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"cannot read {describe(path)} as an image ({reason}); replace or remove the file"
    )


def _too_large(path: Path) -> UserError:
    return UserError(
        f"'{path}' has more than {LARGEST_PX / 1e6:.0f} million pixels; cut it into smaller images"
    )
