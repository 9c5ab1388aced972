"""Write CSV as pandas does, but faster, for many small tables."""

import csv
import io
from collections.abc import Mapping, Sequence

from bench.wording import plain_field


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
