"""Statistics over runs, drawn by seaborn: Dice of every class, and learning curves."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.compare.comparison import Comparison
from bench.report.plots.style import GREY, Series, grey_note, highlight, legend_below
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
    looks = highlight(rows, looks)
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
    names = [textwrap.fill(name, 14, max_lines=3) for name in runs["class"].unique()]
    axes.set_xticks(range(len(names)), names)
    axes.set(xlabel="", ylabel=f"Dice of the class ({DICE.unit})", title=comparison.title)
    _move_legend(axes, figure, looks)
    return figure


def draw_curves(comparison: Comparison, looks: Mapping[Row, Series]) -> Figure | None:
    """Draw training loss and validation Dice by step: mean over runs.

    Training losses of different kinds have panels of their own. With at most `BANDS` curves in a
    panel, a band shows one standard deviation on each side.

    Args:
        comparison: of one table; its successful runs are shown.
        looks: look of each row; rows with the same name are one method.

    Returns:
        The figure; None if no run has a training curve.
    """
    points = pd.DataFrame(
        [
            (
                point["step"],
                point.get("loss"),
                point.get("val_dice"),
                looks[row].name,
                _kind_of_loss(row),
            )
            for row in comparison.rows
            for history in row.column("history")
            for point in history
        ],
        columns=["step", "loss", "val_dice", "method", "kind"],
    )
    if points.empty:
        return None
    points["val_dice"] = pd.to_numeric(points["val_dice"]) * DICE.scale
    looks = highlight([row for row in comparison.rows if row.succeeded], looks)
    shown = [look for look in looks.values() if look.name in set(points["method"])]
    losses = points.dropna(subset="loss")
    kinds = list(losses["kind"].unique())
    count = max(len(kinds), 1) + 1
    lines = -(-count // 3)
    figure = Figure(figsize=(5.5 * min(count, 3), 1 + 4.2 * lines), layout="constrained")
    figure.suptitle(comparison.title, fontsize=12)
    panels = figure.subplots(lines, min(count, 3), squeeze=False).flatten()
    for axes in panels[count:]:
        axes.set_axis_off()
    right = panels[count - 1]
    for axes, kind in zip(panels, kinds, strict=False):
        _curves(axes, losses[losses["kind"] == kind], "loss", shown)
        name = f"training loss ({kind})" if len(kinds) > 1 else "training loss"
        axes.set(xlabel="step", ylabel=textwrap.fill(name, 34))
    _curves(right, points.dropna(subset="val_dice"), "val_dice", shown)
    right.set(xlabel="step", ylabel=f"validation Dice ({DICE.unit})")
    _move_legend(right if right.get_legend() else panels[0], figure, looks)
    for axes in panels:
        if axes.get_legend() is not None:
            axes.get_legend().remove()
    return figure


def _kind_of_loss(row: Row) -> str:
    """What its loss depends on: losses of masks of prompts are those of other targets."""
    loss = row.cells[0].recipe.loss
    return loss if row.prompts == "none" else f"{loss}, {row.prompts} prompts"


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


def _move_legend(axes: Axes, figure: Figure, looks: Mapping[Row, Series]) -> None:
    """Replace the legend of seaborn in the axes by one below the figure, without grey rows."""
    grey = {look.name for look in looks.values() if look.colour == GREY}
    every = zip(*axes.get_legend_handles_labels(), strict=True)
    shown = [(handle, name) for handle, name in every if name not in grey]
    if (note := grey_note(looks)) is not None:
        shown.append((Line2D([], [], color=GREY), note))
    handles, names = [handle for handle, _ in shown], [name for _, name in shown]
    if (legend := axes.get_legend()) is not None:
        legend.remove()
    legend_below(figure, handles, names)
