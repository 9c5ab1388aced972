"""CVAT 1.1, for images or video: XML files with polygons, boxes, ellipses and run lengths."""

import posixpath
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from bench.data.layouts.cvat_video import Record, records_of_tracks
from bench.data.layouts.draft import Draft, Options, Report, Sample, class_table, is_background
from bench.data.layouts.pictures import size_of
from bench.data.layouts.shapes import Points, Shape, as_ring, ellipse, fault_of, paint, polygon
from bench.data.layouts.source import Source, part_of, unique_names
from bench.errors import UserError

_AREAS = ("polygon", "box", "ellipse", "mask")


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
    foreground = [label for label in classes if not is_background(label)]
    indices = {
        label: foreground.index(label) + 1 if label in foreground else 0 for label in classes
    }
    return Draft(table, _samples(source, records, indices, report))


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
    places: dict[str, Record] = {}
    for record in records:
        label = record.image.get("name", "")
        file = source.find_picture(label, posixpath.dirname(record.file))
        if file is None:
            report.fault(label, f"is listed in '{record.file}' but is not there", "add the image")
        elif file in places:
            report.fault(label, "is listed twice", "keep one of the entries")
        else:
            places[file] = record
    for file in source.pictures:
        if file not in places:
            report.leave_out(file, "not listed in the XML file")
    names = unique_names(places)
    for file, (_, image, group) in places.items():
        size = size_of(source, file, report)
        if size is None:
            continue
        height, width = size
        declared = (image.get("height", str(height)), image.get("width", str(width)))
        if declared != (str(height), str(width)):
            reason = (
                f"is {width} x {height} pixels but the XML file says {declared[1]} x {declared[0]}"
            )
            report.fault(file, reason, "export both from one task")
            continue
        shapes = _shapes(file, image, indices, height, width, report)
        if shapes is None:
            continue
        if not shapes:
            report.counts["image without objects"] += 1
        mask, numbers = paint(shapes, height, width, report)
        part = part_of(posixpath.dirname(file)) or part_of(image.get("subset", ""))
        yield Sample(names[file], file, source.files[file], mask, numbers, group, part)


def _shapes(
    file: str, record: Element, indices: dict[str, int], height: int, width: int, report: Report
) -> list[Shape] | None:
    """The objects of an image; None if it is faulty."""
    shapes = []
    for element in record:
        if _is_area(element):
            try:
                shape = _shape(element, indices, height, width, report)
            except ValueError:
                shape = f"has a malformed {element.tag}"
            if isinstance(shape, str):
                report.fault(file, shape, "export it again")
                return None
            shapes.append(shape)
        elif element.tag != "tag":
            report.counts[f"{element.tag} without an area, which is not drawn"] += 1
    return shapes


def _shape(
    element: Element, indices: dict[str, int], height: int, width: int, report: Report
) -> Shape | str:
    """The pixels of an object, or what is wrong with it.

    ValueError where a number is missing or not one.
    """
    index, level = indices[element.get("label", "")], int(element.get("z_order", "0"))
    if element.tag == "mask":
        return _mask(element, index, height, width, level)
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
    if reason := fault_of([ring], height, width, report):
        return reason
    assert ring is not None  # fault_of
    return polygon(index, [ring], height, width, level)


def _number(element: Element, key: str) -> float:
    return float(str(element.get(key)))


def _mask(element: Element, index: int, height: int, width: int, level: int) -> Shape:
    """Run lengths along the rows of a box, the first of pixels outside the object."""
    left, top, wide, high = (
        int(_number(element, key)) for key in ("left", "top", "width", "height")
    )
    runs = [int(word) for word in str(element.get("rle")).split(",")]
    if sum(runs) != wide * high or min(left, top) < 0 or left + wide > width or top + high > height:
        raise ValueError
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(high, wide)
    return Shape(index, top, left, inside, level)
