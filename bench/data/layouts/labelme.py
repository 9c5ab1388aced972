"""labelme: one JSON file for each image, with polygons, rectangles, circles and small masks."""

import base64
import binascii
import io
import json
import math
import posixpath
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from bench.data.items import IGNORE
from bench.data.layouts.draft import Draft, Options, Report, Sample, class_table, is_background
from bench.data.layouts.pictures import size_of
from bench.data.layouts.shapes import (
    Canvas,
    FaultyImageError,
    Points,
    Shape,
    as_ring,
    ellipse,
    region,
)
from bench.data.layouts.source import Source, part_of, unique_names
from bench.errors import UserError

_AREAS = ("polygon", "rectangle", "circle", "mask")
_IGNORED = ("__ignore__", "_ignore_", "ignore")


def recognise(source: Source) -> str | None:
    """Why the folder looks like labelme: a JSON file with "shapes" and "imagePath"."""
    name = next((n for n in source.sample_json() if _fits(source.json_like(n))), None)
    return f"'{name}' holds shapes and an imagePath" if name else None


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Masks and instances from the shapes; shapes with one label and group id are one object.

    Classes are in the order of `labels.txt`, else of the alphabet. The label "__ignore__" marks
    pixels without a label.

    Raises:
        UserError: a file, an image or a shape is faulty.
    """
    documents = {}
    for name in source.with_suffix(".json"):
        document = source.json(name)
        if _fits(document) and not all(isinstance(shape, dict) for shape in document["shapes"]):
            report.fault(name, "has a shape that is not an object", "save it again in labelme")
        elif _fits(document):
            document["imageData"] = bool(document.get("imageData"))  # large: read again if needed
            documents[name] = document
        else:
            report.leave_out(name, "a JSON file without shapes")
    used = {str(shape.get("label")) for doc in documents.values() for shape in doc["shapes"]}
    listed = [n for n in source.files if posixpath.basename(n).lower() == "labels.txt"]
    if listed:
        lines = [line.strip() for line in source.text(listed[0]).splitlines()]
        labels = [line for line in lines if line]
        if extra := sorted(used - set(labels)):
            raise UserError(
                f"label '{extra[0]}' is not in '{listed[0]}'; add it, or remove the file"
            )
    else:
        labels = sorted(used)
    names = [label for label in labels if label not in _IGNORED and not is_background(label)]
    ignored = any(label in used for label in _IGNORED)
    table = class_table(names, "labelme", ignored=ignored)
    indices = {label: names.index(label) + 1 for label in names}
    indices |= dict.fromkeys(_IGNORED, IGNORE)
    indices |= {label: 0 for label in used if is_background(label)}
    return Draft(table, _samples(source, documents, indices, report))


def _fits(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and isinstance(document.get("shapes"), list)
        and ("imagePath" in document)
    )


def _samples(
    source: Source, documents: dict[str, Any], indices: dict[str, int], report: Report
) -> Iterator[Sample]:
    names = unique_names(documents)
    used = set()
    for name, document in documents.items():
        near = posixpath.dirname(name)
        label = str(document["imagePath"] or name)
        file = source.find_picture(label, near) or source.find_picture(
            posixpath.basename(name), near
        )
        if file in used:
            report.fault(name, f"and another JSON file mean '{file}'", "remove one of them")
            continue
        if file:
            used.add(file)
            image: Any = source.files[file]
            size = size_of(source, file, report)
        elif document.get("imageData"):
            image = _embedded(json.loads(source.text(name))["imageData"])
            if image is None:
                report.fault(name, "holds an image that cannot be read", "add the image file")
                continue
            size = image.shape[:2]
            report.counts["image taken out of its JSON file"] += 1
        else:
            report.fault(name, f"means the image '{label}', which is not there", "add the image")
            continue
        if size is None:
            continue
        canvas = Canvas(*size, report)
        try:
            mask, numbers = canvas.paint(_shapes(document, indices, canvas))
        except FaultyImageError as fault:
            report.fault(name, fault.reason, fault.remedy)
            continue
        part = part_of(posixpath.dirname(name))
        yield Sample(names[name], file or name, image, mask, numbers, "", part)
    report.leave_out_others(source.pictures, used, "no JSON file")


def _shapes(document: Any, indices: dict[str, int], canvas: Canvas) -> list[Shape]:
    """The objects of an image."""
    declared = document.get("imageHeight"), document.get("imageWidth")
    if None not in declared and declared != (canvas.height, canvas.width):
        raise FaultyImageError(
            f"says {declared[1]} x {declared[0]} pixels (width x height) but the image is "
            f"{canvas.width} x {canvas.height}",
            "label the image that belongs to it",
        )
    grouped: dict[Any, list[Shape]] = defaultdict(list)
    for number, record in enumerate(document["shapes"]):
        kind = record.get("shape_type") or "polygon"
        if kind not in _AREAS:
            canvas.report.counts[f"{kind} without an area, which is not drawn"] += 1
            continue
        rings = canvas.check([_outline(kind, record.get("points"))], "correct it in labelme")
        index = indices[str(record.get("label"))]
        if kind == "mask":
            shape = _mask(index, rings[0], record, canvas)
        else:
            shape = canvas.polygon(index, rings)
        group = record.get("group_id")
        grouped[f"{index}, {group}" if group is not None else f"shape {number}"].append(shape)
    return [canvas.merge(shapes) for shapes in grouped.values()]


def _outline(kind: str, points: Any) -> Points | None:
    """The outline of a shape; of a mask, that of its box."""
    ring = as_ring(points)
    if ring is None or kind == "polygon":
        return ring
    if len(ring) < 2:
        return None
    (left, top), (right, bottom) = ring[:2]
    if kind == "circle":
        radius = math.hypot(right - left, bottom - top)
        return ellipse(left, top, radius, radius)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _mask(index: int, box: Points, record: Any, canvas: Canvas) -> Shape:
    """The pixels of a small image that begins at the corner of a box."""
    small = _embedded(record.get("mask"))
    if small is None or small.ndim != 2:
        raise FaultyImageError("has a mask that cannot be read", "draw it again in labelme")
    left, top = (round(float(value)) for value in box[0])
    whole = np.zeros((canvas.height, canvas.width), bool)
    part = small[max(0, -top) : canvas.height - top, max(0, -left) : canvas.width - left] > 0
    top, left = max(0, top), max(0, left)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return region(index, whole)


def _embedded(text: Any) -> Any:
    """The image that is written as base64 in a JSON file; None if it cannot be read."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            if image.mode.startswith("I;16"):
                return np.asarray(image).astype(np.uint16)
            if image.mode in ("I", "F"):
                return np.asarray(image)
            return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except (OSError, ValueError, TypeError, binascii.Error):
        return None
