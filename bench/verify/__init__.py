"""Does a results folder still say what was measured? Everything is worked out again and compared.

- Records: schema, name, the overlap and the means that follow from the rows of single images.
- Predictions, where they and the images are here: the rows of single images and volumes, and all
  scores of the set that class maps give.
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
from bench.metrics.overlap import mean_defined
from bench.report import rewrite
from bench.scoring import Prediction, Scoring
from bench.spec import SCHEMA, Cell, Record
from bench.stats import overlap_of
from bench.store import Store

Load = Callable[[str], Collection]

AROUND = 30  # letters shown before the first that differs, twice as many after it
CLOSE = 1e-9  # relative difference that rounding may make
_MEANS = {  # of the set: over the images, of that score
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
    try:
        expected = _sums(record)
    except (LookupError, TypeError) as error:
        yield f"the rows of its images cannot be summed up ({type(error).__name__}: {error})"
        return
    yield from _unlike(record.metrics, expected, "its images give")


def _sums(record: Record) -> dict[str, float | None]:
    rows, classes = record.per_image, record.classes
    sums = {
        of_set: mean_defined(row[of_image] for row in rows) for of_set, of_image in _MEANS.items()
    }
    for measure in ("dice", "iou"):
        of_class = [overlap_of([rows], ("", name), iou=measure == "iou").value for name in classes]
        values = [None if math.isnan(value) else value for value in of_class]
        sums |= {f"{measure}/{name}": value for name, value in zip(classes, values, strict=True)}
        sums[f"{measure}_dataset"] = mean_defined(values[1:])
    return sums


class _Images:
    """The images of cells; each collection is read once."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._found: dict[tuple[str, str], Collection | str] = {}

    def of(self, cell: Cell) -> Collection | str:
        """The collection, or why it is not here."""
        key = cell.dataset, cell.dataset_sha
        if key not in self._found:
            self._found[key] = self._read(cell)
        return self._found[key]

    def _read(self, cell: Cell) -> Collection | str:
        try:
            collection = self._load(cell.dataset)
        except UserError:
            return f"predictions of {cell.dataset_name}: its images are not here"
        if fingerprint(collection) != cell.dataset_sha:
            return f"predictions of {cell.dataset_name}: its images are others here"
        return collection


def _predictions(
    store: Store, records: Sequence[Record], load: Load
) -> tuple[int, list[str], list[Finding]]:
    """Stored class maps scored again: how many, what was skipped, what differs."""
    count, skipped = 0, dict[str, None]()
    findings: list[Finding] = []
    images = _Images(load)
    for record in records:
        if record.status != "ok":
            continue
        if not (folder := store.predictions(record.cell)).is_dir():
            skipped[f"predictions of {record.cell.dataset_name}: not stored"] = None
            continue
        collection = images.of(record.cell)
        if isinstance(collection, str):
            skipped[collection] = None
            continue
        count += len(record.per_image)
        findings += _rescored(record, collection, folder, store.path(record.cell))
    return count, list(skipped), findings


def _rescored(
    record: Record, collection: Collection, folder: Path, place: Path
) -> Iterator[Finding]:
    """What differs when the class maps in a folder are scored again."""
    items = {item.name: item for item in collection.items}
    own_objects = record.cell.recipe.evaluation == "generator"
    scoring = Scoring(collection, only_classes=True, own_objects=own_objects)
    whole = True
    for row in record.per_image:
        file = folder / f"{row.get('name')}.png"
        try:
            item = items[row["name"]]
            predicted = read_mask(file).astype(np.uint8)
            scoring.add(Prediction(item, decode_mask(item, collection), predicted))
        except (LookupError, OSError, UserError, ValueError) as error:
            whole = False
            missing = not file.is_file()
            told = "is missing, its record stands" if missing else f"cannot be scored: {error}"
            yield Finding(file, told)
            continue
        for told in _unlike(row, scoring.images[-1], "this map gives"):
            yield Finding(file, told)
            break  # one change of a map changes many of its scores
    if not whole:
        return
    volumes = {row.get("name"): row for row in record.per_volume}
    for row in scoring.volumes:
        for told in _unlike(volumes.get(row["name"], {}), row, "its maps give"):
            yield Finding(place, f"volume {row['name']}: {told}")
            break
    for told in _unlike(record.metrics, scoring.summary(), "its maps give"):
        yield Finding(place, told)


def _unlike(found: Mapping[str, Any], expected: Mapping[str, Any], source: str) -> Iterator[str]:
    """Every value that is not as expected; those that are not there in one sentence."""
    for name, value in expected.items():
        if name in found and not _same(found[name], value):
            yield f"{name} is {found[name]}, {source} {value}"
    absent = [name for name in expected if name not in found]
    if absent:
        count = f"{len(absent)} figures are" if len(absent) > 1 else "1 figure is"
        yield (
            f"{count} missing that {source}, as {absent[0]}: removed, or not yet known to the "
            "version that wrote the record"
        )


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
    numbers = [isinstance(value, int | float) for value in (one, other)]
    if not all(numbers):
        return bool(one == other)
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=1e-12)
