"""`report --latex`: tables for a paper, with chosen columns, datasets and reference."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.parsing import plain
from bench.cli.report_choice import split
from bench.errors import no_such
from bench.wording import counted

if TYPE_CHECKING:
    from bench.report.compare.comparison import Comparison
    from bench.report.records.columns import Column

DEFAULT_COLUMNS = "dice,iou,hd95,trainable"


def choose_columns(text: str) -> "list[Column]":
    """Return the columns of a list such as "dice,trainable", each once.

    Raises:
        UserError: no column has one of these names.
    """
    from bench.report.records.columns import column_names

    known = column_names()
    for name in (names := split(text)):
        if name not in known:
            raise no_such("column", name, known)
    return [known[name] for name in names]


def write_latex(
    comparisons: "list[Comparison]",
    columns: "list[Column]",
    against: str | None,
    folder: Path,
    console: Console,
    *,
    joined: bool = False,
) -> list[Path]:
    """Write a table for each comparison, and print the paths.

    Args:
        comparisons: those to write; with `against`, those without this row are left out.
        columns: to show.
        against: label of the row with which the others are compared, or None for the best.
        folder: results folder; the files are `latex/<slug>.tex` in it.
        console: to print on.
        joined: write one table for comparisons that differ only in the dataset.

    Raises:
        UserError: no ranked row is named `against`, or a file cannot be written.
    """
    from bench.files import write_atomic
    from bench.report.compare.against import find_references
    from bench.report.compare.grouping import words_of
    from bench.report.tables.paper import paper_table

    chosen = comparisons if against is None else list(find_references(comparisons, against))
    files = []
    tables: dict[tuple[str, ...], list[Comparison]] = {}
    for one in chosen:
        settings = words_of(one.rows[0].cells[0])[1:] if joined else (one.slug,)
        tables.setdefault(settings, []).append(one)
    for table in tables.values():
        name = "_".join(one.slug for one in table)
        text = paper_table(table, columns, against)
        files.append(write_atomic(folder / "latex" / f"{name}.tex", text))
        console.print(plain(files[-1]), soft_wrap=True)
    console.print(rf"{counted(len(files), 'table')}; they need \usepackage{{booktabs}}")
    return files
