"""Checks across the files of a folder, and notes on what was assumed about them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.data.contents import Contents
from bench.data.folder.classes import Classes, declare
from bench.data.items import IGNORE, Item
from bench.data.masks import NOT_FINITE, show_value
from bench.data.raster import describe
from bench.errors import UserError
from bench.wording import counted

AGREES = 0.5  # of an instance map and its mask, where 0 is chance and 1 is perfect
_LOSSY = (".jpg", ".jpeg")


def check_alpha(items: Sequence[Item], contents: Sequence[Contents]) -> None:
    """Check that masks do not mix labels in alpha with masks where this cannot be said.

    Raises:
        UserError: some masks hold the label in alpha, and one has one colour and is opaque.
    """
    if not any(content.alpha for content in contents):
        return
    for item, content in zip(items, contents, strict=True):
        if content.alpha is None:
            raise UserError(
                f"mask {describe(item.mask)} is opaque and of one colour, while other masks hold"
                " the label in their alpha channel: it may be all object or all background; save"
                " masks without alpha, with one channel"
            )


def check_images(items: Sequence[Item], contents: Sequence[Contents]) -> None:
    """Check that no image is its own mask.

    Raises:
        UserError: an image and its mask hold the same pixels of several values.
    """
    same = [item for item, one in zip(items, contents, strict=True) if one.mask_is_image]
    if same:
        raise UserError(
            f"{len(same)} of {len(items)} images hold the same pixels as their masks, such as"
            f" {describe(same[0].image)}: put the pictures there, or remove image and mask"
        )


def check_declared(
    root: Path, items: Sequence[Item], contents: Sequence[Contents], classes: Classes
) -> None:
    """Check that all mask values are declared.

    Raises:
        UserError: a mask holds another value; the message has the declaration with it.
    """
    known = classes.values.keys() | {NOT_FINITE}
    unknown: Counter[int] = Counter()
    for content in contents:
        unknown.update({v: n for v, n in content.values.items() if v not in known})
    if not unknown:
        return
    item = next(i for i, c in zip(items, contents, strict=True) if not c.values.keys() <= known)
    held = sorted(set(contents[list(items).index(item)].values) - known)
    names: dict[str, list[int]] = {name: [] for name in classes.names}
    for value, index in classes.values.items():
        if index != IGNORE:
            names[classes.names[index]].append(value)
    ignored = [value for value, index in classes.values.items() if index == IGNORE]
    pixels = sum(sum(content.values.values()) for content in contents)
    for value in sorted(unknown):
        if unknown[value] < 1e-3 * pixels or len(unknown) > 8:
            ignored.append(value)
        else:
            names[f"value {show_value(value)}"] = [value]
    shown = ", ".join(map(show_value, held[:8])) + (" and more" if len(held) > 8 else "")
    declared = ", ".join(map(show_value, sorted(classes.values)))
    raise UserError(
        f"mask {describe(item.mask)} holds {shown}, but only {declared} are declared; correct the"
        f" mask or the class list: write '{root / 'classes.json'}' as {declare(names, ignored)}"
    )


def check_instances(
    items: Sequence[Item], contents: Sequence[Contents], classes: Classes
) -> list[str]:
    """Check that instance maps belong to their masks.

    Returns:
        Notes on maps that lack objects of their masks.

    Raises:
        UserError: a map is a JPEG, lies on the background of the mask, or has no object where the
            mask has.
    """
    partly = 0
    for item, content in zip(items, contents, strict=True):
        if content.numbers is None:
            continue
        labelled = {v: n for v, n in content.values.items() if _class_of(v, classes) != IGNORE}
        objects = sum(n for v, n in labelled.items() if _class_of(v, classes) > 0)
        inside = sum(n for v, n in content.inside.items() if v in labelled)
        right = sum(n for v, n in content.inside.items() if v in labelled and _class_of(v, classes))
        _check_one(item, content, objects / max(1, sum(labelled.values())), right, inside)
        if not content.numbers and objects and len(classes.names) == 2:
            raise UserError(
                f"instances {describe(item.instances or item.mask)} hold no object, but mask"
                f" {describe(item.mask)} has {counted(objects, 'pixel')} of objects; number the"
                " objects, or remove the file, then connected pieces of the mask are the objects"
            )
        partly += right < AGREES * objects
    if not partly:
        return []
    return [
        f"in {counted(partly, 'image')} the instances cover less than half of the foreground: the"
        " rest counts for no object"
    ]


def _check_one(item: Item, content: Contents, share: float, right: int, inside: int) -> None:
    """`share` of foreground in the mask; `right` of the `inside` pixels of objects are on it."""
    file = item.instances
    if isinstance(file, Path) and file.suffix.lower() in _LOSSY and (content.numbers or 0) > 1:
        raise UserError(
            f"instances '{file}' hold {content.numbers} different numbers, but a JPEG changes"
            " numbers; save instances as PNG or TIFF, without smoothing, or remove the files"
        )
    if not inside or share >= 0.99:
        return
    agreement = (right / inside - share) / (1 - share)
    if agreement < AGREES:
        raise UserError(
            f"instances {describe(file or item.mask)} lie on the background of mask"
            f" {describe(item.mask)} (only {right / inside:.0%} of their pixels are foreground):"
            " they belong to another image or number the background; save 0 where there is no"
            " object, or remove the file"
        )


def _class_of(value: int, classes: Classes) -> int:
    return classes.values.get(value, IGNORE)


def file_notes(contents: Sequence[Contents]) -> list[str]:
    """Notes on what was assumed about image and mask files."""
    return [*_image_notes(contents), *_mask_notes(contents)]


def _image_notes(contents: Sequence[Contents]) -> Iterator[str]:
    total = len(contents)
    many = [c for c in contents if c.channels not in (1, 3)]
    if many:
        first = many[0]
        names = f" ({', '.join(first.names)})" if first.names else ""
        which = "0, 1 and 2 are" if first.channels > 2 else "0 and 1 are"
        yield (
            f"{len(many)} of {total} images have {first.channels} channels{names}: {which} read as"
            f" red, green{' and blue' * (first.channels > 2)}; choose others with --channels"
        )
    if turned := sum(content.turned for content in contents):
        yield f"{turned} of {total} images are turned as their EXIF or TIFF tag says"
    if narrowed := sum(content.narrowed for content in contents):
        yield f"{narrowed} of {total} images are PNG with 16 bits per colour: the upper 8 are read"
    if lost := sum(content.lost for content in contents):
        yield f"{counted(lost, 'pixel')} of images are NaN or infinite: unlabelled, and shown black"
    bars = Counter(content.bar for content in contents if content.bar)
    if bars:
        rows = f"{min(bars)} to {max(bars)}" if len(bars) > 1 else f"{max(bars)}"
        yield (
            f"{sum(bars.values())} of {total} images have an information bar at the bottom ({rows}"
            f" rows), which is read as part of the image; --crop bottom={max(bars)} cuts as many"
            " rows off every image"
        )


def _mask_notes(contents: Sequence[Contents]) -> Iterator[str]:
    total = len(contents)
    if alpha := sum(bool(content.alpha) for content in contents):
        yield f"the label of {alpha} of {total} masks is their alpha channel"
    if inverted := sum(content.white_is_zero for content in contents):
        yield (
            f"{inverted} of {total} masks are TIFF where white is zero: two-valued ones are read as"
            " shown, others as stored"
        )
    colours: dict[int, tuple[int, ...]] = {}
    for content in contents:
        if content.colours.get(0) == (255, 255, 255) and content.colours.get(1) == (0, 0, 0):
            yield "masks have a palette where 0 is white and 1 is black: read as shown, white is 1"
            return
        for value, colour in content.colours.items():
            if colours.setdefault(value, colour) != colour:
                yield (
                    f"index {show_value(value)} has different colours in different masks: classes "
                    "follow the index, so check that it always means the same"
                )
                return
