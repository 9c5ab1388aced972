"""Show comparisons as tables in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bench.report.compare.comparison import Comparison
from bench.report.compare.ranking import Mark
from bench.report.records.columns import Column
from bench.report.tables.write import cells

# Text columns and their largest width; longer text is folded. Prompts are shown above their block.
_TEXT = {"Method": 30, "Backbone": 12, "Weights": 14, "Runs": 14}


def terminal_table(comparison: Comparison, width: int = 100) -> Table:
    """Return a comparison as a table of the library rich; the caption holds its notes.

    Columns in which no row has a value are left out.

    Args:
        comparison: the comparison to show.
        width: number of characters in a line; the least important columns are left out until the
            table fits or has one column of numbers.
    """
    everything = comparison.all_columns
    keep = [
        column
        for column in everything
        if any(row.value(column).figure is not None for row in comparison.rows)
    ]
    console = Console(width=10_000)
    while True:
        table = _table(comparison, keep, len(keep) < len(everything))
        if len(keep) < 2 or Measurement.get(console, console.options, table).maximum <= width:
            return table
        keep.remove(max(keep, key=lambda column: column.importance))


def _table(comparison: Comparison, columns: Sequence[Column], shortened: bool) -> Table:
    table = Table(
        title=Text(comparison.title, style="bold"),
        title_justify="left",
        caption=_caption(comparison, shortened),
        caption_justify="left",
        caption_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    statuses = {word for row in comparison.rows for word in row.status.split()}
    least = {"Runs": max(map(len, statuses))}  # no word of it is broken
    for title, widest in _TEXT.items():
        table.add_column(title, overflow="fold", max_width=widest, min_width=least.get(title))
    for column in columns:
        header = "\n".join([*column.title.split(), f"({column.unit})"])
        table.add_column(header, justify="right", no_wrap=True)
    for block in comparison.blocks:
        if len(comparison.blocks) > 1:
            table.add_row(Text(f"prompts: {block.prompts}", style="italic"))
        for label, backbone, weights, _, status, *figures in cells(block, columns, _mark):
            texts = [Text(text, style="bold" if "*" in text else "") for text in figures]
            table.add_row(*map(Text, (label, backbone, weights, status)), *texts)
        table.add_section()
    return table


def _caption(comparison: Comparison, shortened: bool) -> Text:
    legend = "* best of its column and block."
    if shortened:
        legend += (
            " Empty columns, and columns that do not fit, are left out; the files contain all."
        )
    return Text("\n".join([legend, *comparison.notes]))


def _mark(text: str, mark: Mark | None) -> str:
    """The text with its mark, or with a space, so that all numbers of a column are aligned."""
    return text + {"best": "*", "tied": "≈", None: " "}[mark]
