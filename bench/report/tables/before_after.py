"""Show a comparison of two results folders in the terminal."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.report.compare.before_after import BeforeAfter, RowChange
from bench.report.records.columns import COSTS, MISSING, Column
from bench.spec import Cell
from bench.stats.paired import min_specimens
from bench.wording import counted

SHOWN_ROWS = 30
_SHOWN_CELLS = 10
_STYLES = {"worse": "red", "better": "green"}


def before_after_table(comparison: BeforeAfter, most: int = SHOWN_ROWS) -> Table:
    """The rows as a table of the library rich, changed rows first.

    Args:
        comparison: the comparison.
        most: rows that are shown.
    """
    column = comparison.column
    table = Table(
        title=Text(f"{column.header}: after compared with before", style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=0,  # fits into 80 characters
    )
    table.add_column("Method", overflow="fold", min_width=12)
    table.add_column("Dataset", overflow="fold", min_width=8)
    for heading in ("Runs", "Before", "After", "Differ-\nence", "Interval", "Speci-\nmens"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Outcome", overflow="fold", min_width=10)
    for row in comparison.rows[:most]:
        settings = f" ({row.settings})" if row.settings else ""
        table.add_row(
            Text(row.label + settings),
            Text(row.dataset),
            str(row.runs),
            column.format(row.before),
            column.format(row.after),
            *_difference(row, column),
            str(row.specimens) if row.specimens else MISSING,
            Text(row.outcome, _STYLES.get(row.outcome, "")),
        )
    return table


def before_after_notes(comparison: BeforeAfter, most: int = SHOWN_ROWS) -> Iterator[str]:
    """Sentences below the table: counts, how to read it, changed settings, statuses and costs.

    Args:
        comparison: the comparison.
        most: rows that the table shows.
    """
    rows = comparison.rows
    counts = ", ".join(f"{count} {outcome}" for outcome, count in comparison.counts.items())
    pairs = counted(comparison.pairs, "pair of run").replace("pair of runs", "pairs of runs")
    yield f"{counted(len(rows), 'row')} of {pairs}: {counts or 'none'}."
    if len(rows) > most:
        yield f"The table shows {most} of {len(rows)} rows; --all shows the others."
    yield from _statistics(rows)
    for row in rows[:most]:
        yield from _changes(row)
    yield from comparison.notes
    for word, cells in (("before", comparison.only_before), ("after", comparison.only_after)):
        if cells:
            yield f"Only {word}: {counted(len(cells), 'cell')}: {_listed(cells)}."


def _difference(row: RowChange, column: Column) -> tuple[str, str]:
    """The difference with its sign, and its interval."""
    if row.difference is None:
        return MISSING, MISSING
    low, high = (_signed(end, column) for end in row.interval or (0.0, 0.0))
    unknown = row.interval is None or row.outcome == "equal"
    return _signed(row.difference, column), MISSING if unknown else f"{low} to {high}"


def _signed(value: float, column: Column) -> str:
    text = column.format(value)
    return text if value < 0 or not text.strip("-0.") else f"+{text}"


def _statistics(rows: Sequence[RowChange]) -> Iterator[str]:
    if any(row.interval for row in rows):
        yield (
            "Before and after: over all pixels or objects of the test set, mean over runs."
            " Difference: of the image scores, typical value over specimens with its 95 % interval;"
            " the outcome is corrected for the number of rows, the interval is not."
        )
    if untestable := [row for row in rows if row.outcome == "not testable"]:
        needed = max(row.needed for row in untestable)
        least = min_specimens(1)
        alone = "" if needed == least else f" (one row alone: {least})"
        yield (
            f"Not testable: with fewer than {needed} specimens no difference can be significant in"
            f" so many rows{alone}."
        )


def _changes(row: RowChange) -> Iterator[str]:
    name = " ".join(filter(None, (row.label, "on", row.dataset, row.settings)))
    if row.changes:
        yield f"{name}: {', '.join(row.changes)}."
    for change, count in row.statuses.items():
        yield f"{name}: {change} in {counted(count, 'run')}."
    costs = [
        f"{column.title.lower()} {column.format(one)} → {column.format(other)} {column.unit}"
        for column in COSTS
        if column.key in row.costs and not column.best_of_runs
        for one, other in [row.costs[column.key]]
        if one != other
    ]
    if costs:
        yield f"{name}: {', '.join(costs)}."


def _listed(cells: Sequence[Cell]) -> str:
    rest = len(cells) - _SHOWN_CELLS
    more = f", and {rest} more (--json lists all)" if rest > 0 else ""
    return ", ".join(cell.id for cell in cells[:_SHOWN_CELLS]) + more
