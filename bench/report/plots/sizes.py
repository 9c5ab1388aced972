"""Sizes of objects, drawn: D10, D50 and D90 of the predictions of each row, and of the truth."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.compare.comparison import Comparison
from bench.report.compare.readings import SIZES, RowReading, readings_of
from bench.report.plots.pareto import widen
from bench.report.plots.rows import MOST_ROWS, name_rows, rest_note
from bench.report.plots.sheet import REPORT, Sheet, letters, wrap_name
from bench.report.plots.style import INK, Series, legend_below
from bench.report.records.rows import Row

_MARKERS = ("<", "o", ">")  # of D10, D50 and D90
_TRUTH = "#000000"
_BAR: Mapping[str, Any] = {"alpha": 0.6, "solid_capstyle": "butt"}


def draw_sizes(
    comparison: Comparison, looks: Mapping[Row, Series], sheet: Sheet = REPORT
) -> Figure | None:
    """Draw percentiles of the equivalent diameters, means over test images; a panel for each class.

    A bar is the 95 % interval of the error (prediction - truth), placed around the prediction.
    Rows are in the order of the table; those without measured objects are left out, and those after
    the first `MOST_ROWS`.

    Args:
        comparison: of one table.
        looks: look of each row.
        sheet: size of the figure.

    Returns:
        The figure; None if no row has a size in truth and prediction.
    """
    sizes = {
        row: [one for one in readings_of(row) if one.quantity in SIZES and not np.isnan(one.error)]
        for row in comparison.rows
    }
    every = [row for row in comparison.rows if sizes[row]]
    rows = every[:MOST_ROWS]
    if not rows:
        return None
    classes = list(dict.fromkeys(one.name for row in rows for one in sizes[row]))
    natural = 4 + 4.5 * min(len(classes), 3)
    columns = sheet.columns(min(len(classes), 3), 3.2, natural)
    lines = -(-len(classes) // columns)
    figure = sheet.figure(natural, 1 + lines * (0.9 + 0.38 * len(rows)))
    sheet.title(figure, comparison.title)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    for axes in panels[len(classes) :]:
        axes.set_axis_off()
    wide = sheet.room(natural) / columns
    for axes, name in zip(panels, classes, strict=False):
        for place, row in enumerate(rows):
            readings = [one for one in sizes[row] if one.name == name]
            _draw_row(axes, place, readings, looks[row].colour, sheet)
        label = textwrap.fill("equivalent diameter (px)", letters(wide - 0.3))
        axes.set(xlabel=label, title=wrap_name(name, letters(wide - 0.3, 11)))
        axes.grid(visible=False, axis="y")
        widen(axes.xaxis, 0.2 * axes.get_xlim()[1])
    name_rows(panels[0], [looks[row].name for row in rows], sheet, natural)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    handles = _explain(sheet)
    if (note := rest_note(len(every) - len(rows))) is not None:
        handles.append(Line2D([], [], ls="", label=note))
    legend_below(figure, handles, columns=5)
    return figure


def _draw_row(
    axes: Axes, place: int, readings: Sequence[RowReading], colour: str, sheet: Sheet
) -> None:
    if not readings:
        return
    truths = [one.truth for one in readings]
    axes.vlines(truths, place - 0.32, place + 0.32, colors=_TRUTH, lw=sheet.pt(2))
    values = [one.prediction for one in readings]
    axes.plot(values, [place] * len(values), color=colour, lw=sheet.pt(1), alpha=0.5)
    for one in readings:
        marker = _MARKERS[SIZES.index(one.quantity)]
        if one.interval is not None:
            ends = [
                one.prediction - one.error + end for end in (one.interval.low, one.interval.high)
            ]
            axes.plot(ends, [place, place], color=colour, lw=sheet.pt(3), **_BAR)
        axes.plot(one.prediction, place, marker, color=colour, ms=sheet.pt(7), mec="white", mew=0.6)


def _explain(sheet: Sheet) -> list[Line2D]:
    """The marks for the legend."""
    mark: dict[str, Any] = {"marker": "|", "ms": sheet.pt(14), "mew": sheet.pt(2)}
    handles = [Line2D([], [], ls="", color=_TRUTH, label="truth", **mark)]
    for marker, quantity in zip(_MARKERS, SIZES, strict=True):
        name = f"{quantity.title.removesuffix(' (px)')} of the prediction"
        look: dict[str, Any] = {"marker": marker, "color": INK, "ms": sheet.pt(7)}
        handles.append(Line2D([], [], ls="", label=name, **look))
    bar = Line2D([], [], color=INK, lw=sheet.pt(3), label="95 % interval of the error", **_BAR)
    return [*handles, bar]
