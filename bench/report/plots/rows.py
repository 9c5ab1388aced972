"""Figures with a line for each row of a table, the names on the left."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from bench.report.plots.sheet import Sheet, letters, wrap_names
from bench.wording import counted

MOST_ROWS = 40  # of a table that a figure shows; the others are counted below it
_SHARE = 0.36  # of the width of a figure that names may take


def name_rows(
    axes: Axes, names: Sequence[str], sheet: Sheet, natural: float, first: int = 0
) -> None:
    """Write names left of an axes, in lines that leave room for the panel.

    Args:
        axes: name n is at n + `first`.
        names: of the rows.
        sheet: size of the figure.
        natural: width of the figure in a report, in inches.
        first: place of the first name.
    """
    shown = wrap_names(names, letters(_SHARE * sheet.room(natural)))
    axes.set_yticks(range(first, first + len(shown)), shown)


def rest_note(rest: int) -> str | None:
    """The entry of a legend for rows that are not shown; None without any."""
    return f"{counted(rest, 'more row')}: in the table" if rest > 0 else None
