"""Any folder of images and masks as a collection.

`images/` and `masks/` hold files of the same stem; see `IMAGES`, `MASKS` and `_ENDINGS` for other
names, `bench.data.folder.sidecars` for optional files, and `bench.data.decode` for the formats. All
files are decoded once here, so that errors appear before training.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.data.folder.checks import check_alpha, check_declared, check_instances, file_notes
from bench.data.folder.guess import guess_classes
from bench.data.folder.sidecars import (
    SIDECARS,
    read_classes,
    read_groups,
    read_meta,
    read_split,
)
from bench.data.inspected import inspect_all
from bench.data.items import Collection, Item
from bench.data.raster import SUFFIXES
from bench.data.selection import WHOLE, Selection
from bench.errors import UserError
from bench.wording import counted, nfc

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation")
INSTANCES = ("instances", "instance")
_FOLDERS = (IMAGES, MASKS, INSTANCES)
_ENDINGS = re.compile(
    r"[-_. ](images?|img|masks?|labels?|gt|seg|segmentation|annotations?|instances?)$", re.I
)


def read_folder(path: str | Path, selection: Selection = WHOLE) -> Collection:
    """Read and check a folder of labelled images.

    Args:
        path: a folder with the subfolders images/ and masks/ (or another name in `IMAGES`,
            `MASKS`); "~" is not expanded.
        selection: channels and frame of the images; masks and instances have the frame already, or
            are cropped likewise.

    Returns:
        The collection, named as the folder, items in the order of their file names; they refer to
        the files. Its `notes` say what was assumed, and `left_out` which files are not used; images
        without a mask are among these, if they are not more than half of all.

    Raises:
        UserError: the first fault of a file, and how to correct it.
        OSError: a folder or an optional file cannot be opened.
    """
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"'{root}' is not a folder; name one that holds images/ and masks/")
    meta = read_meta(root)
    left_out: list[str] = []
    pairs, unmasked = _pairs(root, left_out)
    groups = read_groups(root, meta, {*pairs, *unmasked})
    instances = _instances(root, pairs, left_out)
    items = tuple(
        Item(
            *(name, image, mask, groups.get(name, name), instances.get(name)),
            selection=selection,
        )
        for name, (image, mask) in pairs.items()
    )
    contents = inspect_all(items)
    check_alpha(items, contents)
    stored = sorted({value for content in contents for value in content.values})
    declared = read_classes(root, meta, stored)
    if declared is None:
        classes = guess_classes(root, items, contents)
    else:
        classes = declared.complete(stored)
        check_declared(root, items, contents, classes)
    if classes.numbered and not instances:
        items = tuple(replace(item, instances=item.mask) for item in items)
        contents = inspect_all(items)
    notes = [*classes.notes, *file_notes(contents)]
    notes += check_instances(items, contents, classes)
    if not groups:
        notes.append("no specimen groups: each image counts as its own specimen")
    elif alone := sum(item.name not in groups for item in items):
        notes.append(
            f"{alone} of {len(items)} images have no specimen group: each counts as its own"
        )
    official, split_file = read_split(root, {*pairs, *unmasked}) or (None, None)
    if official is not None:
        notes.append(f"split as in {split_file}")
        official, lost = _without(official, unmasked)
        if lost:
            notes.append(f"{split_file} names {_some(lost, 'image')} without a mask: not used")
    return Collection(
        name=root.resolve().name,
        classes=classes.names,
        items=items,
        official=official,
        mask_values=classes.mask_values,
        licence=str(meta.get("licence", meta.get("license", ""))),
        source=str(meta.get("source", meta.get("origin", ""))),
        notes=tuple(notes),
        left_out=(*left_out, *_unknown_entries(root)),
        contents=contents,
    )


def _pairs(root: Path, left_out: list[str]) -> tuple[dict[str, tuple[Path, Path]], set[str]]:
    """Image and mask of each item, by name in sorted order; names of the images without a mask.

    Raises:
        UserError: there are no images, more than half of them have no mask, or a mask has no image.
    """
    images = _files(_subfolder(root, IMAGES), left_out)
    masks = _files(_subfolder(root, MASKS), left_out)
    if not images:
        raise UserError(f"'{root}' has no images; put {', '.join(sorted(SUFFIXES))} files there")
    matched = _match(images, masks)
    missing = {name: file for name, file in images.items() if name not in matched}
    if 2 * len(missing) > len(images):
        raise UserError(
            f"{len(missing)} of {len(images)} images have no mask, such as"
            f" '{next(iter(missing.values()))}'; add the masks under the same names, or remove the"
            " images"
        )
    used = set(matched.values())
    if spare := [mask for mask in masks.values() if mask not in used]:
        first = next(iter(missing.values()), None)
        lacking = f", and the image '{first}' has no mask" if missing else ""
        raise UserError(
            f"{len(spare)} of {len(masks)} masks have no image, such as '{spare[0]}'{lacking}; give"
            " image and mask the same name, or remove the masks"
        )
    if missing:
        names = [file.name for file in missing.values()]
        left_out.append(
            f"{next(iter(missing.values())).parent.name}/: {_some(names, 'image')} without a mask"
        )
    return {name: (images[name], mask) for name, mask in matched.items()}, set(missing)


def _without(
    parts: dict[str, tuple[str, ...]], names: set[str]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Parts of a split without some images, and those of them that it named."""
    kept = {part: tuple(n for n in some if n not in names) for part, some in parts.items()}
    return kept, [name for some in parts.values() for name in some if name in names]


def _instances(
    root: Path, pairs: dict[str, tuple[Path, Path]], left_out: list[str]
) -> dict[str, Path]:
    """Instance maps by name; an image may lack one."""
    folder = next((root / name for name in INSTANCES if (root / name).is_dir()), None)
    if folder is None:
        return {}
    files = _files(folder, left_out)
    matched = _match({name: image for name, (image, _) in pairs.items()}, files)
    used = set(matched.values())
    if spare := [file.name for file in files.values() if file not in used]:
        left_out.append(f"{folder.name}/: {_some(spare, 'map')} of no image that is used")
    return matched


def _subfolder(root: Path, names: Sequence[str]) -> Path:
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is None:
        entries = sorted(entry.name for entry in root.iterdir())
        holds = f"holds only {', '.join(entries[:8])}" if entries else "is empty"
        raise UserError(f"'{root}' {holds}; it needs a folder {names[0]}/ (or {names[1]}/)")
    return folder


def _files(folder: Path, left_out: list[str]) -> dict[str, Path]:
    """Image files by stem in NFC, in sorted order; what else there is is added to `left_out`."""
    files: dict[str, Path] = {}
    others: dict[str, list[str]] = {"folder": [], "hidden file": [], "file": []}
    for file in sorted(folder.iterdir()):
        if file.is_dir():
            others["folder"].append(file.name)
        elif file.name.startswith("."):
            others["hidden file"].append(file.name)
        elif file.suffix.lower() not in SUFFIXES:
            others["file"].append(file.name)
        elif (other := files.setdefault(nfc(file.stem), file)) is not file:
            raise UserError(f"'{other}' and '{file}' share one name; keep one or rename it")
    left_out += [f"{folder.name}/: {_some(names, kind)}" for kind, names in others.items() if names]
    return files


def _some(names: Sequence[str], kind: str) -> str:
    """A number of things with the first names, as "3 files (a.txt, b.txt, ...)"."""
    more = ", ..." if len(names) > 4 else ""
    return f"{counted(len(names), kind)} ({', '.join(names[:4])}{more})"


def _unknown_entries(root: Path) -> list[str]:
    """Files and folders next to images/ that are not read."""
    used = {next((name for name in some if (root / name).is_dir()), "") for some in _FOLDERS}
    entries = sorted(root.iterdir())
    folders = [entry.name for entry in entries if entry.is_dir() and entry.name not in used]
    files = [entry.name for entry in entries if entry.is_file() and entry.name not in SIDECARS]
    files = [name for name in files if not name.startswith((".", "README", "LICENSE"))]
    return [_some(names, kind) for names, kind in ((folders, "folder"), (files, "file")) if names]


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
