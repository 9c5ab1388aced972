"""Dice by the number of labelled training images, a curve for each method."""

from collections import defaultdict
from collections.abc import Mapping

import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from bench.report.compare.label_budgets import Budgets
from bench.report.plots.pareto import widen_dice
from bench.report.plots.sheet import REPORT, Sheet
from bench.report.plots.statistics import in_turn
from bench.report.plots.style import (
    GREY,
    Series,
    grey_note,
    highlight,
    legend_below,
)
from bench.report.records.columns import DICE
from bench.report.records.rows import Row


def budget_curves(
    budgets: Budgets, looks: Mapping[Row, Series]
) -> dict[Series, list[tuple[int, Row]]]:
    """Return the points of every method with at least two budgets: number of images and row.

    Args:
        budgets: the comparisons.
        looks: look of every row; rows with the same look are one method.

    Returns:
        Look of a method to its points, smallest number of images first; sorted by name. Rows
        without a Dice have no point.
    """
    points: dict[Series, list[tuple[int, Row]]] = defaultdict(list)
    for images, comparison in budgets.steps:
        for row in comparison.rows:
            if row.values[DICE.key].figure is not None:
                points[looks[row]].append((images, row))
    ordered = sorted(points.items(), key=lambda curve: curve[0].name)
    return {look: curve for look, curve in ordered if len(curve) > 1}


def draw_budgets(budgets: Budgets, looks: Mapping[Row, Series], sheet: Sheet = REPORT) -> Figure:
    """Draw mean and standard deviation of Dice over runs against the number of training images.

    Args:
        budgets: comparisons that differ only in the label budget.
        looks: look of each row; rows with the same look are one method. Methods with a Dice for
            only one budget are left out; if all are, the axes are empty. At most `HIGHLIGHTED` are
            coloured, those with the best Dice for the largest budget first.
        sheet: size of the figure.
    """
    curves = budget_curves(budgets, looks)
    rows = [row for _, comparison in reversed(budgets.steps) for row in in_turn(comparison)]
    own = highlight([row for row in rows if looks[row] in curves], looks)
    curves = budget_curves(budgets, {**looks, **own})
    names = [look.name for look in curves if look.colour != GREY]
    figure = sheet.figure(7.6, 0.75 * min(5, sheet.room(7.6)) + sheet.legend_height(names, 7.6))
    sheet.title(figure, f"{budgets.title}: label budgets")
    axes = figure.subplots()
    runs = pd.DataFrame(
        [
            (images, dice * DICE.scale, look.name)
            for look, curve in curves.items()
            for images, row in curve
            for dice in row.column(DICE.key).dropna()
        ],
        columns=["images", "dice", "method"],
    )
    seaborn.lineplot(
        runs,
        x="images",
        y="dice",
        hue="method",
        style="method",
        palette={look.name: look.colour for look in curves},
        markers={look.name: look.marker for look in curves},
        dashes={look.name: look.dashes for look in curves},
        errorbar="sd",
        err_style="bars",
        err_kws={"capsize": sheet.pt(3)},
        legend=False,
        ax=axes,
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets.numbers, [str(images) for images in budgets.numbers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training images")
    axes.set_ylabel(DICE.header)
    if curves:
        widen_dice(axes.yaxis)
    handles = [
        Line2D([], [], color=one.colour, ls=one.line, marker=one.marker, label=one.name)
        for one in curves
        if one.colour != GREY
    ]
    if (note := grey_note(own)) is not None:
        handles.append(Line2D([], [], color=GREY, label=note))
    if handles:
        legend_below(figure, handles)
    return figure
