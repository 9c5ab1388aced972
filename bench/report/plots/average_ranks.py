"""Average ranks over datasets, drawn: a critical-difference diagram with a line for each method."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.compare.across_datasets import Standing
from bench.report.plots.style import FAINT, INK, Series
from bench.report.records.rows import Row

_STEP = 0.022  # between neighbouring bars, in widths of the axes


def draw_ranks(standing: Standing, looks: Mapping[Row, Series]) -> Figure:
    """Draw the ranks of each method on every dataset and their average, the best method on top.

    A bar to the right of the axes joins methods of which no two differ significantly.

    Args:
        standing: the ranks.
        looks: look of each row; name, colour and marker are used.
    """
    methods = len(standing.methods)
    figure = Figure(figsize=(8.4, 1.9 + 0.28 * methods), layout="constrained")
    axes = figure.subplots()
    for place, (row, ranks) in enumerate(zip(standing.methods, standing.ranks.T, strict=True)):
        look = looks[row]
        axes.plot([ranks.min(), ranks.max()], [place, place], color=FAINT, lw=1.2, zorder=1)
        axes.plot(ranks, [place] * len(ranks), "o", ms=4, mfc="white", mec="#888888", zorder=2)
        axes.plot(ranks.mean(), place, look.marker, color=look.colour, ms=8, zorder=3)
        axes.annotate(
            f"{ranks.mean():.1f}",
            (ranks.max(), place),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
        )
    _draw_bars(axes, standing.cliques)
    axes.set_yticks(range(methods), [looks[row].name for row in standing.methods])
    axes.set_ylim(methods - 0.4, -0.6)
    axes.set_xlim(1 - 0.03 * methods, methods + 0.08 * methods)
    axes.set_xticks(
        [rank for rank in range(1, methods + 1) if methods <= 12 or rank == 1 or rank % 5 == 0]
    )
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("← rank by Dice (1 is best)")
    axes.set_title(f"Ranks of {methods} methods {standing.title}")
    _explain(axes, bars=bool(standing.cliques))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
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


def _draw_bars(axes: Axes, bars: Sequence[tuple[int, int]]) -> None:
    for (first, last), column in zip(bars, columns_of(bars), strict=True):
        axes.plot(
            [1.02 + _STEP * column] * 2,
            [first - 0.25, last + 0.25],
            color=INK,
            lw=3,
            solid_capstyle="butt",
            transform=axes.get_yaxis_transform(),
            clip_on=False,
        )


def _explain(axes: Axes, bars: bool) -> None:
    """Name the marks for the legend."""
    nothing = np.empty(0)
    axes.plot(nothing, nothing, "o", color=INK, ms=8, label="average rank")
    axes.plot(nothing, nothing, "o", ms=4, mfc="white", mec="#888888", label="rank on one dataset")
    if bars:
        axes.plot(nothing, nothing, color=INK, lw=3, label="no significant difference")
