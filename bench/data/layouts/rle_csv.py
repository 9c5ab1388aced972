"""Kaggle's run lengths: a CSV with one row for each object or class of an image.

Runs are pairs of a start, counted from 1 down the columns of the image (or along its rows, if the
user says so), and a length.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np

from bench.data.layouts.draft import Draft, Options, Report, Sample, class_table
from bench.data.layouts.pictures import read_stack
from bench.data.layouts.run_direction import Evidence
from bench.data.layouts.shapes import Canvas, Drawing, FaultyImageError, Shape, draw_samples, region
from bench.data.layouts.source import Source, natural
from bench.errors import UserError

_IDS = ("imageid", "image_id", "id", "image", "img", "filename", "image_label", "imageid_classid")
_RUNS = ("encodedpixels", "rle_mask", "rle", "encoding", "rlemask", "pixels")
_CLASSES = ("classid", "class_id", "class", "label", "category")
JUDGED = 24  # images with objects whose direction of runs is judged
_JOINED = ("image_label", "imageid_classid")  # "a.jpg_Fish"


def recognise(source: Source) -> str | None:
    """Why the folder looks like run lengths: a CSV with a column of ids and one of runs."""
    files = _tables(source)
    return f"'{files[0]}' has columns of image ids and of run lengths" if files else None


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Masks and instances; every row is an object, and an image without runs has none.

    Raises:
        UserError: a row is malformed or its runs leave the image, or the runs fit rows better than
            columns and the user does not say which they follow.
    """
    rows: dict[str, list[tuple[str, str]]] = defaultdict(list)
    tables = _tables(source)
    seen: dict[tuple[str, str, str], str] = {}
    for name in tables:
        for label, kind, runs in _rows(source, name):
            if runs and seen.setdefault((label, kind, runs), name) != name:
                raise UserError(
                    f"'{label}' is in '{seen[label, kind, runs]}' and in '{name}'; "
                    "keep one of the tables"
                )
            rows[label].append((kind, runs))
    kinds = {kind for entries in rows.values() for kind, runs in entries if runs}
    if not kinds:
        raise UserError(f"'{tables[0]}' holds no runs; get the table of the training images")
    names = sorted(kinds, key=natural)
    shown = ["object"] if names == [""] else [f"class {n}" if n.isdigit() else n for n in names]
    table = class_table(shown, f"'{tables[0]}'")
    by_rows = _by_rows(source, rows, options, report, tables[0])
    indices = {kind: index for index, kind in enumerate(names, 1)}
    return Draft(table, _samples(source, rows, indices, by_rows, report))


def _by_rows(
    source: Source,
    rows: dict[str, list[tuple[str, str]]],
    options: Options,
    report: Report,
    table: str,
) -> bool:
    """Whether runs go along the rows; told with the reason.

    Raises:
        UserError: the user does not say so and they fit rows better.
    """
    fits = _fitting(source, rows)
    if fits == "rows" and not options.runs:
        raise UserError(
            f"the run lengths of '{table}' fit the images along the rows, but Kaggle's go down the"
            " columns: add --runs rows, or --runs columns to read them as Kaggle's all the same"
        )
    chosen = options.runs or "columns"
    way = {"columns": "down the columns, as Kaggle writes them", "rows": "along the rows"}[chosen]
    doubt = ""
    if fits not in (chosen, ""):
        doubt = f"; they fit {fits} better, so look at them with data preview"
    elif not fits:
        doubt = "; the images do not show which way they go, so look at them with data preview"
    report.note(f"run lengths are read from 1, {way}{doubt}")
    return chosen == "rows"


def _fitting(source: Source, rows: dict[str, list[tuple[str, str]]]) -> str:
    """The direction in which the first images with objects fit, as of `Evidence.verdict`."""
    evidence = Evidence()
    labels = [label for label, entries in rows.items() if any(runs for _, runs in entries)]
    for label in labels[:JUDGED]:
        file = source.find_picture(label)
        try:
            pixels = None if file is None else read_stack(source, file, Report()).planes[0]
        except UserError:
            continue  # the fault is told when the image is converted
        if pixels is None:
            continue
        image = pixels if pixels.ndim == 2 else pixels[..., :3].mean(-1)
        objects = [_inside(runs, *image.shape) for _, runs in rows[label] if runs]
        known = [inside for inside in objects if not isinstance(inside, str)]
        if known:
            evidence.add(np.logical_or.reduce(known), image)
    return evidence.verdict()


def _header(line: str) -> list[str]:
    return [word.strip().strip('"').lower() for word in line.lstrip("\ufeff").split(",")]


def _tables(source: Source) -> list[str]:
    names = []
    for name in source.with_suffix(".csv"):
        with source.files[name].open(encoding="utf-8", errors="replace") as file:
            header = _header(file.readline())
        known = any(word in _IDS for word in header) and any(word in _RUNS for word in header)
        if known and not re.search(r"sample_?submission", name, re.I):
            names.append(name)
    return names


def _rows(source: Source, name: str) -> Iterator[tuple[str, str, str]]:
    """Image, class and runs of each row."""
    csv.field_size_limit(1 << 30)
    reader = csv.reader(io.StringIO(source.text(name), newline=""))
    header = [word.strip().lower() for word in next(reader)]
    image = next(place for place, word in enumerate(header) if word in _IDS)
    runs = next(place for place, word in enumerate(header) if word in _RUNS)
    kind = next((place for place, word in enumerate(header) if word in _CLASSES), None)
    for number, row in enumerate(reader, 2):
        if not row:
            continue
        if len(row) != len(header):
            raise UserError(
                f"'{name}' has {len(row)} cells in row {number} but {len(header)} columns; mend it"
            )
        label, text = row[image].strip(), row[runs].strip()
        text = "" if text in ("-1", "nan") else text
        if header[image] in _JOINED:
            label, _, found = label.rpartition("_")
            yield label, found, text
        else:
            yield label, "" if kind is None else row[kind].strip(), text


def _samples(
    source: Source,
    rows: dict[str, list[tuple[str, str]]],
    indices: dict[str, int],
    by_rows: bool,
    report: Report,
) -> Iterator[Sample]:
    order: Literal["C", "F"] = "C" if by_rows else "F"
    drawings: dict[str, Drawing] = {}
    for label, entries in rows.items():
        file = source.find_picture(label)
        if file is None:
            report.fault(label, "is in the table but is not there", "add the image")
        else:
            drawings[file] = Drawing(partial(_shapes, entries, indices, order))
    report.leave_out_others(source.pictures, drawings, "not in the table")
    return draw_samples(source, drawings, report)


def _shapes(
    entries: list[tuple[str, str]],
    indices: dict[str, int],
    order: Literal["C", "F"],
    canvas: Canvas,
) -> list[Shape]:
    """The objects of an image."""
    size, shapes = (canvas.height, canvas.width), []
    for kind, text in entries:
        if text:
            inside = _inside(text, *size)
            if isinstance(inside, str):
                remedy = "correct the row, or get the image that belongs to it"
                raise FaultyImageError(inside, remedy)
            shapes.append(region(indices[kind], inside.reshape(size, order=order)))
    return shapes


def _inside(
    text: str, height: int, width: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | str:
    """Pixels (height * width,) inside runs, in their order, or what is wrong with them."""
    try:
        values = np.array(text.split(), np.int64)
    except ValueError:
        return "has runs that are not whole numbers"
    if len(values) % 2:
        return "has a run without a length"
    starts, lengths = values[::2] - 1, values[1::2]
    if starts.min() < 0 or lengths.min() < 0 or (starts + lengths).max() > height * width:
        return f"has runs outside its {width} x {height} pixels (width x height)"
    flat = np.zeros(height * width, bool)
    for start, length in zip(starts, lengths, strict=True):
        flat[start : start + length] = True
    return flat
