"""One mask file for each object, in a folder for each image (Data Science Bowl 2018)."""

import posixpath
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from bench.data.layouts.draft import Draft, Options, Report, Sample, class_table
from bench.data.layouts.pictures import size_of
from bench.data.layouts.shapes import paint, region
from bench.data.layouts.source import Source, part_of, unique_names
from bench.data.masks import read_mask
from bench.errors import UserError


def recognise(source: Source) -> str | None:
    """Why the folder looks like this: folders with one image in images/ and files in masks/."""
    folders = _folders(source)
    whole = [name for name, (images, masks) in folders.items() if len(images) == 1 and masks]
    if len(whole) < 1 or not any(len(folders[name][1]) > 1 for name in whole):
        return None
    return f"'{whole[0]}/' has one image in images/ and one mask file for each object in masks/"


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Masks of the class "object", and instances. Images without masks are left out."""
    return Draft(class_table(["object"], "this layout"), _samples(source, report))


def _folders(source: Source) -> dict[str, tuple[list[str], list[str]]]:
    """Files of images/ and of masks/, by the folder that holds both; the root is not one."""
    folders: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for name in source.pictures:
        parent, _, kind = posixpath.dirname(name).rpartition("/")
        if parent and kind.lower() in ("images", "masks"):
            folders[parent][kind.lower() == "masks"].append(name)
    return folders


def _samples(source: Source, report: Report) -> Iterator[Sample]:
    kept: dict[str, list[str]] = {}
    for folder, (images, masks) in _folders(source).items():
        if len(images) != 1:
            reason = f"has {len(images)} images"
            report.fault(folder, reason, "keep one image in each folder images/")
        elif not masks:
            report.leave_out(images[0], "no masks")
        else:
            kept[images[0]] = masks
    names = unique_names(kept)
    for image, masks in kept.items():
        size = size_of(source, image, report)
        if size is None:
            continue
        shapes = []
        for mask in masks:
            try:
                inside = read_mask(source.files[mask])
            except UserError as error:
                report.fault(mask, f"cannot be read: {error}", "replace it")
                break
            if inside.shape != size:
                reason = f"is {inside.shape[1]} x {inside.shape[0]} pixels but the image is "
                report.fault(mask, f"{reason}{size[1]} x {size[0]}", "make them the same size")
                break
            if np.unique(inside).size > 2:
                reason = "holds more than two values, so it is not the mask of one object"
                report.fault(mask, reason, "save each object as its own file of 0 and 255")
                break
            shapes.append(region(1, inside))
        else:
            label, numbers = paint(shapes, *size, report)
            yield Sample(
                names[image],
                image,
                source.files[image],
                label,
                numbers,
                "",
                part_of(posixpath.dirname(image)),
            )
