"""Does a results folder still say what was measured? Everything is worked out again and compared.

- Records: schema, name, the sums that follow from the rows of single images.
- Predictions, where they and the images are here: the rows of single images.
- Tables and overview: written anew from the records, text against text.
- Figures: drawn anew from the records, where the same version of matplotlib drew them.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.data.decode import decode_mask, read_mask
from bench.data.fingerprint import fingerprint
from bench.data.items import Collection
from bench.errors import UserError
from bench.metrics import score_image
from bench.metrics.overlap import mean_defined
from bench.report import rewrite
from bench.spec import SCHEMA, Cell, Record
from bench.store import Store

Load = Callable[[str], Collection]

AROUND = 30  # letters shown before the first that differs, twice as many after it
CLOSE = 1e-9  # relative difference that rounding may make
_MEANS = {  # of the set, and of single images
    "dice_image_mean": "dice",
    "iou_image_mean": "iou",
    "boundary_iou": "boundary_iou",
    "hd95_pooled_px": "hd95",
    "hd95_max_px": "hd95_max",
}
_DRAWN_BY = re.compile(r"Matplotlib v[\w.+]+")


@dataclass(frozen=True)
class Finding:
    """Something that is not what it should be.

    Attributes:
        place: the file.
        told: what is wrong with it, in one sentence.
    """

    place: Path
    told: str


@dataclass(frozen=True)
class Verdict:
    """What was compared, and what was found.

    Attributes:
        compared: what was compared, in words, to how many there were.
        findings: all that is wrong.
        skipped: what could not be compared, and why.
    """

    compared: Mapping[str, int]
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...]


def verify(folder: Path, load: Load) -> Verdict:
    """Work out a results folder again.

    Args:
        folder: with `records/`, and what was made from them.
        load: from the name or path of a dataset to its images, as `load_collection`.

    Raises:
        UserError: there are no records.
    """
    files = sorted((folder / "records").glob("*.json"))
    if not files:
        raise UserError(f"no records in {folder}: give --results a folder that methods were run in")
    records: list[Record] = []
    findings: list[Finding] = []
    for file in files:
        try:
            record = _read(file)
        except ValueError as error:
            findings.append(Finding(file, str(error)))
            continue
        records.append(record)
        findings += [Finding(file, told) for told in _wrong_sums(record)]
    rescored, skipped, wrong = _predictions(Store(folder), records, load)
    findings += wrong
    compared = {"records": len(files), "predicted maps": rescored}
    if len(records) == len(files):
        report, unlike = _report(folder, records)
        compared |= report
        findings += unlike
    else:
        skipped.append("tables and figures: not all records can be read")
    return Verdict(compared, tuple(findings), tuple(skipped))


def _read(file: Path) -> Record:
    """The record in a file.

    Raises:
        ValueError: it is none, or stands under a wrong name.
    """
    try:
        values = json.loads(file.read_text())
        if values["schema"] != SCHEMA:
            raise ValueError(f"has schema {values['schema']}, this version reads {SCHEMA}")
        record = Record.from_dict(values)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"is no record ({type(error).__name__}: {error})") from error
    if not record.cell.id == file.stem == values.get("id"):
        raise ValueError("what was asked was changed: its hash no longer fits the name")
    return record


def _wrong_sums(record: Record) -> Iterator[str]:
    """Metrics of the set that do not follow from the rows of its images."""
    if record.status != "ok":
        return
    for name, expected in _sums(record).items():
        found = record.metrics.get(name)
        if not _same(found, expected):
            yield f"{name} is {found}, its images give {expected}"


def _sums(record: Record) -> dict[str, float | None]:
    rows, classes = record.per_image, record.classes
    sums: dict[str, float | None] = {
        of_set: mean_defined(row.get(of_image) for row in rows)
        for of_set, of_image in _MEANS.items()
        if of_set in record.metrics
    }
    counts = {
        kind: [sum(row[f"{kind}_px/{name}"] for row in rows) for name in classes]
        for kind in ("overlap", "truth", "predicted")
    }
    dice, iou = [], []
    for overlap, truth, predicted in zip(*counts.values(), strict=True):
        both = truth + predicted
        dice.append(2 * overlap / both if both else None)
        iou.append(overlap / (both - overlap) if both else None)
    sums |= {f"dice/{name}": value for name, value in zip(classes, dice, strict=True)}
    sums |= {f"iou/{name}": value for name, value in zip(classes, iou, strict=True)}
    return sums | {"dice_dataset": mean_defined(dice[1:]), "iou_dataset": mean_defined(iou[1:])}


def _predictions(
    store: Store, records: Sequence[Record], load: Load
) -> tuple[int, list[str], list[Finding]]:
    """Stored class maps scored again: how many, what was skipped, what differs."""
    count, skipped, findings = 0, dict[str, None](), []
    collections: dict[tuple[str, str], Collection | str] = {}
    for record in records:
        cell, maps = record.cell, store.predictions(record.cell)
        if record.status != "ok":
            continue
        if not maps.is_dir():
            skipped[f"predictions of {cell.dataset_name}: not stored"] = None
            continue
        key = cell.dataset, cell.dataset_sha
        collection = collections.setdefault(key, _collection(cell, load))
        if isinstance(collection, str):
            skipped[collection] = None
            continue
        items = {item.name: item for item in collection.items}
        for row in record.per_image:
            name = row["name"]
            file = maps / f"{name}.png"
            if not file.is_file():
                findings.append(Finding(file, "is missing, its record stands"))
                continue
            predicted = read_mask(file).astype(np.uint8)
            score = score_image(
                predicted, decode_mask(items[name], collection), collection.num_classes
            )
            count += 1
            again = score.to_row(collection.classes)
            differing = [key for key in again if key in row and not _same(row[key], again[key])]
            if differing:
                told = f"{differing[0]} of this map is {again[differing[0]]}"
                findings.append(Finding(file, f"{told}, the record says {row[differing[0]]}"))
    return count, list(skipped), findings


def _collection(cell: Cell, load: Load) -> Collection | str:
    """The images that a cell was tested on, or why they are not here."""
    try:
        collection = load(cell.dataset)
    except UserError:
        return f"predictions of {cell.dataset_name}: its images are not here"
    if fingerprint(collection) != cell.dataset_sha:
        return f"predictions of {cell.dataset_name}: its images are others here"
    return collection


def _report(folder: Path, records: Sequence[Record]) -> tuple[dict[str, int], list[Finding]]:
    """Tables, overview and figures against those that the records give."""
    findings = []
    with TemporaryDirectory() as place:
        made = {path.relative_to(place) for path in rewrite(records, Path(place), like=folder)}
        for path in sorted(made):
            here = folder / path
            if not here.is_file():
                findings.append(Finding(here, "is missing, the records give it"))
            elif path.suffix != ".png" and (told := _difference(here, Path(place) / path)):
                findings.append(Finding(here, told))
        stored = [path for part in ("tables", "plots") for path in (folder / part).glob("*.*")]
        for path in sorted(stored):
            if path.relative_to(folder) not in made and "_gallery" not in path.name:
                findings.append(Finding(path, "comes from no record that is here"))
    kinds = {"tables": {".md", ".csv", ".tex"}, "figures": {".svg"}}
    return {
        kind: sum(p.suffix in endings for p in made) for kind, endings in kinds.items()
    }, findings


def _difference(here: Path, made: Path) -> str | None:
    """The first line in which a file differs from what the records give."""
    old, new = here.read_text().splitlines(), made.read_text().splitlines()
    if old == new:
        return None
    if here.suffix == ".svg":
        drawn = [_DRAWN_BY.findall(" ".join(lines[:40])) for lines in (old, new)]
        return None if drawn[0] != drawn[1] else "is not what the records draw"
    for number, (one, other) in enumerate(zip(old, new, strict=False), 1):
        if one != other:
            pairs = zip_longest(one, other)
            start = next(place for place, (a, b) in enumerate(pairs) if a != b) - AROUND
            return f"line {number} is '{_cut(one, start)}', the records give '{_cut(other, start)}'"
    return f"has {len(old)} lines, the records give {len(new)}"


def _cut(line: str, start: int) -> str:
    """The part of a line in which it differs."""
    start = max(start, 0)
    part = line[start : start + 3 * AROUND]
    before, after = "..." if start else "", "..." if start + 3 * AROUND < len(line) else ""
    return f"{before}{part}{after}"


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=1e-12)
