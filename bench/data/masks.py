"""Stored values of masks and instance maps: one integer per pixel.

Grey and index masks give their values, palette masks their indices. In colour masks a grey pixel
gives its level, a coloured one `COLOUR + 0xRRGGBB`. If all pixels have one colour and alpha varies,
alpha is the label. A pixel that is NaN or infinite gives `NOT_FINITE`, which is always ignored.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.items import Pixels
from bench.data.raster import Raster, describe, load, load_wide
from bench.errors import UserError

COLOUR = 1 << 50  # added to the code of a coloured pixel, so that blue differs from grey
NOT_FINITE = -(1 << 62)  # code of a pixel that is NaN or infinite
LARGEST_NUMBER = (1 << 16) - 1  # larger instance numbers are replaced: time grows with the largest

Codes = npt.NDArray[np.integer[Any]]


def read_mask(pixels: Pixels) -> Codes:
    """Stored values (H, W) of a mask; colours as in the docstring of the module.

    Args:
        pixels: file, or array (H, W) or (H, W, C).

    Raises:
        UserError: the file cannot be read, or holds fractions or complex numbers.
    """
    return mask_codes(load(pixels), pixels)


def read_instances(pixels: Pixels, *, unlabelled: bool = False) -> npt.NDArray[np.int32]:
    """Instance numbers (H, W), 0 is background.

    If any is above `LARGEST_NUMBER`, or a colour, all are replaced by 1, 2, ... in ascending order:
    only which pixels share a number matters. The value 255 is a number like any other.

    Args:
        pixels: file, or array as of `read_mask`.
        unlabelled: whether numbers below 0 and NaN mark unlabelled pixels, which become 0.

    Raises:
        UserError: the file cannot be read, or holds fractions, or numbers below 0 that are not
            unlabelled.
    """
    numbers = read_mask(pixels)
    if unlabelled and numbers.dtype.kind == "i":
        numbers = np.maximum(numbers, 0)
    if numbers.size and numbers.min() < 0:
        lowest = int(numbers.min())
        raise UserError(
            f"instances {describe(pixels)} hold the number {show_value(lowest)}; number objects"
            " from 1 and save 0 where there is none"
        )
    if numbers.size and numbers.max() > LARGEST_NUMBER:
        distinct, order = np.unique(numbers, return_inverse=True)
        numbers = order.reshape(numbers.shape) + int(distinct[0] != 0)
    return numbers.astype(np.int32)


def mask_codes(raster: Raster, pixels: Pixels) -> Codes:
    """One integer per pixel (H, W) of a mask: its grey level or index, or the code of its colour.

    Args:
        raster: stored values.
        pixels: where they come from, for messages.

    Raises:
        UserError: a value is not a whole number, or a PNG of 16 bits per channel cannot be read.
    """
    if raster.narrowed and isinstance(pixels, Path):
        raster = load_wide(pixels)
    if label_in_alpha(raster):
        return np.asarray(_integers(raster.values[..., -1], pixels))
    if raster.has_alpha and raster.values.size and not raster.values[..., -1].any():
        return np.zeros(raster.values.shape[:2], np.uint8)  # nothing of it is visible
    values = _integers(raster.values, pixels)
    if values.ndim == 2:
        return _as_shown(values, raster)
    rgb = values[..., :3] if values.shape[-1] >= 3 else values[..., :1]
    if not (coloured := (rgb != rgb[..., :1]).any(axis=-1)).any():
        return _as_shown(np.asarray(rgb[..., 0]), raster)
    red, green, blue = np.moveaxis(rgb.astype(np.int64), -1, 0)
    bits = 8 if rgb.dtype.itemsize == 1 else 16
    code = (red << 2 * bits) + (green << bits) + blue
    return np.where(coloured, COLOUR + code, red)


def label_in_alpha(raster: Raster) -> bool:
    """Whether the label of a mask is its alpha channel: the colour is one, and alpha varies."""
    if not raster.has_alpha or not raster.values.size:
        return False
    colour, alpha = raster.values[..., :-1], raster.values[..., -1]
    return bool((alpha != alpha[0, 0]).any() and (colour == colour[0, 0]).all())


def _as_shown(values: Codes, raster: Raster) -> Codes:
    """Two-valued masks as they are shown, where a tag or the palette makes 0 white.

    Other values are indices: their tag says only how they are shown.
    """
    top = np.iinfo(values.dtype).max
    if raster.inverted and values.size and np.isin(values, (0, top)).all():
        return np.asarray(top - values)
    colours = None if raster.palette is None else raster.palette[:2].tolist()
    if colours == [[255] * 3, [0] * 3] and values.size and values.max() <= 1:
        return np.asarray(1 - values)
    return values


def _integers(values: npt.NDArray[Any], pixels: Pixels) -> Codes:
    """Stored values as integers, which they must be; `NOT_FINITE` for NaN and infinity."""
    if values.dtype == bool:
        return values.astype(np.uint8)
    if np.issubdtype(values.dtype, np.integer):
        return values
    if values.dtype.kind == "c":
        if values.imag.any():
            raise UserError(f"mask {describe(pixels)} holds complex numbers; save class indices")
        values = values.real
    finite = np.isfinite(values)
    kept = np.where(finite, values, 0).astype(np.result_type(values, np.float32), copy=False)
    if (odd := kept[(kept != np.round(kept)) | (np.abs(kept) >= 2**53)]).size:
        raise UserError(
            f"mask {describe(pixels)} holds fractions, such as {odd[0]:.6g}; save class indices as"
            " integers"
        )
    return np.where(finite, kept.astype(np.int64), NOT_FINITE)


def show_value(value: int) -> str:
    """A stored mask value as a person writes it: 128, #ff0000 for a colour, or NaN."""
    if value == NOT_FINITE:
        return "NaN"
    if value < COLOUR:
        return str(value)
    code = value - COLOUR
    return f"#{code:06x}" if code < 1 << 24 else f"#{code:012x}"
