"""YOLO segmentation: a text file of polygons for each image, and names of classes in data.yaml."""

import posixpath
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from bench.data.layouts.draft import Draft, Options, Report, Sample, class_table
from bench.data.layouts.shapes import (
    Canvas,
    Drawing,
    FaultyImageError,
    Shape,
    as_ring,
    draw_samples,
)
from bench.data.layouts.source import Source, stem
from bench.data.libraries import import_optional
from bench.errors import UserError

_NOT_LABELS = ("classes", "labels", "train", "val", "test", "readme", "notes")


def recognise(source: Source) -> str | None:
    """Why the folder looks like YOLO: text files of a class number and at least three points."""
    for name in _label_files(source)[:50]:
        for line in source.text(name).splitlines()[:5]:
            if (
                len(values := _numbers(line)) >= 7
                and len(values) % 2
                and values[0] == int(values[0])
            ):
                return f"'{name}' holds lines of a class number and the points of a polygon"
    return None


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Masks and instances; an image without a text file has no objects, as the format says.

    This counts for images in folders of labelled images; other pictures are left out.

    Raises:
        UserError: a line is not a polygon, a class has no name, or data.yaml is malformed.
    """
    lines = {name: _lines(source, name, report) for name in _label_files(source)}
    names = _names(source)
    used = sorted({index for entries in lines.values() for index, _ in entries or []})
    if not used:
        raise UserError("the text files hold no polygons; export for segmentation, not detection")
    if names is None:
        names = {index: f"class {index}" for index in used}
        report.note("no data.yaml names the classes: they are called by their number")
    if lacking := [index for index in used if index not in names]:
        raise UserError(
            f"the text files hold class {lacking[0]}, which data.yaml does not name "
            f"({', '.join(map(str, names))}); add its name"
        )
    order = sorted(names)
    table = class_table([names[index] for index in order], "data.yaml")
    if len(table) != len(order) + 1:
        raise UserError("data.yaml names a class background, but YOLO has none; rename it")
    indices = {index: place for place, index in enumerate(order, 1)}
    return Draft(table, _samples(source, _match(source, lines, report), lines, indices, report))


def _label_files(source: Source) -> list[str]:
    """Text files in folders labels/; without such folders, those with the name of an image."""
    names = [n for n in source.with_suffix(".txt") if stem(n).lower() not in _NOT_LABELS]
    inside = [name for name in names if "labels" in name.lower().split("/")[:-1]]
    stems = {stem(name) for name in source.pictures}
    return inside or [name for name in names if stem(name) in stems]


def _numbers(line: str) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return []
    return values if np.isfinite(values).all() else []


def _lines(source: Source, name: str, report: Report) -> list[tuple[int, list[float]]] | None:
    """Class and coordinates of each line; None if a line is faulty."""
    entries = []
    for number, line in enumerate(source.text(name).splitlines(), 1):
        values = _numbers(line)
        if not values and not line.strip():
            continue
        if len(values) == 5:
            reason = f"holds a box in line {number}"
        elif len(values) < 7 or len(values) % 2 == 0 or values[0] != int(values[0]):
            reason = f"has no class number and polygon in line {number}"
        else:
            entries.append((int(values[0]), values[1:]))
            continue
        report.fault(name, reason, "export polygons (segmentation)")
        return None
    return entries


def _names(source: Source) -> dict[int, str] | None:
    """Names of classes by number, of data.yaml or classes.txt; None without a file."""
    yaml = import_optional("yaml", "reading data.yaml", "import")
    for name in source.with_suffix(".yaml", ".yml"):
        try:
            content = yaml.safe_load(source.text(name))
        except yaml.YAMLError as error:
            reason = re.sub(r"\s+", " ", str(error))
            raise UserError(f"'{name}' is not valid YAML ({reason}); correct it") from error
        named = content.get("names") if isinstance(content, dict) else None
        if isinstance(named, list):
            return {index: str(label) for index, label in enumerate(named)}
        if isinstance(named, dict) and all(str(key).isdigit() for key in named):
            return {int(index): str(label) for index, label in named.items()}
    for name in source.files:
        if posixpath.basename(name).lower() == "classes.txt":
            lines = [line.strip() for line in source.text(name).splitlines() if line.strip()]
            return dict(enumerate(lines))
    return None


def _match(source: Source, lines: dict[str, Any], report: Report) -> dict[str, str | None]:
    """The text file of each image, by the path with "images" for "labels", else by its stem."""
    pictures = {posixpath.splitext(name)[0]: name for name in source.pictures}
    labels: dict[str, str | None] = {}
    for name in lines:
        path = posixpath.splitext(name)[0]
        words = path.split("/")
        swapped = "/".join("images" if word == "labels" else word for word in words)
        file = pictures.get(swapped) or source.find_picture(
            posixpath.basename(path), posixpath.dirname(name)
        )
        if file is None:
            report.fault(name, "has no image of the same name", "add the image")
        elif file in labels:
            report.fault(name, f"and '{labels[file]}' are for one image", "remove one of them")
        else:
            labels[file] = name
    folders = {posixpath.dirname(file) for file in labels}
    for name in source.pictures:
        if posixpath.dirname(name) not in folders:
            report.leave_out(name, "not in a folder of labelled images")
        else:
            labels.setdefault(name, None)
    return labels


def _samples(
    source: Source,
    labels: dict[str, str | None],
    lines: dict[str, Any],
    indices: dict[int, int],
    report: Report,
) -> Iterator[Sample]:
    drawings = {}
    for file, label in labels.items():
        entries = [] if label is None else lines[label]
        if entries is not None:
            drawings[file] = Drawing(partial(_shapes, entries, indices), label or "")
    return draw_samples(source, drawings, report)


def _shapes(
    entries: list[tuple[int, list[float]]], indices: dict[int, int], canvas: Canvas
) -> list[Shape]:
    """The objects of an image."""
    shapes = []
    for index, values in entries:
        if max(values) > 1.5:
            reason = "holds coordinates in pixels, not in shares of width and height"
            raise FaultyImageError(reason, "export it again")
        ring = np.array(values).reshape(-1, 2) * (canvas.width, canvas.height)
        rings = canvas.check([as_ring(ring)], "export it again")
        shapes.append(canvas.polygon(indices[index], rings))
    return shapes
