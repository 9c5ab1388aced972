"""Any folder of images and masks as a collection.

`images/` and `masks/` hold files of the same stem; see `bench.data.folder.files` for other names,
`bench.data.folder.sidecars` for optional files, and `bench.data.decode` for the formats. All files
are decoded once here, so that errors appear before training.
"""

from dataclasses import replace
from pathlib import Path

from bench.data.contents import inspect_all
from bench.data.folder.checks import (
    check_alpha,
    check_declared,
    check_images,
    check_instances,
    file_notes,
)
from bench.data.folder.files import (
    IMAGES,
    INSTANCES,
    MASKS,
    find_folder,
    image_files,
    mask_folders,
    match,
    need_folder,
    some,
    unknown_entries,
)
from bench.data.folder.guess import guess_classes
from bench.data.folder.sidecars import (
    read_classes,
    read_groups,
    read_meta,
    read_split,
)
from bench.data.items import Collection, Item
from bench.data.raster import SUFFIXES
from bench.data.selection import WHOLE, Selection
from bench.errors import UserError
from bench.wording import counted, nfc


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
    check_images(items, contents)
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
    notes += _renamed(pairs)
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
            notes.append(f"{split_file} names {some(lost, 'image')} without a mask: not used")
    return Collection(
        name=root.resolve().name,
        classes=classes.names,
        items=items,
        official=official,
        mask_values=classes.mask_values,
        licence=str(meta.get("licence", meta.get("license", ""))),
        source=str(meta.get("source", meta.get("origin", ""))),
        notes=tuple(notes),
        left_out=(*left_out, *unknown_entries(root)),
        contents=contents,
    )


def _pairs(root: Path, left_out: list[str]) -> tuple[dict[str, tuple[Path, Path]], set[str]]:
    """Image and mask of each item, by name in sorted order; names of the images without a mask.

    Raises:
        UserError: there are no images, more than half of them have no mask, or a mask has no image.
    """
    images = image_files(need_folder(root, IMAGES), left_out)
    if len(several := mask_folders(root)) > 1:
        raise UserError(
            f"'{root}' has {len(several)} folders of masks,"
            f" {', '.join(repr(folder.name) for folder in several)}: keep the right one as masks/"
            " and move the others out of the folder"
        )
    masks = image_files(need_folder(root, MASKS), left_out)
    if not images:
        raise UserError(f"'{root}' has no images; put {', '.join(sorted(SUFFIXES))} files there")
    matched = match(images, masks)
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
            f"{next(iter(missing.values())).parent.name}/: {some(names, 'image')} without a mask"
        )
    return {name: (images[name], mask) for name, mask in matched.items()}, set(missing)


def _renamed(pairs: dict[str, tuple[Path, Path]]) -> list[str]:
    """A note on masks whose names are not those of their images; empty if there are none."""
    others = [(image, mask) for name, (image, mask) in pairs.items() if nfc(mask.stem) != name]
    if not others:
        return []
    image, mask = others[0]
    number = counted(len(others), "mask")
    return [f"{number} found by similar names, such as '{mask.name}' for '{image.name}'"]


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
    folder = find_folder(root, INSTANCES)
    if folder is None:
        return {}
    files = image_files(folder, left_out)
    matched = match({name: image for name, (image, _) in pairs.items()}, files)
    used = set(matched.values())
    if spare := [file.name for file in files.values() if file not in used]:
        left_out.append(f"{folder.name}/: {some(spare, 'map')} of no image that is used")
    return matched
