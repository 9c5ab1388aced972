"""Any folder of images and masks as a collection.

`images/` and `masks/` hold files of the same stem; see `IMAGES`, `MASKS` and `_ENDINGS` for other
names, `bench.data.folder.sidecars` for optional files, and `bench.data.decode` for the formats. All
files are decoded once here, so that errors appear before training.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.data.decode import (
    SUFFIXES,
    check_sizes,
    load,
    mask_codes,
    read_image,
    read_instances,
    show_value,
    undeclared,
)
from bench.data.folder.classes import Classes, guess_classes
from bench.data.folder.sidecars import read_classes, read_groups, read_meta, read_split
from bench.data.items import Collection, Item
from bench.errors import UserError

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation")
INSTANCES = ("instances", "instance")

_LOSSY = frozenset({".jpg", ".jpeg"})
_ENDINGS = re.compile(
    r"[-_. ](images?|img|masks?|labels?|gt|seg|segmentation|annotations?|instances?)$", re.I
)


class _Contents(NamedTuple):
    """Stored values of one mask, and the colour of each in its palette."""

    values: list[int]
    colours: dict[int, tuple[int, ...]]


def read_folder(path: str | Path) -> Collection:
    """Read and check a folder of labelled images.

    Hidden files, files of other formats and instance maps without an image are left out silently.

    Args:
        path: a folder with the subfolders images/ and masks/ (or another name in `IMAGES`,
            `MASKS`); "~" is not expanded.

    Returns:
        The collection, named as the folder, items in the order of their file names; they refer to
        the files. Its `notes` say what was assumed.

    Raises:
        UserError: the first fault of a file, and how to correct it.
        OSError: a folder or an optional file cannot be opened.
    """
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"'{root}' is not a folder; name one that holds images/ and masks/")
    meta = read_meta(root)
    pairs = _pairs(root)
    groups = read_groups(root, meta, pairs.keys())
    instances = _instances(root, pairs)
    items = tuple(
        Item(name, image, mask, groups.get(name, name), instances.get(name))
        for name, (image, mask) in pairs.items()
    )
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        contents = list(pool.map(_inspect, items))
    classes = read_classes(root, meta) or _guess_classes(root, items, contents)
    for item, content in zip(items, contents, strict=True):
        if unknown := sorted(set(content.values) - classes.values.keys()):
            raise undeclared(item, unknown, classes.values)
    notes = [*classes.notes, *_palette_notes(contents)]
    if not groups:
        notes.append("no specimen groups: each image counts as its own specimen")
    elif alone := sum(item.name not in groups for item in items):
        notes.append(
            f"{alone} of {len(items)} images have no specimen group: each counts as its own"
        )
    official, split_file = read_split(root, pairs.keys()) or (None, None)
    if split_file:
        notes.append(f"split as in {split_file}")
    return Collection(
        name=root.resolve().name,
        classes=classes.names,
        items=items,
        official=official,
        mask_values=classes.mask_values,
        licence=str(meta.get("licence", meta.get("license", ""))),
        source=str(meta.get("source", meta.get("origin", ""))),
        notes=tuple(notes),
    )


def _pairs(root: Path) -> dict[str, tuple[Path, Path]]:
    """Image and mask of each item, by name in sorted order."""
    images = _files(_subfolder(root, IMAGES))
    masks = _files(_subfolder(root, MASKS))
    if not images:
        raise UserError(f"'{root}' has no images; put {', '.join(sorted(SUFFIXES))} files there")
    matched = _match(images, masks)
    if missing := [images[name] for name in images if name not in matched]:
        raise UserError(
            f"{len(missing)} of {len(images)} images have no mask, such as '{missing[0]}'; "
            "add the masks under the same names, or remove the images"
        )
    used = set(matched.values())
    if spare := [mask for mask in masks.values() if mask not in used]:
        raise UserError(
            f"{len(spare)} of {len(masks)} masks have no image, such as '{spare[0]}'; "
            "add the images under the same names, or remove the masks"
        )
    return {name: (images[name], matched[name]) for name in images}


def _instances(root: Path, pairs: dict[str, tuple[Path, Path]]) -> dict[str, Path]:
    """Instance maps by name; an image may lack one."""
    folder = next((root / name for name in INSTANCES if (root / name).is_dir()), None)
    if folder is None:
        return {}
    return _match({name: image for name, (image, _) in pairs.items()}, _files(folder))


def _subfolder(root: Path, names: Sequence[str]) -> Path:
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is None:
        entries = sorted(entry.name for entry in root.iterdir())
        holds = f"holds only {', '.join(entries[:8])}" if entries else "is empty"
        raise UserError(f"'{root}' {holds}; it needs a folder {names[0]}/ (or {names[1]}/)")
    return folder


def _files(folder: Path) -> dict[str, Path]:
    """Image files by stem, in sorted order, without hidden files and other formats."""
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in SUFFIXES or file.name.startswith(".") or file.is_dir():
            continue
        if (other := files.setdefault(file.stem, file)) is not file:
            raise UserError(f"'{other}' and '{file}' share one name; keep one or rename it")
    return files


def _match(images: dict[str, Path], others: dict[str, Path]) -> dict[str, Path]:
    """The file that belongs to each image: of the same stem, endings like _mask apart."""
    bare: dict[str, Path] = {}
    for stem, file in others.items():
        if stem in images:
            continue
        if (other := bare.setdefault(_ENDINGS.sub("", stem), file)) is not file:
            raise UserError(f"'{other}' and '{file}' belong to one image; keep one of them")
    matched = {stem: others.get(stem) or bare.get(_ENDINGS.sub("", stem)) for stem in images}
    return {stem: file for stem, file in matched.items() if file is not None}


def _inspect(item: Item) -> _Contents:
    """Decode all files of an item, compare their sizes, and list the values of its mask."""
    raster = load(item.mask)
    codes = mask_codes(raster.values, item.mask)
    image = read_image(item.image)
    check_sizes(item, image.shape[:2], codes.shape)
    if isinstance(item.instances, Path):
        _check_instances(item.instances, item.name, codes.shape)
    values = np.unique(codes).tolist()
    palette = raster.palette
    return _Contents(values, {} if palette is None else {v: tuple(palette[v]) for v in values})


def _check_instances(file: Path, name: str, shape: tuple[int, ...]) -> None:
    """Raise UserError unless the instance map of an image is readable, of its size, not lossy."""
    numbers = read_instances(file)
    if numbers.shape != shape:
        raise UserError(
            f"instances '{file}' differ in size from image '{name}'; "
            "make them the same size or remove the file"
        )
    if file.suffix.lower() in _LOSSY and (count := np.unique(numbers).size) > 2:
        raise UserError(
            f"instances '{file}' hold {count} different numbers, but a JPEG changes numbers; "
            "save instances as PNG or TIFF, without smoothing"
        )


def _guess_classes(root: Path, items: Sequence[Item], contents: Sequence[_Contents]) -> Classes:
    masks = (item.mask for item in items)
    lossy = (mask for mask in masks if isinstance(mask, Path) and mask.suffix.lower() in _LOSSY)
    return guess_classes([content.values for content in contents], next(lossy, None), root)


def _palette_notes(contents: Sequence[_Contents]) -> list[str]:
    """A warning where one index has different colours in different masks."""
    colours: dict[int, tuple[int, ...]] = {}
    for content in contents:
        for value, colour in content.colours.items():
            if colours.setdefault(value, colour) != colour:
                return [
                    f"index {show_value(value)} has different colours in different masks: classes "
                    "follow the index, so check that it always means the same"
                ]
    return []
