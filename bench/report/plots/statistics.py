"""Statistics over runs, drawn by seaborn: Dice of every class, and learning curves."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.compare.comparison import Comparison
from bench.report.plots.style import Series, legend_below
from bench.report.records.columns import DICE
from bench.report.records.rows import Row

BANDS = 8  # with more curves than this, their spread is not drawn


def draw_classes(comparison: Comparison, looks: Mapping[Row, Series]) -> Figure | None:
    """Draw mean and standard deviation over runs of the Dice of every class, for each method.

    The background is one of the classes. Methods without a successful run are left out.

    Args:
        comparison: of one table.
        looks: look of each row; rows with the same name are one method.

    Returns:
        The figure; None if no run has a Dice of a class.
    """
    rows = [row for row in comparison.rows if row.succeeded]
    runs = pd.DataFrame(
        [
            (name, float(dice) * DICE.scale, looks[row].name)
            for row in rows
            for name in row.column("classes").iloc[0]
            if f"dice/{name}" in row.runs.frame
            for dice in row.column(f"dice/{name}").dropna()
        ],
        columns=["class", "dice", "method"],
    )
    if runs.empty:
        return None
    shown = [looks[row] for row in rows if looks[row].name in set(runs["method"])]
    wide = runs["class"].nunique() * len(shown)
    size = max(7.0, min(16.0, 3 + 0.25 * wide)), 4.2 + 0.25 * math.ceil(len(shown) / 4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    seaborn.pointplot(
        runs,
        x="class",
        y="dice",
        hue="method",
        palette={look.name: look.colour for look in shown},
        markers=[look.marker for look in shown],
        linestyles="none",
        dodge=0.8 * (1 - 1 / len(shown)) if len(shown) > 1 else False,
        errorbar="sd",
        markersize=6,
        err_kws={"linewidth": 1.2},
        ax=axes,
    )
    axes.grid(visible=False, axis="x")
    names = [name.replace(" ", "\n") for name in runs["class"].unique()]
    axes.set_xticks(range(len(names)), names)
    axes.set(xlabel="", ylabel=f"Dice of the class ({DICE.unit})", title=comparison.title)
    _move_legend(axes, figure)
    return figure


def draw_curves(comparison: Comparison, looks: Mapping[Row, Series]) -> Figure | None:
    """Draw training loss and validation Dice by step: mean over runs.

    With at most `BANDS` curves in a panel, a band shows one standard deviation on each side.

    Args:
        comparison: of one table; its successful runs are shown.
        looks: look of each row; rows with the same name are one method.

    Returns:
        The figure; None if no run has a training curve.
    """
    points = pd.DataFrame(
        [
            (point["step"], point.get("loss"), point.get("val_dice"), looks[row].name)
            for row in comparison.rows
            for history in row.column("history")
            for point in history
        ],
        columns=["step", "loss", "val_dice", "method"],
    )
    if points.empty:
        return None
    points["val_dice"] = pd.to_numeric(points["val_dice"]) * DICE.scale
    shown = [looks[row] for row in comparison.rows if looks[row].name in set(points["method"])]
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    figure.suptitle(comparison.title, fontsize=12)
    left, right = figure.subplots(1, 2)
    _curves(left, points.dropna(subset="loss"), "loss", shown)
    _curves(right, points.dropna(subset="val_dice"), "val_dice", shown)
    left.set(xlabel="step", ylabel="training loss")
    right.set(xlabel="step", ylabel=f"validation Dice ({DICE.unit})")
    if right.get_legend() is not None:
        right.get_legend().remove()
    _move_legend(left, figure)
    return figure


def _curves(axes: Axes, points: pd.DataFrame, value: str, looks: Sequence[Series]) -> None:
    if points.empty:
        return
    drawn = [look for look in looks if look.name in set(points["method"])]
    seaborn.lineplot(
        points,
        x="step",
        y=value,
        hue="method",
        style="method",
        palette={look.name: look.colour for look in drawn},
        dashes={look.name: look.dashes for look in drawn},
        errorbar="sd" if len(drawn) <= BANDS else None,
        err_kws={"linewidth": 0},
        linewidth=1.8,
        ax=axes,
    )


def _move_legend(axes: Axes, figure: Figure) -> None:
    """Replace the legend of seaborn in the axes by one below the figure."""
    handles, names = axes.get_legend_handles_labels()
    if (legend := axes.get_legend()) is not None:
        legend.remove()
    legend_below(figure, handles, names)
