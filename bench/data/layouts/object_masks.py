"""One mask file for each object, in a folder for each image (Data Science Bowl 2018)."""

import posixpath
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import numpy as np

from bench.data.layouts.draft import Draft, Options, Report, Sample, class_table
from bench.data.layouts.shapes import Canvas, Drawing, FaultyImageError, Shape, draw_samples, region
from bench.data.layouts.source import Source
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
    drawings: dict[str, Drawing] = {}
    for folder, (images, masks) in _folders(source).items():
        if len(images) != 1:
            reason = f"has {len(images)} images"
            report.fault(folder, reason, "keep one image in each folder images/")
        elif not masks:
            report.leave_out(images[0], "no masks")
        else:
            drawings[images[0]] = Drawing(partial(_shapes, source, masks))
    return draw_samples(source, drawings, report, counts_empty=False)


def _shapes(source: Source, masks: list[str], canvas: Canvas) -> list[Shape]:
    """The objects of an image, one of each file."""
    shapes = []
    for mask in masks:
        try:
            inside = read_mask(source.files[mask])
        except UserError as error:
            raise FaultyImageError(f"cannot be read: {error}", "replace it", mask) from error
        if inside.shape != (canvas.height, canvas.width):
            reason = f"is {inside.shape[1]} x {inside.shape[0]} pixels but the image is "
            reason += f"{canvas.width} x {canvas.height}"
            raise FaultyImageError(reason, "make them the same size", mask)
        if np.unique(inside).size > 2:
            reason = "holds more than two values, so it is not the mask of one object"
            remedy = "save each object as its own file of 0 and 255"
            raise FaultyImageError(reason, remedy, mask)
        shapes.append(region(1, inside))
    return shapes
