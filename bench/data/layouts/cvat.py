"""CVAT 1.1, for images or video: XML files with polygons, boxes, ellipses and run lengths."""

import posixpath
from collections.abc import Iterator
from functools import partial
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from bench.data.layouts.cvat_video import Record, records_of_tracks
from bench.data.layouts.draft import Draft, Options, Report, Sample, class_indices, class_table
from bench.data.layouts.shapes import (
    Canvas,
    Drawing,
    FaultyImageError,
    Points,
    Shape,
    as_ring,
    draw_samples,
    ellipse,
)
from bench.data.layouts.source import Source, part_of
from bench.errors import UserError

_AREAS = ("polygon", "box", "ellipse", "mask")
_REMEDY = "export it again"


def recognise(source: Source) -> str | None:
    """Why the folder looks like CVAT: an XML file <annotations> with <image> or <track>."""
    files = _files(source)
    return f"'{files[0]}' is an XML file of CVAT" if files else None


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Masks and instances; objects of a higher z_order are on top.

    Raises:
        UserError: the files hold no objects, frames of a video are not there, or an image or an
            object is faulty.
    """
    records: list[Record] = []
    names: list[str] = []
    for name in _files(source):
        root = ElementTree.fromstring(source.text(name))
        if root.find("track") is not None:
            records += records_of_tracks(source, name, root, report)
        names += [str(e.text) for e in root.iterfind("meta//label/name")]
        records += [Record(name, image) for image in root.iterfind("image")]
    used = [shape.get("label", "") for one in records for shape in one.image if _is_area(shape)]
    if not used:
        raise UserError("the XML files hold no polygons or masks; export an annotated task")
    names = list(dict.fromkeys(names)) or sorted(set(used))
    if unknown := sorted(set(used) - set(names)):
        raise UserError(f"label '{unknown[0]}' has objects but no entry in <labels>; export again")
    classes = [label for label in names if label in used]
    if idle := [label for label in names if label not in used]:
        report.note(f"labels without an object are no classes: {', '.join(idle)}")
    table = class_table(classes, "the XML file")
    return Draft(table, _samples(source, records, class_indices(classes), report))


def _is_area(shape: Element) -> bool:
    return shape.tag in _AREAS


def _files(source: Source) -> list[str]:
    files = []
    for name in source.with_suffix(".xml"):
        with source.files[name].open("rb") as file:
            if b"<annotations" not in file.read(4096):
                continue
        try:
            root = ElementTree.fromstring(source.text(name))
        except ElementTree.ParseError as error:
            raise UserError(f"'{name}' is not valid XML ({error}); export it again") from error
        if root.tag == "annotations" and (
            root.find("image") is not None or root.find("track") is not None
        ):
            files.append(name)
    return files


def _samples(
    source: Source, records: list[Record], indices: dict[str, int], report: Report
) -> Iterator[Sample]:
    drawings: dict[str, Drawing] = {}
    for record in records:
        label = record.image.get("name", "")
        file = source.find_picture(label, posixpath.dirname(record.file))
        if file is None:
            report.fault(label, f"is listed in '{record.file}' but is not there", "add the image")
        elif file in drawings:
            report.fault(label, "is listed twice", "keep one of the entries")
        else:
            draw = partial(_shapes, record.image, indices)
            part = part_of(record.image.get("subset", ""))
            drawings[file] = Drawing(draw, group=record.group, part=part)
    report.leave_out_others(source.pictures, drawings, "not listed in the XML file")
    return draw_samples(source, drawings, report)


def _shapes(record: Element, indices: dict[str, int], canvas: Canvas) -> list[Shape]:
    """The objects of an image."""
    size = str(canvas.height), str(canvas.width)
    declared = record.get("height", size[0]), record.get("width", size[1])
    if declared != size:
        raise FaultyImageError(
            f"is {size[1]} x {size[0]} pixels but the XML file says {declared[1]} x {declared[0]}",
            "export both from one task",
        )
    shapes = []
    for element in record:
        if _is_area(element):
            try:
                shapes.append(_shape(element, indices, canvas))
            except ValueError as error:
                reason = f"has a malformed {element.tag}"
                raise FaultyImageError(reason, _REMEDY) from error
        elif element.tag != "tag":
            canvas.report.counts[f"{element.tag} without an area, which is not drawn"] += 1
    return shapes


def _shape(element: Element, indices: dict[str, int], canvas: Canvas) -> Shape:
    """The pixels of an object; ValueError where a number is missing or not one."""
    index, level = indices[element.get("label", "")], int(element.get("z_order", "0"))
    if element.tag == "mask":
        return _mask(element, index, level, canvas)
    ring: Points | None
    if element.tag == "polygon":
        ring = as_ring([pair.split(",") for pair in str(element.get("points")).split(";")])
    elif element.tag == "box":
        left, top, right, bottom = (_number(element, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        ring = as_ring([(left, top), (right, top), (right, bottom), (left, bottom)])
    else:
        ring = as_ring(ellipse(*(_number(element, key) for key in ("cx", "cy", "rx", "ry"))))
    if ring is not None and (turned := float(element.get("rotation", "0"))):
        centre = (ring.min(0) + ring.max(0)) / 2
        angle = np.radians(turned)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        ring = (ring - centre) @ turn + centre
    return canvas.polygon(index, canvas.check([ring], _REMEDY), level)


def _number(element: Element, key: str) -> float:
    return float(str(element.get(key)))


def _mask(element: Element, index: int, level: int, canvas: Canvas) -> Shape:
    """Run lengths along the rows of a box, the first of pixels outside the object."""
    left, top, wide, high = (
        int(_number(element, key)) for key in ("left", "top", "width", "height")
    )
    runs = [int(word) for word in str(element.get("rle")).split(",")]
    fits = min(left, top) >= 0 and left + wide <= canvas.width and top + high <= canvas.height
    if sum(runs) != wide * high or not fits:
        raise ValueError
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(high, wide)
    return Shape(index, top, left, inside, level)
