"""Image files and mask files of one name, next to each other or in folders of one shape.

One folder for each patient, train/val/test folders, prefixes and suffixes of masks, and all formats
of `bench.data.layouts.pictures` are understood.
"""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from bench.data.folder.mask_names import (
    bare_folder,
    bare_stem,
    is_instance_name,
    is_mask_folder,
    is_mask_stem,
    numbered_stem,
)
from bench.data.layouts import class_folders
from bench.data.layouts.draft import Draft, Options, Report, Sample
from bench.data.layouts.groups import FEW_FOLDERS, own_folder
from bench.data.layouts.pictures import Stack, is_stack, read_objects, read_stack
from bench.data.layouts.planes import Place, samples_of
from bench.data.layouts.source import Source, matches, part_of, stem, unique_names
from bench.data.masks import read_mask
from bench.data.raster import SUFFIXES
from bench.errors import UserError

_SETS = ("|", "|train", "|val", "|test")  # one array of all images: `bench.data.layouts.arrays`


@dataclass
class _Files:
    """Image files, and masks and instance maps of each."""

    images: list[str] = field(default_factory=list)
    masks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    instances: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    lone_masks: list[str] = field(default_factory=list)


def recognise(source: Source) -> str | None:
    """Why the folder looks like pairs: an image and the mask that has its name."""
    if class_folders.recognise(source):
        return None  # several masks of one image
    files = _match(source, Options())
    for labels in (files.masks, files.instances):
        for image, names in labels.items():
            if not (image.endswith(".npy") and _key(image, "") in _SETS):
                return f"'{names[0]}' is named like a mask of '{image}'"
    return None


def is_own_layout(source: Source) -> bool:
    """Whether the folder is in the layout of `bench.data.folder`: single images, equal names.

    Some images may lack a mask, at most half of them.
    """
    stems: dict[str, set[str]] = {"images": set(), "masks": set(), "instances": set()}
    for name in source.pictures:
        folder = posixpath.dirname(name)
        if folder not in stems or posixpath.splitext(name)[1].lower() not in SUFFIXES:
            return False
        if is_stack(source.files[name]):
            return False
        stems[folder].add(stem(name))
    images, masks = stems["images"], stems["masks"]
    return bool(images) and masks <= images and 2 * len(masks) >= len(images)


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Masks as they are stored: they carry no names of classes. Single images are copied.

    Raises:
        UserError: an image has several masks, it is not clear whether folders are specimens, or a
            mask has no image.
    """
    files = _match(source, options)
    if not files.masks and not files.instances:
        raise UserError(
            f"no image in '{source.root}' has a mask of its name; name the mask files with "
            '--masks GLOB, such as --masks "*_roi.png"'
        )
    for name in files.lone_masks:
        report.fault(name, "is named like a mask but has no image", "add the image")
    for name in files.images:
        if name not in files.masks and name not in files.instances:
            report.leave_out(name, "no mask")
    if files.masks and not options.instances:
        for name in [name for name in files.instances if name not in files.masks]:
            reason = "has numbers of objects but no mask of classes, as other images have"
            report.fault(name, reason, "add its mask, or add --instances for one class of objects")
            del files.instances[name]
    groups = _groups(files, options, report)
    only_instances = options.instances or not files.masks
    table: dict[str, int | str] | None = None
    if only_instances:
        table = {"background": 0, "object": 1}
    return Draft(table, _samples(source, files, groups, options, report))


def _match(source: Source, options: Options) -> _Files:
    files = _Files()
    keys: dict[str, str] = {}
    labels: list[tuple[str, str]] = []
    for name in source.pictures:
        if options.masks and matches(name, options.masks):
            labels.append((name, _key(name, options.masks)))
        elif _is_mask(name):
            if not options.masks:
                labels.append((name, _key(name, "")))
        elif not options.images or matches(name, options.images):
            files.images.append(name)
            keys[name] = _key(name, options.images)
    by_key: dict[str, list[str]] = defaultdict(list)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name, key in keys.items():
        by_key[key].append(name)
        by_stem[key.rpartition("|")[2]].append(name)
    for name, key in labels:
        image = _image_of(name, key, by_key, by_stem)
        if image is None:
            files.lone_masks.append(name)
        elif is_instance_name(stem(name)) or any(map(is_instance_name, name.split("/")[:-1])):
            files.instances[image].append(name)
        else:
            files.masks[image].append(name)
    return files


def _image_of(
    name: str, key: str, by_key: dict[str, list[str]], by_stem: dict[str, list[str]]
) -> str | None:
    """The image of a mask: of its name in the folder beside, else of its name anywhere."""
    folder, _, bare = key.rpartition("|")
    several = numbered_stem(stem(name))
    for other in (bare, None if several is None else bare_stem(several).casefold()):
        if other is not None:
            elsewhere = by_stem.get(other, []) if other else []
            part = part_of(posixpath.dirname(name))
            fits = [n for n in elsewhere if part_of(posixpath.dirname(n)) in (part, "") or not part]
            images = by_key.get(f"{folder}|{other}") or fits
            if len(images) > 1:
                raise UserError(
                    f"'{name}' could be the mask of '{images[0]}' or '{images[1]}'; name the "
                    "images with --images GLOB or the masks with --masks GLOB"
                )
            if images:
                return images[0]
    return None


def _key(name: str, glob: str) -> str:
    """What the names of an image and its mask have in common: "folder|name"."""
    text = stem(name)
    pattern = posixpath.basename(glob)
    if pattern.count("*") == 1 and pattern != "*":
        before, after = map(re.escape, pattern.split("*"))
        if match := re.fullmatch(f"{before}(.*){after}", posixpath.basename(name), re.I):
            text = re.sub(r"\.$", "", match[1]) if pattern.startswith("*") else stem(match[1])
    return f"{bare_folder(posixpath.dirname(name))}|{bare_stem(text).casefold()}"


def _is_mask(name: str) -> bool:
    *folders, _ = name.split("/")
    return any(map(is_mask_folder, folders)) or is_mask_stem(stem(name))


def _groups(files: _Files, options: Options, report: Report) -> dict[str, str]:
    """The folder of each image as its specimen, where there are enough folders to be sure."""
    if options.groups:
        return {}
    folders = {name: own_folder(name) for name in {*files.masks, *files.instances}}
    distinct = sorted(set(folders.values()))
    if len(distinct) < 2:
        return {}
    shown = ", ".join(f"'{folder or '.'}'" for folder in distinct[:3])
    if len(distinct) < FEW_FOLDERS:
        raise UserError(
            f"images are in {len(distinct)} folders ({shown}): add --groups folders if each is one "
            "specimen (patient, sample), or --groups none if they are kinds of images"
        )
    report.note(
        f"each of {len(distinct)} folders ({shown}, ...) is one specimen (otherwise: --groups none)"
    )
    return folders


def _samples(
    source: Source, files: _Files, groups: dict[str, str], options: Options, report: Report
) -> Iterator[Sample]:
    labelled = [name for name in files.images if name in files.masks or name in files.instances]
    names = unique_names(labelled)
    for image in labelled:
        masks, instances = files.masks.get(image, []), files.instances.get(image, [])
        for several in (masks, instances):
            _refuse_two(image, several)
        try:
            stack = read_stack(source, image, report)
            mask = _mask(source, masks or instances, report)
            objects = None
            if masks and instances:
                objects = read_stack(source, instances[0], report)
            elif masks:
                objects = read_objects(source, masks[0])
        except UserError as error:
            report.fault(image, f"or its mask cannot be read: {error}", "replace the file")
            continue
        if objects is not None and len(objects.planes) != len(mask.planes):
            reason = f"holds {len(objects.planes)} planes but the mask has {len(mask.planes)}"
            report.fault((instances or masks)[0], reason, "correct the files")
            continue
        part = part_of(posixpath.dirname(image))
        place = Place(names[image], image, (masks or instances)[0], groups.get(image, ""), part)
        as_objects = replace(options, instances=options.instances or not masks)
        for number, sample in enumerate(samples_of(place, stack, mask, as_objects, report)):
            if objects is None:
                yield sample
            else:
                yield replace(sample, instances=_plane(objects, number))


def _plane(objects: Stack, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    plane: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = objects.planes[number]
    return plane


def _refuse_two(image: str, masks: list[str]) -> None:
    whole = [name for name in masks if numbered_stem(stem(name)) is None]
    if len(whole) > 1:
        raise UserError(
            f"'{image}' has two masks, '{whole[0]}' and '{whole[1]}'; say which files are the "
            f'masks, as in --masks "{_glob(whole[0])}"'
        )


def _glob(name: str) -> str:
    """A glob for files like this one: its folder where that is named for masks, else its ending."""
    folder, _, file = name.rpartition("/")
    if is_mask_folder(posixpath.basename(folder)):
        return f"{posixpath.basename(folder)}/*"
    bare = bare_stem(stem(file))
    return file.replace(bare, "*", 1) if bare else file


def _mask(source: Source, names: list[str], report: Report) -> Stack:
    """The mask of an image; several numbered ones, each of one object, become one."""
    if len(names) == 1:
        return read_stack(source, names[0], report)
    layers = [read_mask(source.files[name]) for name in names]
    if any(layer.shape != layers[0].shape or np.unique(layer).size > 2 for layer in layers):
        raise UserError(
            f"'{names[0]}' and '{names[1]}' are not masks of 0 and 255 of one size; join them"
        )
    report.note(
        f"several numbered masks of one image, such as '{names[1]}', became one mask", "numbered"
    )
    joined = np.maximum.reduce(layers)
    return Stack(joined[None])
