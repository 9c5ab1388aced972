"""Compare values and texts with expected ones."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bench.metrics.overlap import mean_defined
from bench.spec import Record
from bench.stats.bootstrap import pooled_overlap

_MEANS = {  # metric of the test set: score of the images that it is the mean of
    "dice_image_mean": "dice",
    "iou_image_mean": "iou",
    "boundary_iou": "boundary_iou",
    "hd95_pooled_px": "hd95",
    "hd95_max_px": "hd95_max",
}

CONTEXT = 30  # characters shown before the first different one; twice as many after it
TOLERANCE = 1e-9  # relative difference that may come from rounding


@dataclass(frozen=True)
class Finding:
    """A file that differs from what it should be, is missing, or cannot be read.

    Attributes:
        path: the file; for scores of volumes and of the test set, that of the record.
        message: what is wrong, as one sentence after the path, with or without a subject.
    """

    path: Path
    message: str


def differences(
    actual: Mapping[str, Any], expected: Mapping[str, Any], source: str
) -> Iterator[str]:
    """Yield a message for each value that differs, and one message for all missing values.

    Numbers within a relative difference of `TOLERANCE`, or within 1e-12, are equal.

    Args:
        actual: values by name; names that are not expected are ignored.
        expected: values by name.
        source: subject and verb of the message, such as "its images give", which says how the
            expected values were computed. The message is then "dice is 0.5, its images give 0.6".
    """
    for name, value in expected.items():
        if name in actual and not _is_close(actual[name], value):
            yield f"{name} is {actual[name]}, {source} {value}"
    missing = [name for name in expected if name not in actual]
    if missing:
        count = "1 value is" if len(missing) == 1 else f"{len(missing)} values are"
        yield (
            f"{count} missing that {source}, such as {missing[0]}: removed by hand, or the version "
            "that wrote the record did not compute this"
        )


def first_difference(actual: str, expected: str) -> str | None:
    """A message on the first line in which two texts differ; None if all lines are equal.

    How a line ends makes no difference.

    Args:
        actual: the stored text.
        expected: the text that the records give.
    """
    lines, expected_lines = actual.splitlines(), expected.splitlines()
    for number, (line, other) in enumerate(zip(lines, expected_lines, strict=False), 1):
        if line != other:
            pairs = zip_longest(line, other)
            start = next(place for place, (a, b) in enumerate(pairs) if a != b) - CONTEXT
            return (
                f"line {number} is '{_excerpt(line, start)}', the records give "
                f"'{_excerpt(other, start)}'"
            )
    if len(lines) != len(expected_lines):
        return f"has {len(lines)} lines, the records give {len(expected_lines)}"
    return None


def _excerpt(line: str, start: int) -> str:
    start = max(start, 0)
    end = start + 3 * CONTEXT
    return f"{'...' if start else ''}{line[start:end]}{'...' if end < len(line) else ''}"


def _is_close(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(one == other)


def wrong_summaries(record: Record) -> Iterator[str]:
    """Compute the metrics of the test set from its images, and yield a message for each difference.

    Checked are Dice and IoU of the set, of each class and their means, and the means over images
    (`_MEANS`); no other metric. Rows from which these cannot be computed give one message. A record
    with a status other than "ok" gives none.

    Args:
        record: its `metrics` are compared with its `per_image`.
    """
    if record.status != "ok":
        return
    try:
        expected = _summarise(record)
    except (LookupError, TypeError) as error:
        yield f"the rows of its images cannot be summarised ({type(error).__name__}: {error})"
        return
    yield from differences(record.metrics, expected, "its images give")


def _summarise(record: Record) -> dict[str, float | None]:
    rows, classes = record.per_image, record.classes
    summary = {metric: mean_defined(row[score] for row in rows) for metric, score in _MEANS.items()}
    for measure in ("dice", "iou"):
        scores = [pooled_overlap([rows], ("", name), iou=measure == "iou") for name in classes]
        values = [None if math.isnan(one.value) else one.value for one in scores]
        summary |= {f"{measure}/{name}": value for name, value in zip(classes, values, strict=True)}
        summary[f"{measure}_dataset"] = mean_defined(values[1:])
    return summary
