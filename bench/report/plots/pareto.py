"""Accuracy against every cost, with the front of methods that no other beats in both."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bench.report.compare.comparison import Comparison
from bench.report.compare.ranking import hindrance
from bench.report.plots.labels import label_points
from bench.report.plots.sheet import REPORT, Sheet, letters, values_only, wrap_name
from bench.report.plots.style import (
    FAINT,
    GREY,
    INK,
    Series,
    grey_note,
    highlight,
    legend_below,
    settle,
)
from bench.report.records.columns import COSTS, DICE, Column
from bench.report.records.rows import Row
from bench.wording import counted

_WIDE, _TALL, _LEAST = 11.0, 3.6, 2.2  # of figure and panel, and the narrowest panel, in inches
_LABELLED = 2.8  # least width of a panel with names; in narrower ones only the legend has them
_ABSENT = 3  # rows without a Dice that the legend names
DICE_SPAN = 10.0  # points that the axis of Dice shows at least
COST_SPAN = 0.2  # share of the largest cost that a linear axis shows at least


def pareto_front(
    costs: Sequence[float], merits: Sequence[float], better: Literal["higher", "lower"]
) -> list[int]:
    """Return the positions of the points on the Pareto front, lowest cost first.

    A point is on the front if no other point is at least as good in both values and better in one.
    Equal points are all on it or all not.

    Args:
        costs: cost of each point.
        merits: merit of each point; higher is better.
        better: whether higher or lower `costs` are better.
    """
    sign = 1 if better == "lower" else -1
    burdens = [sign * cost for cost in costs]
    return sorted(
        (
            i
            for i, (burden, merit) in enumerate(zip(burdens, merits, strict=True))
            if not any(
                b <= burden and m >= merit and (b < burden or m > merit)
                for b, m in zip(burdens, merits, strict=True)
            )
        ),
        key=lambda i: costs[i],
    )


def draw_pareto(
    comparison: Comparison, looks: Mapping[Row, Series], sheet: Sheet = REPORT
) -> Figure | None:
    """Draw Dice against each of `COSTS` that is measured, one panel each, with its Pareto fronts.

    There is a front for each prompt origin, of the ranked rows; none if their costs cannot be
    compared (`hindrance`). Rows without a Dice are named in the legend.

    Args:
        comparison: of one table.
        looks: look of each row.
        sheet: size of the figure.

    Returns:
        The figure, whose layout is fixed; None if no row has both a Dice and a cost.
    """
    shown = [row for row in comparison.rows if row.values[DICE.key].figure is not None]
    costs = [c for c in COSTS if any(row.values[c.key].figure is not None for row in shown)]
    if not costs:
        return None
    fronts = [row for column in costs for row in _front_rows(comparison, column)]
    looks = highlight(list(dict.fromkeys([*fronts, *shown, *comparison.rows])), looks)
    columns = sheet.columns(min(3, len(costs) + 1), _LEAST, _WIDE)
    lines = -(-len(costs) // columns)
    wide = sheet.room(_WIDE) / columns
    handles = _explain(comparison, shown, looks, letters(wide - 0.4, 9))
    # In the last panel if it is empty and tall enough, else below all panels.
    texts = [str(handle.get_label()) for handle in handles]
    tall = min(_TALL, wide)
    inside = lines * columns > len(costs) and sheet.legend_height(texts, _WIDE, 1) < tall
    below = 0 if inside else sheet.legend_height(texts, _WIDE, columns)
    figure = sheet.figure(
        _WIDE,
        tall * lines + (0.4 if sheet.titled else 0) + below,
        ConstrainedLayoutEngine(w_pad=sheet.pt(0.1), h_pad=sheet.pt(0.1)),
    )
    sheet.title(figure, comparison.title)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    drawn = [
        (axes, column, _panel(axes, column, comparison, shown, looks, sheet, wide))
        for axes, column in zip(panels.flat, costs, strict=False)
    ]
    for axes in panels[:, 0]:
        axes.set_ylabel(DICE.header)
    for axes in panels.flat[len(costs) :]:
        axes.set_axis_off()
    if inside:
        place: dict[str, Any] = {
            "loc": "center left",
            "bbox_to_anchor": (-0.05, 0.5),
            "fontsize": sheet.pt(9),
        }
        panels.flat[-1].legend(handles=handles, **place).set_in_layout(False)
    else:
        legend_below(figure, handles=handles, columns=columns, fontsize=sheet.pt(9))
    widen_dice(panels.flat[0].yaxis)
    settle(figure, sheet.passes)  # labels are placed for the final layout
    for axes, column, rows in drawn:
        hide_overlapping_ticks(axes)
        if wide >= _LABELLED:
            _label(axes, column, rows, looks, sheet)
    return figure


def _panel(
    axes: Axes,
    column: Column,
    comparison: Comparison,
    shown: Sequence[Row],
    looks: Mapping[Row, Series],
    sheet: Sheet,
    wide: float,
) -> list[Row]:
    """Draw the points and fronts of one cost in a panel so many inches wide; the rows with it."""
    rows = [row for row in shown if row.values[column.key].figure is not None]
    missing = [row.label for row in shown if row not in rows]
    _set_scale(axes, column, rows)
    _draw_fronts(axes, column, comparison, sheet)
    points = _points(column, rows)
    grey: dict[str, list[int]] = defaultdict(list)  # places by marker: one artist for each
    for place, (row, (cost, dice)) in enumerate(zip(rows, points, strict=True)):
        look = looks[row]
        if look.colour == GREY:
            grey[look.marker].append(place)
            continue
        spread = row.values[DICE.key].spread
        axes.errorbar(
            cost,
            dice,
            yerr=None if spread is None else spread * DICE.scale,
            color=look.colour,
            marker=look.marker,
            markerfacecolor=look.colour if row.prompts == "none" else "white",
            markersize=sheet.pt(7),
            elinewidth=sheet.pt(1.2),
            zorder=3,
        )
    for marker, places in grey.items():
        axes.plot(*points[places].T, marker, color=GREY, markersize=sheet.pt(4), zorder=2)
    name = f"{column.axis} ({column.unit})"
    text = f"{name}, more is better\u00a0→" if column.better == "higher" else f"←\u00a0{name}"
    axes.set_xlabel(textwrap.fill(text, letters(wide - 0.5, 9)))
    axes.margins(x=0.15, y=0.15)
    if axes.get_xscale() == "linear":
        widen(axes.xaxis, COST_SPAN * float(points[:, 0].max()))
    if missing:
        text = f"not measured: {', '.join(missing)}"
        if len(text) > letters(wide - 0.4, 8):
            text = f"not measured: {counted(len(missing), 'row')}"
        axes.set_title(text, loc="left", fontsize=sheet.pt(8), color=INK, pad=sheet.pt(3))
    return rows


def _draw_fronts(axes: Axes, column: Column, comparison: Comparison, sheet: Sheet) -> None:
    """One front for each origin of prompts, of the ranked rows that have both values."""
    for block in comparison.blocks:
        rows = block.measured(column, DICE)
        if not rows or hindrance(column, rows) is not None:
            continue
        x, y = _points(column, rows).T
        front = pareto_front(x.tolist(), y.tolist(), column.better)
        where: Literal["pre", "post"] = "post" if column.better == "lower" else "pre"
        axes.step(x[front], y[front], where=where, color=FAINT, lw=sheet.pt(1.5), zorder=1)


def _front_rows(comparison: Comparison, column: Column) -> list[Row]:
    """The rows on the fronts of one cost."""
    chosen = []
    for block in comparison.blocks:
        rows = block.measured(column, DICE)
        if rows and hindrance(column, rows) is None:
            x, y = _points(column, rows).T
            chosen += [rows[i] for i in pareto_front(x.tolist(), y.tolist(), column.better)]
    return chosen


def widen(axis: Axis, least: float) -> None:
    """Let a linear axis show at least a span of `least`, so that small differences look small.

    Axes that share it follow. Values that are not negative get no room for negative ones.
    """
    low, high = sorted(axis.get_view_interval())
    if high - low < least:
        start = (low + high - least) / 2
        start = max(start, min(low, 0) if low < 0 else -0.05 * least)
        set_limits = axis.axes.set_xlim if isinstance(axis, XAxis) else axis.axes.set_ylim
        set_limits(start, start + least)


def widen_dice(axis: Axis) -> None:
    """`widen` an axis of Dice, with ticks whose numbers stay narrow whatever its length."""
    widen(axis, DICE_SPAN)
    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))


def hide_overlapping_ticks(axes: Axes) -> None:
    """Hide numbers on the x axis that would cover the one before, once the layout is fixed."""
    end = -np.inf
    for label in axes.get_xticklabels():
        box = label.get_window_extent()
        if label.get_text() and axes.bbox.x0 - 1 <= (box.x0 + box.x1) / 2 <= axes.bbox.x1 + 1:
            label.set_visible(bool(box.x0 > end))
            end = box.x1 + 0.3 * box.height if box.x0 > end else end


def _set_scale(axes: Axes, column: Column, rows: Sequence[Row]) -> None:
    """Logarithmic, with room for 0, which methods that train nothing have."""
    x = _points(column, rows)[:, 0]
    positive = x[x > 0]
    if positive.size == 0 or positive.max() < 5 * positive.min():
        return  # a logarithmic axis would hold hardly a tick
    if positive.size == x.size:
        axes.set_xscale("log", subs=(2, 5))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if x.max() < 50 * x.min() else (1,)))
    else:
        least = 10.0 ** np.floor(np.log10(positive.min()))
        axes.set_xscale("symlog", linthresh=least, linscale=0.5)
        axes.set_xlim(-0.6 * least, 4 * x.max())
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _points(column: Column, rows: Sequence[Row]) -> npt.NDArray[np.float64]:
    """(N, 2) cost and Dice in the shown units."""
    return np.array(
        [[(row.values[c.key].figure or 0.0) * c.scale for c in (column, DICE)] for row in rows],
        dtype=float,
    ).reshape(-1, 2)


def _label(
    axes: Axes, column: Column, rows: Sequence[Row], looks: Mapping[Row, Series], sheet: Sheet
) -> None:
    points = _points(column, rows)
    chosen = [place for place, row in enumerate(rows) if looks[row].colour != GREY]
    wide = axes.bbox.width / axes.figure.dpi / sheet.scale
    names = short_names([looks[rows[i]].name for i in chosen], letters(0.75 * wide, 9))
    colours = [looks[rows[i]].ink for i in chosen]
    label_points(axes, points[chosen], names, colours, sheet.scale)


def short_names(names: Sequence[str], width: int) -> list[str]:
    """Names in one line of at most so many letters; the legend has all of them.

    Long names lose the names of their options, as "med_sa[add,frozen]" for
    "med_sa[condition=add,decoder=frozen] (oracle)", then what is in parentheses, then their ends.
    """
    shown = []
    for name in names:
        values = values_only(name)
        forms = (name, values, re.sub(r" \([^()]*\)$", "", values))
        short = next((form for form in forms if len(form) <= width), forms[-1])
        shown.append(wrap_name(short, width, 1))
    return shown


def _explain(
    comparison: Comparison, shown: Sequence[Row], looks: Mapping[Row, Series], width: int
) -> list[Line2D]:
    """The entries of the legend, with names in lines of so many letters."""
    ordered = sorted(shown, key=lambda row: -(row.values[DICE.key].figure or 0.0))
    handles = []
    for row in ordered:
        look = looks[row]
        if look.colour != GREY:
            face = look.colour if row.prompts == "none" else "white"
            handles.append(_handle(wrap_name(look.name, width, 4), look.colour, look.marker, face))
    handles.append(Line2D([], [], color=FAINT, label="Pareto front"))
    if (note := grey_note({row: looks[row] for row in shown})) is not None:
        handles.append(_handle(note, GREY, "."))
    absent = [row for row in comparison.rows if row not in shown]
    for row in absent[:_ABSENT]:
        handles.append(_handle(wrap_name(f"{looks[row].name}: {row.status}", width), "none", ""))
    if len(absent) > _ABSENT:
        handles.append(_handle(f"{len(absent) - _ABSENT} more without a Dice", "none", ""))
    return handles


def _handle(label: str, colour: str, marker: str, face: str | None = None) -> Line2D:
    fill = colour if face is None else face
    return Line2D([], [], ls="", color=colour, marker=marker, markerfacecolor=fill, label=label)
