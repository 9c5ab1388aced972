"""What the files of one item hold: facts for messages, summaries and for finding the classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.data.decode import check_sizes, instance_numbers, read_stored, show_selected
from bench.data.items import Item
from bench.data.masks import LARGEST_NUMBER, Codes, label_in_alpha
from bench.data.parallel import for_each, threads_for
from bench.data.raster import Raster, UInt8, load
from bench.data.remember import Remembered, State, state_of
from bench.errors import UserError

EDITION = 2  # of `Contents` and of how files are decoded; a higher number forgets all
_WITH_VALUES = ("values", "colours", "inside")  # keys are numbers, which JSON does not have


class Contents(NamedTuple):
    """Facts about the files of one item, plain values only.

    Attributes:
        size: height and width of the selected frame in pixels.
        full: height and width of the whole image.
        type: name of the NumPy type of the image's values, such as "uint8".
        channels: number of channels of the image, without alpha.
        names: of these channels; empty where the file has none.
        separate: whether they are not red, green and blue.
        narrowed: whether 8 of 16 bits of the image are read.
        turned: whether a tag turns the image.
        lost: number of pixels of the image that are NaN or infinite.
        bar: rows of an information bar at the bottom of the image; 0 for none.
        values: stored mask value to its number of pixels.
        colours: the colour of each mask value in a palette; empty without one.
        alpha: whether the label of the mask is its alpha channel; None if the mask has one colour
            and is opaque, so that this cannot be said.
        white_is_zero: whether a tag of the mask says so.
        mask_is_image: whether the mask has several values and is the same as the image.
        numbers: number of objects in the instance map; None without a map.
        inside: of these objects, mask value to the number of their pixels.
    """

    size: tuple[int, int]
    full: tuple[int, int]
    type: str
    channels: int
    names: tuple[str, ...]
    separate: bool
    narrowed: bool
    turned: bool
    lost: int
    bar: int
    values: dict[int, int]
    colours: dict[int, tuple[int, ...]]
    alpha: bool | None
    white_is_zero: bool
    mask_is_image: bool
    numbers: int | None
    inside: dict[int, int]


def inspect(item: Item) -> Contents:
    """Decode all files of an item, and compare their sizes.

    Raises:
        UserError: a file cannot be read, or sizes differ.
    """
    image = load(item.image)
    full = image.values.shape[0], image.values.shape[1]
    shown = show_selected(image, item.image, item.selection)
    mask = load(item.mask)
    codes = read_stored(item, full, mask)
    check_sizes(item, shown.shape[:2], codes.shape)
    values = value_counts(codes)
    palette = mask.palette
    numbers = None if item.instances is None else instance_numbers(item, codes.shape)
    if numbers is not None and numbers.shape != codes.shape:
        raise UserError(
            f"instances '{item.instances}' differ in size from image '{item.name}'; "
            "make them the same size or remove the file"
        )
    inside = np.zeros(codes.shape, bool) if numbers is None else numbers > 0
    lost = image.values.dtype.kind == "f" and ~np.isfinite(image.values)
    return Contents(
        size=(shown.shape[0], shown.shape[1]),
        full=full,
        type=image.values.dtype.name,
        channels=image.channels,
        names=image.names,
        separate=image.separate,
        narrowed=image.narrowed,
        turned=image.turned,
        lost=int(np.sum(lost if np.ndim(lost) < 3 else np.any(lost, axis=-1))),
        bar=0 if item.selection.crop else bar_height(shown),
        values=values,
        colours={} if palette is None else {v: tuple(palette[v].tolist()) for v in values},
        alpha=_alpha_label(mask),
        white_is_zero=mask.inverted or mask.exchanged,
        mask_is_image=len(values) > 1 and np.array_equal(image.values, mask.values),
        numbers=None if numbers is None else len(value_counts(numbers[inside])),
        inside=value_counts(codes[inside]),
    )


def value_counts(codes: Codes) -> dict[int, int]:
    """Stored value to its number of pixels, in ascending order."""
    if codes.size and codes.min() >= 0 and codes.max() <= LARGEST_NUMBER:
        counts = np.bincount(codes.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, found = np.unique(codes, return_counts=True)
    return dict(zip(values.tolist(), found.tolist(), strict=True))


def _alpha_label(raster: Raster) -> bool | None:
    if label_in_alpha(raster):
        return True
    if not raster.has_alpha or not raster.values[..., -1].any():
        return False
    colour = raster.values[..., :-1]
    return None if (colour == colour[0, 0]).all() else False


LEAST, MOST = 0.02, 0.25  # height of an information bar, as a share of that of the image
_FLAT, _TEXT, _NEAR, _FAR = 0.35, (0.003, 0.5), 2, 60


def bar_height(image: UInt8) -> int:
    """Rows of the information bar that microscopes write below an image; 0 without one.

    The bar is a block of rows at the bottom, `LEAST` to `MOST` of the height. In each of its rows
    at least 35 % of the pixels have the colour of the bar (within 2 levels), or all pixels are
    equal (a line); 0.3 to 50 % of its pixels differ by more than 60 levels (text and scale bar). In
    as many rows above it, fewer than 10 % of the pixels have its colour.

    Args:
        image: (H, W, 3) uint8.
    """
    height = image.shape[0]
    grey = image[height - int(height * 2 * MOST) :, :, 1].astype(np.int16)
    bottom = grey[-max(4, int(height * LEAST)) :]
    if height < 64 or bottom.size == 0:
        return 0
    level = int(np.bincount(bottom.ravel()).argmax())
    near = (np.abs(grey - level) <= _NEAR).mean(axis=1)
    line = grey.max(axis=1) - grey.min(axis=1) <= _NEAR
    outside = np.flatnonzero(~((near >= _FLAT) | line))
    rows = len(grey) - 1 - (outside[-1] if outside.size else -1)
    if not LEAST * height <= rows <= MOST * height:
        return 0
    text = (np.abs(grey[-rows:] - level) > _FAR).mean()
    above = near[-2 * rows : -rows].mean()
    return int(rows) if _TEXT[0] <= text <= _TEXT[1] and above < 0.1 else 0


def inspect_all(items: Sequence[Item]) -> tuple[Contents, ...]:
    """The result of `inspect` for each item; only new and changed files are decoded.

    Raises:
        UserError: the first fault of a file.
    """
    places = [item.image.parent for item in items if isinstance(item.image, Path)]
    if not places:
        return tuple(for_each(inspect, items, "reading images", threads_for(items)))
    memory = Remembered(f"contents{EDITION}", places[0])
    known: dict[int, Contents] = {}
    states = [_state(item) for item in items]
    for number, (item, state) in enumerate(zip(items, states, strict=True)):
        stored = memory.recall(_name(item), state) if state else None
        if stored is not None:
            known[number] = _from_plain(stored)
    missing = [number for number in range(len(items)) if number not in known]
    if missing:
        several = [items[number] for number in missing]
        made = for_each(inspect, several, "reading images", threads_for(several))
        for number, item, contents in zip(missing, several, made, strict=True):
            known[number] = contents
            if state := states[number]:
                memory.keep(_name(item), state, contents._asdict())
        memory.save()
    return tuple(known[number] for number in range(len(items)))


def _state(item: Item) -> State | None:
    """State of the files of an item; None if one is missing, which its reader says."""
    parts = (item.image, item.mask, item.instances)
    files = [part for part in parts if isinstance(part, Path)]
    try:
        return state_of(files) if files else None
    except OSError:
        return None


def _name(item: Item) -> str:
    return f"{item.image} {item.mask} {item.instances} {item.selection}"


def _from_plain(stored: dict[str, Any]) -> Contents:
    """Inverse of `_asdict` after a way through JSON."""
    values: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()
    }
    for name in _WITH_VALUES:
        values[name] = {
            int(key): tuple(value) if isinstance(value, list) else value
            for key, value in stored[name].items()
        }
    return Contents(**values)
