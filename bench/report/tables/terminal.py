"""Show comparisons as tables in the terminal."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from bench.report.compare.comparison import Comparison
from bench.report.compare.ranking import Block, Mark
from bench.report.records.columns import Column
from bench.report.tables.write import SIGNS, cells

# Text columns and their largest width; longer text is folded. Prompts are shown above their block.
_TEXT = {"Method": 30, "Backbone": 12, "Weights": 14, "Runs": 14}
_GAP = 2  # characters between two columns of this box


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
    lengths = _lengths(comparison, keep)
    while len(keep) > 1 and _width(lengths, keep) > width:
        keep.remove(max(keep, key=lambda column: column.importance))
    return _table(comparison, keep, len(keep) < len(everything))


def _width(lengths: Mapping[str, int], columns: Sequence[Column]) -> int:
    return sum(lengths[name] + _GAP for name in (*_TEXT, *(column.key for column in columns)))


def _lengths(comparison: Comparison, columns: Sequence[Column]) -> dict[str, int]:
    """Number of characters of each column, by its title if it holds text, else by its key.

    It is added up here because rich needs much longer to measure a table.
    """
    lengths = {title: cell_len(title) for title in _TEXT}
    lengths |= {column.key: max(map(cell_len, _header(column).split("\n"))) for column in columns}
    for block in comparison.blocks:
        if len(comparison.blocks) > 1:
            lengths["Method"] = max(lengths["Method"], cell_len(_prompts(block)))
        for label, backbone, weights, _, status, *figures in cells(block, columns, _mark):
            texts = (label, backbone, weights, status, *figures)
            for name, text in zip(lengths, texts, strict=True):
                lengths[name] = max(lengths[name], cell_len(text))
    least = _least_widths(comparison)
    for title, widest in _TEXT.items():
        lengths[title] = max(min(lengths[title], widest), least.get(title, 0))
    return lengths


def _least_widths(comparison: Comparison) -> dict[str, int]:
    """Smallest width of text columns, so that no word of a status is broken."""
    return {"Runs": max(len(word) for row in comparison.rows for word in row.status.split())}


def _prompts(block: Block) -> str:
    return f"prompts: {block.prompts}"


def _header(column: Column) -> str:
    return "\n".join([*column.title.split(), f"({column.unit})"])


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
    least = _least_widths(comparison)
    for title, widest in _TEXT.items():
        table.add_column(title, overflow="fold", max_width=widest, min_width=least.get(title))
    for column in columns:
        table.add_column(_header(column), justify="right", no_wrap=True)
    for block in comparison.blocks:
        if len(comparison.blocks) > 1:
            table.add_row(Text(_prompts(block), style="italic"))
        for label, backbone, weights, _, status, *figures in cells(block, columns, _mark):
            texts = [Text(text, style="bold" if "*" in text else "") for text in figures]
            table.add_row(*map(Text, (label, backbone, weights, status)), *texts)
        table.add_section()
    return table


def _caption(comparison: Comparison, shortened: bool) -> Text:
    verdicts = len(comparison.verdicts)
    legend = "* best of its column and block."
    if shortened:
        legend += (
            " Empty columns, and columns that do not fit, are left out; the files contain all."
        )
    return Text("\n".join([*comparison.notes[:verdicts], legend, *comparison.notes[verdicts:]]))


def _mark(text: str, mark: Mark | None) -> str:
    """The text with its mark, or with a space, so that all numbers of a column are aligned."""
    return text + ("*" if mark == "best" else SIGNS[mark] if mark else " ")
