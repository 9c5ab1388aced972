"""Sizes of objects, drawn: D10, D50 and D90 of the predictions of each row, and of the truth."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.compare.comparison import Comparison
from bench.report.compare.readings import SIZES, RowReading, readings_of
from bench.report.plots.style import INK, Series, legend_below
from bench.report.records.rows import Row

_MARKERS = ("<", "o", ">")  # of D10, D50 and D90
_TRUTH = "#000000"


def draw_sizes(comparison: Comparison, looks: Mapping[Row, Series]) -> Figure | None:
    """Draw percentiles of the equivalent diameters, means over test images; a panel for each class.

    A bar is the 95 % interval of the error (prediction - truth), placed around the prediction.
    Rows are in the order of the table; those without measured objects are left out.

    Args:
        comparison: of one table.
        looks: look of each row.

    Returns:
        The figure; None if no row has a size in truth and prediction.
    """
    sizes = {
        row: [one for one in readings_of(row) if one.quantity in SIZES and not np.isnan(one.error)]
        for row in comparison.rows
    }
    rows = [row for row in comparison.rows if sizes[row]]
    if not rows:
        return None
    classes = list(dict.fromkeys(one.name for row in rows for one in sizes[row]))
    columns = min(len(classes), 3)
    lines = -(-len(classes) // columns)
    size = 4 + 4.5 * columns, 1 + lines * (0.9 + 0.38 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(comparison.title, fontsize=12)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    for axes in panels[len(classes) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, classes, strict=False):
        for place, row in enumerate(rows):
            readings = [one for one in sizes[row] if one.name == name]
            _draw_row(axes, place, readings, looks[row].colour)
        axes.set(xlabel="equivalent diameter (px)", title=name)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(rows)), [looks[row].name for row in rows])
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    _explain(panels[0])
    legend_below(figure, *panels[0].get_legend_handles_labels(), columns=5)
    return figure


def _draw_row(axes: Axes, place: int, readings: Sequence[RowReading], colour: str) -> None:
    if not readings:
        return
    axes.vlines([one.truth for one in readings], place - 0.32, place + 0.32, colors=_TRUTH, lw=2)
    values = [one.prediction for one in readings]
    axes.plot(values, [place] * len(values), color=colour, lw=1, alpha=0.5)
    for one in readings:
        marker = _MARKERS[SIZES.index(one.quantity)]
        if one.interval is not None:
            ends = [
                one.prediction - one.error + end for end in (one.interval.low, one.interval.high)
            ]
            axes.plot(ends, [place, place], color=colour, lw=3, alpha=0.6, solid_capstyle="butt")
        axes.plot(one.prediction, place, marker, color=colour, ms=7, mec="white", mew=0.6)


def _explain(axes: Axes) -> None:
    """Name the marks for the legend."""
    nothing = np.empty(0)
    axes.plot(nothing, nothing, "|", color=_TRUTH, ms=14, mew=2, label="truth")
    for marker, quantity in zip(_MARKERS, SIZES, strict=True):
        name = f"{quantity.title.removesuffix(' (px)')} of the prediction"
        axes.plot(nothing, nothing, marker, color=INK, ms=7, label=name)
    axes.plot(nothing, nothing, color=INK, lw=3, alpha=0.6, label="95 % interval of the error")
