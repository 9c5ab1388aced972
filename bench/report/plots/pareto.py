"""Accuracy against every cost, with the front of methods that no other beats in both."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter

from bench.report.compare.comparison import Comparison
from bench.report.compare.ranking import hindrance
from bench.report.plots.labels import label_points
from bench.report.plots.style import FAINT, GREY, INK, Series, grey_note, highlight, settle
from bench.report.records.columns import COSTS, DICE, Column
from bench.report.records.rows import Row

SHORT = 26  # characters of a label in a panel
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


def draw_pareto(comparison: Comparison, looks: Mapping[Row, Series]) -> Figure | None:
    """Draw Dice against each of `COSTS` that is measured, one panel each, with its Pareto fronts.

    There is a front for each prompt origin, of the ranked rows; none if their costs cannot be
    compared (`hindrance`). Rows without a Dice are named in the legend.

    Args:
        comparison: of one table.
        looks: look of each row.

    Returns:
        The figure, whose layout is fixed; None if no row has both a Dice and a cost.
    """
    shown = [row for row in comparison.rows if row.values[DICE.key].figure is not None]
    costs = [c for c in COSTS if any(row.values[c.key].figure is not None for row in shown)]
    if not costs:
        return None
    fronts = [row for column in costs for row in _front_rows(comparison, column)]
    looks = highlight(list(dict.fromkeys([*fronts, *shown, *comparison.rows])), looks)
    figure = Figure(figsize=(11, 7.6), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    figure.suptitle(comparison.title, fontsize=12)
    panels = figure.subplots(2, 3, sharey=True)
    drawn = [
        (axes, column, _panel(axes, column, comparison, shown, looks))
        for axes, column in zip(panels.flat, costs, strict=False)
    ]
    for axes in panels[:, 0]:
        axes.set_ylabel(DICE.header)
    for axes in panels.flat[len(costs) :]:
        axes.set_axis_off()
    last = panels.flat[len(costs)]
    _name(last, comparison, shown, looks)
    legend = last.legend(loc="center left", bbox_to_anchor=(-0.05, 0.5), fontsize=9)
    legend.set_in_layout(False)
    widen(panels.flat[0].yaxis, DICE_SPAN)
    settle(figure)  # labels are placed for the final layout
    for axes, column, rows in drawn:
        _label(axes, column, rows, looks)
    return figure


def _panel(
    axes: Axes,
    column: Column,
    comparison: Comparison,
    shown: Sequence[Row],
    looks: Mapping[Row, Series],
) -> list[Row]:
    """Draw the points and fronts of one cost; the rows that have it."""
    rows = [row for row in shown if row.values[column.key].figure is not None]
    missing = [row.label for row in shown if row not in rows]
    _set_scale(axes, column, rows)
    _draw_fronts(axes, column, comparison)
    for row, (cost, dice) in zip(rows, _points(column, rows), strict=True):
        if looks[row].colour == GREY:
            axes.plot(cost, dice, looks[row].marker, color=GREY, markersize=4, zorder=2)
            continue
        spread = row.values[DICE.key].spread
        axes.errorbar(
            cost,
            dice,
            yerr=None if spread is None else spread * DICE.scale,
            color=looks[row].colour,
            marker=looks[row].marker,
            markerfacecolor=looks[row].colour if row.prompts == "none" else "white",
            markersize=7,
            elinewidth=1.2,
            zorder=3,
        )
    name = f"{column.axis} ({column.unit})"
    axes.set_xlabel(f"{name}, more is better →" if column.better == "higher" else f"← {name}")
    axes.margins(x=0.15, y=0.15)
    if axes.get_xscale() == "linear":
        widen(axes.xaxis, COST_SPAN * float(_points(column, rows)[:, 0].max()))
    if missing:
        text = textwrap.shorten("not measured: " + ", ".join(missing), 56, placeholder=" ...")
        axes.text(0, 1.01, text, transform=axes.transAxes, fontsize=8, color=INK, in_layout=False)
    return rows


def _draw_fronts(axes: Axes, column: Column, comparison: Comparison) -> None:
    """One front for each origin of prompts, of the ranked rows that have both values."""
    for block in comparison.blocks:
        rows = block.measured(column, DICE)
        if not rows or hindrance(column, rows) is not None:
            continue
        x, y = _points(column, rows).T
        front = pareto_front(x.tolist(), y.tolist(), column.better)
        where: Literal["pre", "post"] = "post" if column.better == "lower" else "pre"
        axes.step(x[front], y[front], where=where, color=FAINT, lw=1.5, zorder=1)


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
    """Let a linear axis show at least a span of `least`, so that small differences look small."""
    low, high = axis.get_view_interval()
    if high - low < least:
        middle = (low + high) / 2
        axis.set_view_interval(middle - least / 2, middle + least / 2, ignore=True)


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


def _label(axes: Axes, column: Column, rows: Sequence[Row], looks: Mapping[Row, Series]) -> None:
    points = _points(column, rows)
    chosen = [place for place, row in enumerate(rows) if looks[row].colour != GREY]
    names = [_short(looks[rows[i]].name) for i in chosen]
    label_points(axes, points[chosen], names, [looks[rows[i]].ink for i in chosen])


def _short(name: str) -> str:
    """A name that leaves room for others in its panel; the legend has all of it."""
    return name if len(name) <= SHORT else f"{name[: SHORT - 1]}…"


def _wrap(name: str) -> str:
    """A name in lines that fit into the panel of the legend."""
    return textwrap.fill(name.replace(",", ", "), 40).replace(", ", ",")


def _name(
    axes: Axes, comparison: Comparison, shown: Sequence[Row], looks: Mapping[Row, Series]
) -> None:
    """Give the empty panel what the legend is to explain."""
    for row in sorted(shown, key=lambda row: -(row.values[DICE.key].figure or 0.0)):
        look = looks[row]
        if look.colour == GREY:
            continue
        face = look.colour if row.prompts == "none" else "white"
        axes.plot(
            [], [], look.marker, color=look.colour, markerfacecolor=face, label=_wrap(look.name)
        )
    axes.plot([], [], "-", color=FAINT, lw=1.5, label="Pareto front")
    if (note := grey_note({row: looks[row] for row in shown})) is not None:
        axes.plot([], [], ".", color=GREY, label=note)
    absent = [f"{looks[row].name}: {row.status}" for row in comparison.rows if row not in shown]
    for text in absent:
        axes.plot([], [], " ", label=text)
