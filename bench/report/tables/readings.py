"""Tables of what is read off predictions: number, sizes and share of objects, with their errors."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.report.compare.comparison import Comparison
from bench.report.compare.readings import RowReading, readings_of
from bench.report.records.columns import MISSING
from bench.report.tables.markdown import markdown_code, markdown_table
from bench.report.tables.pages import write_pages
from bench.wording import plain_markdown

HEADERS = ("Class", "Reading", "Truth", "Prediction", "Error, 95 % interval")
NOTE = (
    "Means over the test images; error: prediction - truth, with its 95 % interval over specimens"
    " and seeds. An interval without 0 is a bias. There is no interval with fewer than two"
    " specimens, or where the value is missing in too many images."
)


def write_readings(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write `<slug>_readings.md` and `.csv` for every comparison whose objects were measured.

    Args:
        comparisons: some of them, or all.
        folder: is created if needed; files of the same names are replaced.

    Returns:
        The files.

    Raises:
        UserError: a file cannot be written.
    """
    return write_pages(comparisons, folder, "readings", readings_table, _page)


def _page(comparison: Comparison) -> str:
    title = plain_markdown(comparison.title)
    return f"# {title}: readings\n\n{_markdown(comparison)}\n\n{NOTE}\n"


def readings_table(comparison: Comparison) -> pd.DataFrame:
    """Return readings of every row, class and quantity, as they are shown.

    The columns are `label`, `backbone`, `weights`, `prompts`, `class`, `reading`, `truth`,
    `prediction`, `error`, `low` and `high`, the interval of the error; None or NaN where a value is
    not defined. Only seeds in which all specimens were tested count. Without measured objects, the
    table is empty and has no columns.
    """
    lines = []
    for row in comparison.rows:
        who = {"label": row.label, "backbone": row.backbone}
        who |= {"weights": row.weights, "prompts": row.prompts}
        for one in readings_of(row):
            line: dict[str, Any] = {"class": one.name, "reading": one.quantity.title}
            line |= {"truth": one.truth, "prediction": one.prediction, "error": one.error}
            line |= {"low": one.interval and one.interval.low}
            lines.append(who | line | {"high": one.interval and one.interval.high})
    return pd.DataFrame(lines)


def reading_texts(reading: RowReading) -> tuple[str, str, str]:
    """Truth, prediction, and error with its interval, as they are shown; a dash for none."""
    digits = reading.quantity.digits
    error = _number(reading.error, f"+.{digits}f")
    if (interval := reading.interval) is not None:
        low, high = (_number(end, f"+.{digits}f") for end in (interval.low, interval.high))
        error = f"{error} [{low}, {high}]"
    plain = f".{digits}f"
    return _number(reading.truth, plain), _number(reading.prediction, plain), error


def _markdown(comparison: Comparison) -> str:
    lines = []
    for row in comparison.rows:
        for one in readings_of(row):
            what = [markdown_code(row.label), plain_markdown(one.name), one.quantity.title]
            lines.append([*what, *reading_texts(one)])
    return markdown_table(["Method", *HEADERS], lines, ["left"] * 3 + ["right"] * 3)


def _number(value: float, form: str) -> str:
    return MISSING if math.isnan(value) else format(value, form)
