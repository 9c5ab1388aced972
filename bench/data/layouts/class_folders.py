"""One folder of masks for each class: masks/crack/a.png and masks/pore/a.png of images/a.png."""

import posixpath
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from bench.data.folder.mask_names import bare_folder, bare_stem, is_mask_folder
from bench.data.layouts.draft import Draft, Options, Report, Sample, class_table
from bench.data.layouts.pictures import size_of
from bench.data.layouts.source import Source, part_of, stem, unique_names
from bench.data.masks import read_mask
from bench.errors import UserError


def recognise(source: Source) -> str | None:
    """Why the folder looks like this: a folder of masks with at least two folders of classes."""
    classes = _classes(source)
    if len(classes) < 2:
        return None
    first = next(iter(classes.values()))[0]
    return f"'{posixpath.dirname(posixpath.dirname(first))}/' has a folder for each class"


def convert(source: Source, options: Options, report: Report) -> Draft:
    """One mask of all classes: what is not zero in the file of a class belongs to it.

    Where two classes overlap, the pixel belongs to the one with fewer pixels in the image. An image
    may lack the file of a class, but not of all.
    """
    classes = _classes(source)
    return Draft(class_table(list(classes), "this layout"), _samples(source, classes, report))


def _classes(source: Source) -> dict[str, list[str]]:
    """Mask files of each class, by the name of its folder, which lies in a folder of masks.

    Folders of one mask folder are classes only where their files have names in common, and where
    no folder of images has the same name, as that of a patient would.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    elsewhere = set()
    for name in source.pictures:
        *_, parent, folder, _file = ["", "", *name.split("/")]
        if is_mask_folder(parent) and not part_of(folder):
            folders[folder].append(name)
        else:
            elsewhere.add(folder)
    stems = {
        folder: {text for text, _ in _keys(folder, names)} for folder, names in folders.items()
    }
    shared = [
        folder
        for folder in folders
        if folder not in elsewhere
        and any(stems[folder] & stems[other] for other in folders if other != folder)
    ]
    return {folder: folders[folder] for folder in shared}


def _keys(folder: str, names: list[str]) -> list[tuple[str, str]]:
    """The name of the image of each mask file of a class, and the file.

    The name is without endings that all files share: usual ones for masks, the name of the class,
    or a last word as in "a_MA".
    """
    stems = [bare_stem(stem(name)).casefold() for name in names]
    endings = {text.rpartition("_")[2] for text in stems}
    if len(endings) == 1 and len(names) > 1:
        stems = [text.rpartition("_")[0] for text in stems]
    ending = f"_{folder.casefold()}"
    return [(text.removesuffix(ending), name) for text, name in zip(stems, names, strict=True)]


def _match(
    source: Source, classes: dict[str, list[str]], report: Report
) -> dict[str, dict[str, str]]:
    """Mask files by class of each image: of its name in the folder beside, else of it anywhere."""
    files = {name for names in classes.values() for name in names}
    by_key: dict[tuple[str, str], list[str]] = defaultdict(list)
    by_text: dict[str, list[str]] = defaultdict(list)
    matched: dict[str, dict[str, str]] = {name: {} for name in source.pictures if name not in files}
    for name in matched:
        text = bare_stem(stem(name)).casefold()
        by_key[bare_folder(posixpath.dirname(name)), text].append(name)
        by_text[text].append(name)
    for folder, names in classes.items():
        for text, name in _keys(folder, names):
            above = posixpath.dirname(posixpath.dirname(name))
            part = part_of(above)
            elsewhere = [
                image
                for image in by_text[text]
                if part_of(posixpath.dirname(image)) in (part, "") or not part
            ]
            images = by_key[bare_folder(above), text] or elsewhere
            if not images:
                report.fault(name, "has no image of its name", "add the image")
            elif len(images) > 1:
                reason = f"could be the mask of '{images[0]}' or '{images[1]}'"
                report.fault(name, reason, "rename or remove one of them")
            elif folder in matched[images[0]]:
                reason = f"and '{matched[images[0]][folder]}' are masks of one class of one image"
                report.fault(name, reason, "join them or remove one")
            else:
                matched[images[0]][folder] = name
    return matched


def _samples(source: Source, classes: dict[str, list[str]], report: Report) -> Iterator[Sample]:
    matched = _match(source, classes, report)
    for name, parts in matched.items():
        if not parts:
            report.leave_out(name, "no mask")
    kept = {name: parts for name, parts in matched.items() if parts}
    unique = unique_names(kept)
    for name, parts in kept.items():
        size = size_of(source, name, report)
        mask = size and _combine(source, name, parts, list(classes), size, report)
        if mask is not None:
            yield Sample(
                unique[name],
                name,
                source.files[name],
                mask,
                None,
                "",
                part_of(posixpath.dirname(name)),
            )


def _combine(
    source: Source,
    name: str,
    parts: dict[str, str],
    order: list[str],
    size: tuple[int, int],
    report: Report,
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    inside = {}
    for folder, file in parts.items():
        try:
            values = read_mask(source.files[file])
        except UserError as error:
            report.fault(file, f"cannot be read: {error}", "replace it")
            return None
        if values.shape != size:
            reason = f"differs in size from '{name}'"
            report.fault(file, reason, "make them the same size")
            return None
        if np.unique(values).size > 2:
            reason = "holds more than two values, so it is not the mask of one class"
            report.fault(file, reason, "save 0 outside and 255 inside, without smoothing")
            return None
        inside[folder] = values != 0
    mask = np.zeros(size, np.uint8)
    for folder in sorted(inside, key=lambda folder: -int(inside[folder].sum())):
        report.counts["overlapping pixel"] += int((mask[inside[folder]] > 0).sum())
        mask[inside[folder]] = order.index(folder) + 1
    return mask
