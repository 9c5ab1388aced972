"""Which files of a folder are images and masks, and which mask belongs to which image."""

import posixpath
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bench.data.folder.mask_names import bare_stem, is_mask_folder
from bench.data.folder.sidecars import SIDECARS
from bench.data.raster import SUFFIXES
from bench.errors import UserError
from bench.files import check_regular, is_text, quote
from bench.wording import counted, nfc

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation")
INSTANCES = ("instances", "instance")


def find_folder(root: Path, names: Sequence[str]) -> Path | None:
    """The subfolder with the first of some names that is there, in any letters; None for none.

    Args:
        root: the folder.
        names: in small letters.

    Raises:
        UserError: two folders differ only in large and small letters.
    """
    folders = [entry for entry in sorted(root.iterdir()) if entry.is_dir()]
    for name in names:
        same = [folder for folder in folders if folder.name.casefold() == name]
        if len(same) > 1:
            raise UserError(f"'{same[0]}' and '{same[1]}' have one name; join or rename them")
        if same:
            return same[0]
    return None


def need_folder(root: Path, names: Sequence[str]) -> Path:
    """As `find_folder`, for a folder that must be there.

    Raises:
        UserError: it is not; the message names the folder to give instead, where there is one.
    """
    if folder := find_folder(root, names):
        return folder
    entries = sorted(entry.name for entry in root.iterdir())
    holds = f"holds only {', '.join(entries[:8])}" if entries else "is empty"
    whole = root.resolve()
    above = whole.name.casefold() in (*IMAGES, *MASKS) and find_folder(whole.parent, IMAGES)
    inside = [entry for entry in sorted(root.iterdir()) if entry.is_dir() and _is_whole(entry)]
    inside = [entry for entry in inside if len(mask_folders(entry)) == 1]
    better = ""
    if above and _is_whole(whole.parent):
        better = f"; give the folder above, '{whole.parent}'"
    elif len(inside) == 1:
        better = f"; give '{inside[0]}' instead"
    raise UserError(f"'{root}' {holds}; it needs a folder {names[0]}/ (or {names[1]}/){better}")


def mask_folders(root: Path) -> list[Path]:
    """Folders next to images/ that hold image files and are named like masks, without instances."""
    return [
        entry
        for entry in sorted(root.iterdir())
        if entry.is_dir()
        and is_mask_folder(entry.name)
        and entry.name.casefold() not in INSTANCES
        and any(file.suffix.lower() in {*SUFFIXES, ".gif"} for file in entry.iterdir())
    ]


def _is_whole(folder: Path) -> bool:
    return bool(find_folder(folder, IMAGES) and find_folder(folder, MASKS))


def image_files(folder: Path, left_out: list[str]) -> dict[str, Path]:
    """Image files by stem in NFC, in sorted order; what else there is is added to `left_out`.

    Raises:
        UserError: two files have one stem, a name is not UTF-8, or a file is a pipe or a device.
    """
    files: dict[str, Path] = {}
    others: dict[str, list[str]] = {"folder": [], "hidden file": [], "file": []}
    for file in sorted(folder.iterdir()):
        if not is_text(file.name):
            raise UserError(f"the name of {quote(file)} is not UTF-8; rename the file")
        if file.suffix.lower() in SUFFIXES and not file.is_dir():
            check_regular(file)
        if file.is_dir():
            others["folder"].append(file.name)
        elif file.name.startswith("."):
            others["hidden file"].append(file.name)
        elif file.suffix.lower() not in SUFFIXES:
            others["file"].append(file.name)
        elif (other := files.setdefault(nfc(file.stem), file)) is not file:
            raise UserError(f"'{other}' and '{file}' share one name; keep one or rename it")
    left_out += [f"{folder.name}/: {some(names, kind)}" for kind, names in others.items() if names]
    return files


def match(images: dict[str, Path], others: dict[str, Path]) -> dict[str, Path]:
    """The mask, or instance map, that belongs to each image, in the order of the images.

    A file of the same stem counts first. Else stems are compared without usual prefixes and
    suffixes (`bench.data.folder.mask_names`), without the suffix of an image inside the name (as in
    a.jpg.png) and in small letters.

    Args:
        images: files by stem.
        others: likewise.

    Raises:
        UserError: two files belong to one image, or one to two images.
    """
    files: dict[str, Path] = {}
    for stem, file in others.items():
        if stem not in images and (other := files.setdefault(_key(stem), file)) is not file:
            raise UserError(f"'{other}' and '{file}' belong to one image; keep one of them")
    matched: dict[str, Path] = {}
    taken: dict[Path, list[Path]] = defaultdict(list)
    for stem, image in images.items():
        belonging = others.get(stem) or files.get(_key(stem))
        if belonging is not None:
            matched[stem] = belonging
            taken[belonging].append(image)
    for file, several in taken.items():
        if len(several) > 1:
            raise UserError(
                f"'{file}' may belong to '{several[0]}' or to '{several[1]}'; give it the name of"
                " its image"
            )
    return matched


def _key(stem: str) -> str:
    """What the names of an image and of its mask have in common."""
    name, suffix = posixpath.splitext(stem)
    stem = name if suffix.lower() in {*SUFFIXES, ".ome"} and name else stem
    return (bare_stem(stem) or stem).casefold()


def some(names: Sequence[str], kind: str) -> str:
    """A number of things with the first names, as "3 files (a.txt, b.txt, ...)"."""
    more = ", ..." if len(names) > 4 else ""
    return f"{counted(len(names), kind)} ({', '.join(names[:4])}{more})"


def unknown_entries(root: Path) -> list[str]:
    """Files and folders next to images/ that are not read, in words."""
    used = {find_folder(root, names) for names in (IMAGES, MASKS, INSTANCES)}
    entries = sorted(root.iterdir())
    folders = [entry.name for entry in entries if entry.is_dir() and entry not in used]
    files = [entry.name for entry in entries if entry.is_file() and entry.name not in SIDECARS]
    files = [name for name in files if not name.startswith((".", "README", "LICENSE"))]
    return [some(names, kind) for names, kind in ((folders, "folder"), (files, "file")) if names]
