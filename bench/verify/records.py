"""Records: schema, name, and the figures of the set that follow from the rows of its images."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

from bench.metrics.overlap import mean_defined
from bench.spec import SCHEMA, Record
from bench.stats.bootstrap import overlap_of
from bench.verify.values import unlike

_MEANS = {  # of the set: over the images, of that score
    "dice_image_mean": "dice",
    "iou_image_mean": "iou",
    "boundary_iou": "boundary_iou",
    "hd95_pooled_px": "hd95",
    "hd95_max_px": "hd95_max",
}


def read(file: Path) -> Record:
    """The record in a file.

    Raises:
        ValueError: it is none, or stands under a wrong name.
    """
    try:
        values = json.loads(file.read_text())
        if values["schema"] != SCHEMA:
            raise ValueError(f"has schema {values['schema']}, this version reads {SCHEMA}")
        record = Record.from_dict(values)
    except (KeyError, TypeError, json.JSONDecodeError, OSError) as error:
        raise ValueError(f"is no record ({type(error).__name__}: {error})") from error
    if not record.cell.id == file.stem == values.get("id"):
        raise ValueError("what was asked was changed: its hash no longer fits the name")
    return record


def wrong_sums(record: Record) -> Iterator[str]:
    """Metrics of the set that do not follow from the rows of its images."""
    if record.status != "ok":
        return
    try:
        expected = _sums(record)
    except (LookupError, TypeError) as error:
        yield f"the rows of its images cannot be summed up ({type(error).__name__}: {error})"
        return
    yield from unlike(record.metrics, expected, "its images give")


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
