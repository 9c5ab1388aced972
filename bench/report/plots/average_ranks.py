"""Average ranks over datasets, drawn: a critical-difference diagram with a line for each method."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.compare.across_datasets import Standing
from bench.report.plots.rows import name_rows
from bench.report.plots.sheet import REPORT, Sheet
from bench.report.plots.style import FAINT, INK, Series, legend_below
from bench.report.records.rows import Row

_STEP = 0.022  # between neighbouring bars, in widths of the axes
# A rank on one dataset.
_ONE: Mapping[str, Any] = {"color": "white", "edgecolor": "#888888", "linewidth": 1, "zorder": 2}


def draw_ranks(standing: Standing, looks: Mapping[Row, Series], sheet: Sheet = REPORT) -> Figure:
    """Draw the ranks of each method on every dataset and their average, the best method on top.

    A bar to the right of the axes joins methods of which no two differ significantly.

    Args:
        standing: the ranks.
        looks: look of each row; name, colour and marker are used.
        sheet: size of the figure.
    """
    methods = len(standing.methods)
    names = [looks[row].name for row in standing.methods]
    ranks = pd.DataFrame(standing.ranks, columns=range(methods)).melt(var_name="place")
    figure = sheet.figure(8.4, 1.9 + 0.28 * methods)
    sheet.title(figure, f"Ranks of {methods} methods {standing.title}")
    axes = figure.subplots()
    least, most = standing.ranks.min(0), standing.ranks.max(0)
    axes.hlines(range(methods), least, most, colors=FAINT, lw=sheet.pt(1.2), zorder=1)
    seaborn.stripplot(
        ranks, x="value", y="place", orient="h", jitter=False, size=sheet.pt(4), **_ONE, ax=axes
    )
    for place, (row, mean) in enumerate(zip(standing.methods, standing.ranks.mean(0), strict=True)):
        look = looks[row]
        axes.plot(mean, place, look.marker, color=look.colour, ms=sheet.pt(8), zorder=3)
        axes.annotate(
            f"{mean:.1f}",
            (most[place], place),
            (sheet.pt(8), 0),
            textcoords="offset points",
            va="center",
            fontsize=sheet.pt(9),
            color=INK,
        )
    _draw_bars(axes, standing.cliques, sheet)
    name_rows(axes, names, sheet, 8.4)
    axes.set_ylim(methods - 0.4, -0.6)
    axes.set_xlim(1 - 0.03 * methods, methods * (1 + 0.08 * 8.4 / sheet.room(8.4)))
    axes.set_xticks(
        [rank for rank in range(1, methods + 1) if methods <= 12 or rank == 1 or rank % 5 == 0]
    )
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="← rank by Dice (1 is best)", ylabel="")
    legend_below(figure, _explain(sheet, bars=bool(standing.cliques)), columns=3)
    return figure


def columns_of(bars: Sequence[tuple[int, int]]) -> list[int]:
    """Arrange bars in columns, so that no two bars in a column touch.

    Args:
        bars: first and last place of each bar, sorted by the first.

    Returns:
        Number of the column of each bar, from 0; each bar is in the first column with room.
    """
    ends: list[int] = []  # of the last bar in every column
    columns = []
    for first, last in bars:
        free = next((n for n, end in enumerate(ends) if end < first), len(ends))
        ends[free:] = [last, *ends[free + 1 :]]
        columns.append(free)
    return columns


def _draw_bars(axes: Axes, bars: Sequence[tuple[int, int]], sheet: Sheet) -> None:
    for (first, last), column in zip(bars, columns_of(bars), strict=True):
        axes.plot(
            [1.02 + _STEP * column] * 2,
            [first - 0.25, last + 0.25],
            color=INK,
            lw=sheet.pt(3),
            solid_capstyle="butt",
            transform=axes.get_yaxis_transform(),
            clip_on=False,
        )


def _explain(sheet: Sheet, bars: bool) -> list[Line2D]:
    """The marks for the legend."""
    average: dict[str, Any] = {"marker": "o", "color": INK, "ms": sheet.pt(8)}
    one: dict[str, Any] = {
        "marker": "o",
        "ms": sheet.pt(4),
        "mfc": _ONE["color"],
        "mec": _ONE["edgecolor"],
    }
    handles = [
        Line2D([], [], ls="", label="average rank", **average),
        Line2D([], [], ls="", label="rank on one dataset", **one),
    ]
    if bars:
        label = "no significant difference"
        handles.append(Line2D([], [], color=INK, lw=sheet.pt(3), label=label))
    return handles
