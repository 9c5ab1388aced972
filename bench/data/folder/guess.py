"""The classes of a folder without a declaration: what its mask values can mean.

One sensible reading is taken and told; otherwise one sentence names the values and holds the
`classes.json` to write. The set of values alone never decides: their number of pixels, which masks
hold them together, and the shapes of their pixels do.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.data.contents import Contents
from bench.data.folder.classes import OTHERS, Classes, declare
from bench.data.folder.mask_values import (
    UNLABELLED,
    MaskValues,
    are_indices,
    flat_values,
    listed,
    named,
    peaks_of,
    pieces,
    ranges,
    read_samples,
    share_at_edges,
    slopes,
)
from bench.data.items import IGNORE, Item
from bench.data.masks import COLOUR, NOT_FINITE, show_value
from bench.errors import UserError

MAX_VALUES = 64  # more distinct values than this are not classes
# Usual values of unlabelled pixels next to class indices: types' largest and smallest, PyTorch.
USUAL_IGNORE = frozenset(
    {255, 65535, 2**32 - 1, 2**31 - 1, -(2**31), -100, -128, -32768, -(2**63), 2**63 - 1}
)
RARE = 1e-4  # share of all pixels below which a value may be stray pixels
TINY = 5e-4  # the same, where most values have so few pixels
RARE_IN_MASK, RARE_PX = 1e-3, 4  # and in each mask: share, or number up to half a percent
MANY_OBJECTS = 8  # more values than this in one mask may number its objects
LEAST_PX = 4  # mean size of such objects
_UNLABELLED = (UNLABELLED, NOT_FINITE)


def guess_classes(root: Path, items: Sequence[Item], contents: Sequence[Contents]) -> Classes:
    """Guess the classes of a folder from its masks; `notes` say how.

    Values 0 to K-1 are class indices; -1 and NaN mark unlabelled pixels, and so does one of
    `USUAL_IGNORE` next to indices. Numbers of objects make one class. Levels between two others
    that lie only at edges belong to the nearer one. Any other set (0 and 255; 0, 128, 255; colours)
    counts up from its lowest value.

    Args:
        root: the folder, for messages.
        items: all of it.
        contents: of each item.

    Raises:
        UserError: the values have no or more than one sensible reading.
    """
    masks = MaskValues(root, items, contents)
    guess = _read(masks)
    notes = list(guess.notes)
    present = {value for content in contents for value in content.values}
    for code, name in zip(_UNLABELLED, ("-1", "NaN or infinite"), strict=True):
        if code in present:
            notes.insert(0, f"mask value {name} taken as unlabelled")
    values = dict(guess.values)
    if UNLABELLED in present:
        values[UNLABELLED] = IGNORE
    return replace(guess, values=values, notes=tuple(notes))


def _read(masks: MaskValues) -> Classes:
    stored = list(masks.total)
    if len(stored) < 2:
        raise _one_value(masks)
    if (objects := _objects(masks)) is not None:
        return objects
    if (smooth := _smooth(masks)) is not None:
        return smooth
    if len(stored) > MAX_VALUES or (masks.lossy and len(stored) > 2) or _has_slopes(masks):
        raise _too_many(masks)
    if stored[0] < 0 and not (stored[0] in USUAL_IGNORE and are_indices(stored[1:])):
        raise _negative(masks)
    _refuse_stray(masks)
    _refuse_never_together(masks)
    return _classes(masks)


def _one_value(masks: MaskValues) -> UserError:
    (value,) = masks.total or {0: 0}
    background, thing = (value, 1) if value == 0 else (0, value)
    return UserError(
        f"all masks in '{masks.root}' hold the one value {show_value(value)}; label a second class"
        f" or list the classes: write {masks.file} as"
        f" {declare({'background': background, 'object': thing})}"
    )


def _objects(masks: MaskValues) -> Classes | None:
    """Masks whose values number objects, each one connected piece; None for others."""
    most = max(len(content.values) for content in masks.contents) - 1
    ground = min(masks.total)
    if most <= MANY_OBJECTS or masks.lossy:
        return None
    values = parts = pixels = 0
    for codes in read_samples(masks.sample()):
        if (lost := np.isin(codes, _UNLABELLED)).any():
            codes = np.where(lost, ground, codes.astype(np.int64))
        if codes.min() == ground:
            some, connected = pieces(codes)
            values, parts = values + some, parts + connected
            pixels += int((codes != ground).sum())
    if parts > 1.1 * values or pixels < LEAST_PX * parts:
        return None
    held = [[v for v in c.values if v not in (ground, *_UNLABELLED)] for c in masks.contents]
    names = ("background", "object")
    counts = {len(some) for some in held}
    counted_up = all(some == list(range(1, len(some) + 1)) for some in held)
    if ground == 0 and counted_up and (len(counts) > 1 or len(held) == 1):
        table = {value: int(value != 0) for value in masks.total}
        note = (
            f"mask values up to {max(masks.total)} are object numbers, because each mask counts"
            " from 1 and each value is one connected piece: one class, object, with instances"
        )
        return Classes(names, table, (note,), numbered=True)
    raise UserError(
        f"masks in '{masks.root}' hold up to {most} values besides {show_value(ground)}, each one"
        f" connected piece, as in {masks.holder(max(masks.total))}: they may number objects or be"
        " classes; if they number objects, write"
        f" {masks.file} as {declare({names[0]: ground, names[1]: OTHERS})}, and"
        " put a copy of the masks into instances/ if single objects matter; if they are classes,"
        " list each with its name there"
    )


def _smooth(masks: MaskValues) -> Classes | None:
    """Two levels with smooth edges or the noise of JPEG; None for other masks."""
    total = masks.total
    low, high = sorted(sorted(total, key=lambda value: -total[value])[:2])
    between = [value for value in total if low < value < high]
    outside = [value for value in total if not low <= value <= high]
    distance = high - low
    most = sum(total[value] for value in (low, high))
    if len(total) < 3 or high >= COLOUR or low < 0 or distance < 32:
        return None
    if any(min(abs(v - low), abs(v - high)) > distance / 4 for v in outside):
        return None
    if not masks.lossy and (len(between) < 6 or most < 0.5 * sum(total.values())):
        return None
    inner = at_edges = 0
    for codes in read_samples(masks.sample()):
        some, edge = share_at_edges(codes, low, high)
        inner, at_edges = inner + some, at_edges + edge
    if at_edges < 0.9 * inner or inner > 0.5 * sum(total.values()):
        return None
    middle = low + distance // 2 + 1
    note = (
        f"masks hold {len(total)} values, {low} and {high} and smooth edges: up to"
        f" {middle - 1} taken as background, from {middle} on as object; save masks as PNG without"
        " smoothing to have exact edges"
    )
    return Classes(("background", "object"), {v: int(v >= middle) for v in total}, (note,))


def _has_slopes(masks: MaskValues) -> bool:
    """Whether most pixels of the rarer levels lie between a lower and a higher neighbour."""
    total = masks.total
    if len(total) < 8 or max(total) >= COLOUR or are_indices(list(total)):
        return False
    peaks = peaks_of(total)
    counts = [slopes(codes, peaks) for codes in read_samples(masks.sample())]
    return sum(count for _, count in counts) > 0.7 * sum(count for count, _ in counts)


def _too_many(masks: MaskValues) -> UserError:
    total = masks.total
    # Noise of JPEG leaves few flat places in small objects, but keeps levels frequent.
    flat = {} if masks.lossy else flat_values(read_samples(masks.sample()))
    cause = "blurred or resampled edges, or instances"
    if masks.lossy:
        cause = f"'{masks.lossy}' is a JPEG"
    if masks.lossy and max(total) >= COLOUR:
        return UserError(
            f"the masks in '{masks.root}' hold {len(total)} different colours, which is not a class"
            f" map ({cause}, which changes colours); save them as PNG with one colour per class,"
            " without smoothing"
        )
    return UserError(
        f"the masks in '{masks.root}' hold {len(total)} different values, which is not a class map"
        f" ({cause}); save them as PNG with one value per class, without smoothing, or write"
        f" {masks.file} as {declare(ranges(total, flat), OTHERS)} to use only the values around the"
        " most frequent ones"
    )


def _negative(masks: MaskValues) -> UserError:
    below = [value for value in masks.total if value < 0]
    rest = [value for value in masks.total if value >= 0]
    names = named(rest) if len(rest) > 1 else {"background": 0, "object": 1}
    return UserError(
        f"masks hold the value{'s' * (len(below) > 1)} {listed(below)}, as"
        f" {masks.holder(below[0])}; if unlabelled pixels have it, write {masks.file} as"
        f" {declare(names, below)}"
    )


def _refuse_stray(masks: MaskValues) -> None:
    """Raise UserError where values have so few pixels that they may be no classes."""
    total = masks.total
    pixels = sum(total.values())
    rare = [
        value
        for value, count in total.items()
        if count < max(RARE * pixels, RARE_PX * len(masks.contents))
        and all(
            _is_rare(content.values[value], sum(content.values.values()))
            for content in masks.contents
            if value in content.values
        )
    ]
    tiny = [value for value, count in total.items() if count < TINY * pixels]
    if len(tiny) > max(2, len(total) // 2):  # a mask has few classes and many stray values
        rare = sorted({*rare, *tiny})
    kept = [value for value in total if value not in rare]
    if len(total) < 3 or not rare or len(kept) < 2:
        return
    count = sum(total[value] for value in rare)
    raise UserError(
        f"masks hold {listed(rare)} in so few pixels ({count} in all, as in"
        f" {masks.holder(rare[0])}) that they may be stray pixels; if so, write {masks.file} as"
        f" {declare(named(kept), rare)}, or give them names there if they are classes"
    )


def _is_rare(count: int, pixels: int) -> bool:
    return count < RARE_IN_MASK * pixels or count <= min(RARE_PX, 0.005 * pixels)


def _refuse_never_together(masks: MaskValues) -> None:
    """Raise UserError where masks may hold the same class with different values."""
    ground, *rest = masks.total
    low = [value for value in rest if value < COLOUR]
    high = [value for value in rest if value >= COLOUR]
    if not high:  # grey levels only
        half = len(low) // 2
        low, high = low[:half], low[half:]
    if not low or len(low) != len(high) or ground != 0 or are_indices(list(masks.total)):
        return
    held = [set(content.values) for content in masks.contents]
    if any(some & set(low) and some & set(high) for some in held):
        return
    names = list(named([0, *low]) if len(low) > 1 else ["background", "object"])
    merged: dict[str, object] = {names[0]: ground}
    merged |= {n: [a, b] for n, a, b in zip(names[1:], low, high, strict=True)}
    raise UserError(
        f"masks hold {listed(low)} or {listed(high)}, never both in one mask, as"
        f" {masks.holder(low[0])} and {masks.holder(high[0])}: the same classes may be saved in two"
        f" ways; if so, save all masks in one way, or write {masks.file} as {declare(merged)}; if"
        " they are different classes, give each its own name there"
    )


def _classes(masks: MaskValues) -> Classes:
    """Class indices where the values are 0 to K-1 and perhaps 255, else counted upwards."""
    stored = list(masks.total)
    shown = listed(stored)
    usual = [value for value in stored if value in USUAL_IGNORE]
    labelled = [value for value in stored if value not in usual]
    way_out = f"to change this, write {masks.file}, as"
    if are_indices(stored) or (are_indices(labelled) and len(usual) == 1):
        names = named(labelled if usual else stored, index=True)
        values = {value: value for value in stored} | dict.fromkeys(usual, IGNORE)
        note = f"mask values {shown} taken as class indices"
        note += f", {usual[0]} as unlabelled" if usual else ""
        notes = [f"{note}; {way_out} {declare(names, usual)}", *_perhaps_other(masks)]
        return Classes(tuple(names), values, tuple(notes))
    far = [value for value in stored[2:] if value >= 100 and value < COLOUR]
    run = [value - stored[0] for value in stored if value not in far]
    if far and stored[0] in (0, 1) and are_indices(run):
        kept = [value for value in stored if value not in far]
        raise UserError(
            f"masks hold class indices {listed(kept)} and {listed(far)}, as"
            f" {masks.holder(far[0])}; if unlabelled pixels have {listed(far)}, write {masks.file}"
            f" as {declare(named(kept, index=True), far)}, or give it a name there if it is a"
            " class"
        )
    names = named(stored)
    note = f"mask values {shown} taken as classes 0 to {len(stored) - 1} ({', '.join(names)})"
    values = {value: index for index, value in enumerate(stored)}
    return Classes(tuple(names), values, (f"{note}; {way_out} {declare(names)}",))


def _perhaps_other(masks: MaskValues) -> list[str]:
    """Notes where a few indices may number objects, or mean the same class."""
    if len(masks.total) < 3:
        return []
    held = [set(content.values) - {0, IGNORE, UNLABELLED} for content in masks.contents]
    if max(map(len, held)) == 1:
        return ["the classes are never both in one mask: check that each means the same everywhere"]
    counted = [pieces(codes) for codes in read_samples(masks.sample()) if codes.min() == 0]
    if not all(held) or any(values != parts for values, parts in counted):
        return []
    return [
        "each mask value is one connected piece in each mask; if they number objects, write"
        f" {masks.file}, as {declare({'background': 0, 'object': OTHERS})}, and put a copy of the"
        " masks into instances/"
    ]
