"""Write CSV as pandas does, but faster, for many small tables and for one with very many lines."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import pandas as pd

from bench.wording import plain_field

_LINES = 4096  # number of lines that are taken out of a frame at once


def write_frame(frame: pd.DataFrame, file: BinaryIO) -> None:
    """Write a frame as CSV (UTF-8) without its index; numbers are not rounded.

    None and NaN are empty fields.

    It is faster than pandas, which converts each float to text before the writer does.

    Args:
        frame: the frame.
        file: an open binary file; it is not closed.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame)
    for start in range(0, len(frame), _LINES):
        part = frame.iloc[start : start + _LINES]
        writer.writerows(zip(*(_fields(part[name]) for name in part), strict=True))
    text.detach()  # the file is closed by whoever opened it


def _fields(column: "pd.Series[Any]") -> list[Any]:
    """Values of a column, None for missing ones."""
    values = [plain_field(value) for value in column.tolist()]
    if not column.hasnans:
        return values
    return [None if value is pd.NA or value != value else value for value in values]


def to_csv(columns: Mapping[str, Sequence[object]]) -> str:
    """Return columns as CSV text with a header line; None is an empty field, NaN is "nan".

    Args:
        columns: header to values; all columns have the same length.

    Raises:
        ValueError: the lengths differ.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(plain_field, columns))
    rows = zip(*columns.values(), strict=True)
    writer.writerows([plain_field(value) for value in row] for row in rows)
    return text.getvalue()
