"""NumPy and MATLAB files: image and mask in each .npz or .mat file, or all images in one array.

Names of arrays say what they hold: image, img, x, data or raw; mask, label, y, seg or gt; with
train, val or test before or after them for the parts (train_images.npy, y_test).
"""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.data.folder.mask_names import bare_folder
from bench.data.layouts import matlab
from bench.data.layouts.draft import Draft, Options, Report, Sample
from bench.data.layouts.pictures import Stack, as_planes
from bench.data.layouts.planes import Place, samples_of
from bench.data.layouts.source import Source, part_of, stem, unique_names
from bench.data.raster import UNREADABLE
from bench.errors import UserError

_IMAGE = re.compile(r"(images?|imgs?|x|data|raw|inputs?)$", re.I)
_MASK = re.compile(r"(masks?|labels?|y|segs?|segmentations?|gts?|targets?)$", re.I)
_PART = re.compile(r"(?:^|[ _-])(train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?)(?:$|[ _-])", re.I)


def recognise(source: Source) -> str | None:
    """Why the folder looks like arrays: names of arrays in .npz files, or a pair of .npy files."""
    for name in (*source.with_suffix(".npz")[:20], *source.with_suffix(matlab.SUFFIX)[:3]):
        for image, mask, _ in _pairs(_names(source, name)):
            return f"'{name}' holds the arrays '{image}' and '{mask}'"
    for image, mask, _, _ in _sets(source):
        return f"'{image}' and '{mask}' are arrays of images and of masks"
    return None


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Images of the arrays; the first of three or four axes counts images or slices.

    Slices of a file with one image become a volume, and the images of an array of many are single
    images.

    Raises:
        UserError: arrays differ in length, or hold no numbers.
    """
    table: dict[str, int | str] | None = None
    if options.instances:
        table = {"background": 0, "object": 1}
    return Draft(table, _samples(source, options, report))


def _names(source: Source, name: str) -> list[str]:
    try:
        return list(_read(source, name))
    except (*UNREADABLE, UserError):
        return []


def _read(source: Source, name: str) -> dict[str, Any]:
    """The arrays of images and masks in a file, by name."""
    if name.lower().endswith(matlab.SUFFIX):
        held = matlab.read_arrays(source.files[name])
        return {key: matlab.as_first_axis(array) for key, array in held.items()}
    with np.load(source.files[name], allow_pickle=False) as archive:
        used = [key for *keys, _ in _pairs(list(archive)) for key in keys]
        return {key: archive[key] for key in used}


def _pairs(names: list[str]) -> Iterator[tuple[str, str, str]]:
    """Names of the arrays of images and of masks of each part."""
    for part in ("", "train", "val", "test"):
        of_part = [name for name in names if _split_name(name)[1] == part]
        images = [name for name in of_part if _IMAGE.match(_split_name(name)[0])]
        masks = [name for name in of_part if _MASK.match(_split_name(name)[0])]
        if len(images) == 1 and len(masks) == 1:
            yield images[0], masks[0], part


def _sets(source: Source) -> Iterator[tuple[str, str, str, str]]:
    """Each .npy file of images and that of its masks, with a name and the part of the images.

    Where two files have one name, as in train/x.npy and test/x.npy, folders are sets of their own.
    """
    names = source.with_suffix(".npy")
    several = len({stem(name) for name in names}) < len(names)
    folders: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        folder = bare_folder(posixpath.dirname(name)) if several else ""
        folders[folder][stem(name)] = name
    for folder, files in folders.items():
        for image, mask, part in _pairs(list(files)):
            words = [*folder.split("/"), part] if folder else [part]
            prefix = "_".join(word for word in words if word) or "image"
            yield files[image], files[mask], prefix, part or part_of(folder)


def _split_name(name: str) -> tuple[str, str]:
    """What an array holds, and its part."""
    match = _PART.search(name)
    if not match:
        return name, ""
    rest = f"{name[: match.start()]}{name[match.end() :]}".strip(" _-")
    return rest, part_of(match[1].lower())


def _samples(source: Source, options: Options, report: Report) -> Iterator[Sample]:
    archives = source.with_suffix(".npz", matlab.SUFFIX)
    names = unique_names(archives)
    for name in archives:
        try:
            held = _read(source, name)
            pairs = [(held[x], held[y], part) for x, y, part in _pairs(list(held))]
        except (*UNREADABLE, UserError) as error:
            report.fault(name, f"cannot be read ({error})", "save it without Python objects")
            continue
        if not pairs:
            report.leave_out(name, "no arrays called image and mask")
        for images, masks, part in pairs:
            part = part or part_of(posixpath.dirname(name))
            prefix = f"{names[name]}_{part}" if len(pairs) > 1 else names[name]
            yield from _convert(prefix, name, images, masks, part, options, report)
    for image, mask, prefix, part in _sets(source):
        try:
            images = np.load(source.files[image], allow_pickle=False)
            masks = np.load(source.files[mask], allow_pickle=False)
        except UNREADABLE as error:
            report.fault(image, f"cannot be read ({error})", "save it anew")
            continue
        yield from _convert(prefix, image, images, masks, part, options, report, mask)


def _convert(
    prefix: str,
    name: str,
    images: Any,
    masks: Any,
    part: str,
    options: Options,
    report: Report,
    mask_name: str = "",
) -> Iterator[Sample]:
    if masks.ndim == images.ndim and masks.ndim > 2 and masks.shape[-1] == 1:
        masks = masks[..., 0]
    try:
        shown, stored = (
            Stack(as_planes(images, name, report)),
            Stack(_mask_planes(masks, mask_name or name)),
        )
    except UserError as error:
        report.fault(name, f"or its masks cannot be used: {error}", "save them anew")
        return
    loose = bool(part) or name.lower().endswith(".npy")
    place = Place(prefix, name, name, "", part, loose)
    yield from samples_of(place, shown, stored, options, report)


def _mask_planes(masks: Any, name: str) -> Any:
    """Planes (N, H, W) of masks."""
    if masks.ndim not in (2, 3) or masks.dtype.kind not in "buif":
        raise UserError(
            f"'{name}' has masks of the shape {masks.shape} and type {masks.dtype}; save class "
            "indices (H, W) or (N, H, W)"
        )
    return masks[None] if masks.ndim == 2 else masks
