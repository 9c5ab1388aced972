"""Write one kind of table of each comparison: as a page in Markdown, and unrounded as CSV."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from bench.files import write_atomic
from bench.report.compare.comparison import Comparison


def write_pages(
    comparisons: Sequence[Comparison],
    folder: Path,
    kind: str,
    table_of: Callable[[Comparison], pd.DataFrame],
    page_of: Callable[[Comparison], str],
) -> list[Path]:
    """Write `<slug>_<kind>.md` and `.csv` for every comparison whose table is not empty.

    Args:
        comparisons: some of them, or all.
        folder: is created if needed; files of the same names are replaced.
        kind: end of the names.
        table_of: the table.
        page_of: the page, which is only asked for if the table is not empty.

    Returns:
        The files.

    Raises:
        UserError: a file cannot be written.
    """
    written = []
    for comparison in comparisons:
        table = table_of(comparison)
        if not table.empty:
            path = folder / f"{comparison.slug}_{kind}.md"
            csv = table.to_csv(index=False)
            written += [
                write_atomic(path, page_of(comparison)),
                write_atomic(path.with_suffix(".csv"), csv),
            ]
    return written
