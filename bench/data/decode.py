"""Decode an item: image and mask files of the usual formats to uint8 arrays.

Images: grey, or three channels as red, green and blue; alpha is dropped, and of more than three
channels the first three are read, or those of the item's selection. 8-bit values stay as they are;
wider ones (16-bit, float) are scaled so that the 0.1th and 99.9th percentiles of the image become
0 and 255, because microscopes often store 10 to 14 bits in 16, which would be almost black.
Channels that are no colours are scaled one by one. Pixels that are NaN or infinite are shown black,
and their labels are ignored.

Masks: one stored value per pixel, see `bench.data.masks`, and the class that the collection gives
it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.items import IGNORE, Collection, Item, Pixels
from bench.data.masks import NOT_FINITE, Codes, mask_codes, read_instances, show_value
from bench.data.raster import Raster, UInt8, describe, holds_fractions, load, pick, size_of
from bench.data.selection import WHOLE, Selection
from bench.errors import UserError

STRETCH = (0.1, 99.9)  # percentiles
LARGEST_VALUE = 1e30  # larger ones are scaled down first: single precision ends at 3e38

Levels = tuple[float, float]


def decode(item: Item, collection: Collection) -> tuple[UInt8, UInt8]:
    """Image (H, W, 3) uint8 and mask (H, W) uint8 of class indices, `IGNORE` where unlabelled.

    Both are those of the item's selection. The arrays may be those of the item: do not change them.

    Raises:
        UserError: as `read_image`, `decode_mask` and `check_sizes`.
    """
    raster = load(item.image)
    full = raster.values.shape[:2]
    image = show_selected(raster, item.image, item.selection)
    mask = _class_map(item, collection, read_stored(item, full))
    check_sizes(item, image.shape[:2], mask.shape)
    return image, _without(mask, _lost_pixels(raster, item))


def decode_mask(item: Item, collection: Collection) -> UInt8:
    """Class indices (H, W) uint8 of an item, with `IGNORE` where unlabelled.

    Without `mask_values` of the collection, stored values are class indices or `IGNORE`. The image
    is decoded, too, if its values can be NaN or infinite: those pixels count as unlabelled.

    Raises:
        UserError: the file cannot be read, or holds fractions or a value without a class.
    """
    full = size_of(item.image) if item.selection.crop else ()
    mask = _class_map(item, collection, read_stored(item, full))
    return _without(mask, _lost_pixels(load(item.image), item)) if _may_lose(item) else mask


def read_image(pixels: Pixels, selection: Selection = WHOLE) -> UInt8:
    """Image (H, W, 3) uint8, as an image viewer shows it; see the module for wider values.

    An array (H, W, 3) uint8 is returned itself: do not change the result.

    Args:
        pixels: file, or array (H, W) or (H, W, C); the last of 2 or 4 channels of an array is
            alpha.
        selection: what of it is read.

    Raises:
        UserError: the file cannot be read, or lacks a channel, or nothing is left of it.
    """
    return show_selected(load(pixels), pixels, selection)


def show(raster: Raster, name: str, levels: Levels | None = None, channels: str = "") -> UInt8:
    """Image (H, W, 3) uint8 of stored values, as an image viewer shows them.

    Args:
        raster: all of an image, or some of its rows.
        name: of the image, in quotes, for messages.
        levels: the values that become 0 and 255; None: as in the docstring of the module, with
            percentiles of the given rows only.
        channels: as in `pick`.

    Raises:
        UserError: a value is NaN or infinite, or as `pick`.
    """
    if not np.isfinite(raster.values).all():
        raise UserError(f"image {name} holds NaN or infinite values; replace them")
    picked = pick(raster, channels, name)
    values = picked.values
    if levels is not None:
        grey = scale(values, levels)
    elif picked.separate and values.shape[-1] > 1:
        grey = np.stack([_to_uint8(channel) for channel in np.moveaxis(values, -1, 0)], axis=-1)
    else:
        grey = _to_uint8(values)
    shown = np.broadcast_to(grey, (*values.shape[:2], 3))
    return np.invert(shown) if picked.inverted else np.ascontiguousarray(shown)


def show_selected(raster: Raster, pixels: Pixels, selection: Selection) -> UInt8:
    """Image (H, W, 3) uint8 of the selected channels and frame, NaN and infinite pixels black.

    Args:
        raster: the whole image.
        pixels: where it comes from, for messages.
        selection: what of it is read.

    Raises:
        UserError: values are complex, a channel is missing, or nothing is left.
    """
    values = raster.values
    if values.dtype.kind == "c":
        raise UserError(f"image {describe(pixels)} holds complex numbers; save their magnitude")
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        low = values[finite].min() if finite.any() else 0
        raster = raster._replace(values=np.where(finite, values, low).astype(values.dtype))
    name = describe(pixels)
    if selection.crop:  # before the stretch: an information bar must not set the levels
        raster = raster._replace(values=selection.cut(raster.values, name))
    return show(raster, name, None, selection.channels)


def _may_lose(item: Item) -> bool:
    try:
        return holds_fractions(item.image)
    except (OSError, ValueError):
        return True  # reading it says what is wrong


def _lost_pixels(raster: Raster, item: Item) -> npt.NDArray[np.bool_] | None:
    """Pixels (H, W) of the selected frame that are NaN or infinite; None without any."""
    if raster.values.dtype.kind != "f":
        return None
    lost = ~np.isfinite(raster.values)
    lost = lost if lost.ndim == 2 else lost.any(axis=-1)
    return item.selection.cut(lost, describe(item.image)) if lost.any() else None


def _without(mask: UInt8, lost: npt.NDArray[np.bool_] | None) -> UInt8:
    if lost is None or lost.shape != mask.shape:
        return mask
    return np.where(lost, np.uint8(IGNORE), mask)


def instance_numbers(item: Item, shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """Instance numbers (H, W) of an item; all 0 without an instance map.

    Numbers without any object mean the same as no map, for prompts and for scores: objects are then
    the connected components of the mask. Where the map is the mask, numbers below 0
    mark unlabelled pixels. That the map has the size of the mask is not checked.

    Args:
        item: the image.
        shape: (H, W) of its mask.

    Raises:
        UserError: as `read_instances`.
    """
    if item.instances is None:
        return np.zeros(shape, np.int32)
    numbers = read_instances(item.instances, unlabelled=item.instances is item.mask)
    if item.selection.crop and numbers.shape != shape:
        return item.selection.cut(numbers, describe(item.instances))
    return numbers


def read_stored(item: Item, full: tuple[int, ...], mask: Raster | None = None) -> Codes:
    """Stored values (H, W) of an item's mask in the selected frame.

    A mask that already has the size of the frame is not cropped.

    Args:
        item: the item.
        full: (H, W) of its whole image; not used without a crop.
        mask: its mask, where it was loaded before.

    Raises:
        UserError: as `read_mask`.
    """
    stored = mask_codes(load(item.mask) if mask is None else mask, item.mask)
    if item.selection.crop and stored.shape == full:
        return item.selection.cut(stored, describe(item.mask))
    return stored


def _class_map(item: Item, collection: Collection, stored: Codes) -> UInt8:
    """Class indices of stored mask values."""
    declared = collection.mask_values
    if declared is None:
        declared = {**{k: k for k in range(collection.num_classes)}, IGNORE: IGNORE}
    limits = np.iinfo(stored.dtype)
    table = {value: k for value, k in declared.items() if limits.min <= value <= limits.max}
    if limits.min <= NOT_FINITE:
        table[NOT_FINITE] = IGNORE
    known = np.array(sorted(table), stored.dtype)
    nearest = np.searchsorted(known, stored).clip(max=known.size - 1)
    if (unknown := stored[known[nearest] != stored]).size:
        raise undeclared(item, np.unique(unknown).tolist(), declared)
    return np.array([table[value] for value in known.tolist()], np.uint8)[nearest]


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
            f"{_way_to_one_size(image, mask)}"
        )


def _way_to_one_size(image: tuple[int, ...], mask: tuple[int, ...]) -> str:
    if image == mask[::-1]:
        return " (one of them is turned by 90 degrees; a rotation in EXIF data is applied)"
    if image[1] == mask[1] and image[0] > mask[0]:
        cut = image[0] - mask[0]
        return f", or cut off the lowest {cut} rows of the image with --crop bottom={cut}"
    return ""


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


def _to_uint8(values: npt.NDArray[Any]) -> UInt8:
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f" and (most := float(np.abs(values).max(initial=0))) > LARGEST_VALUE:
        values = values.astype(np.float64) / most
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
    with np.errstate(over="ignore"):  # a value far above the levels is white all the same
        return ((values.astype(np.float32) - low) * factor).round().clip(0, 255).astype(np.uint8)
