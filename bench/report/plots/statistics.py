"""Statistics over runs, drawn by seaborn: Dice of every class, and learning curves."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from bench.report.compare.comparison import Comparison
from bench.report.plots.pareto import widen, widen_dice
from bench.report.plots.sheet import REPORT, Sheet, letters, wrap_names
from bench.report.plots.style import GREY, Series, grey_note, highlight, legend_below
from bench.report.records.columns import DICE
from bench.report.records.rows import Row

BANDS = 8  # with more curves than this, their spread is not drawn
_NOTE = "grey: 10 others, in the table"  # about as long as the note on grey rows
_RATIO = 10  # a loss that falls by more than this factor has a logarithmic axis


def draw_classes(
    comparison: Comparison, looks: Mapping[Row, Series], sheet: Sheet = REPORT
) -> Figure | None:
    """Draw mean and standard deviation over runs of the Dice of every class, for each method.

    The background is one of the classes. Methods without a successful run are left out. Grey
    methods have only their means, evenly spread over the height of the class.

    Args:
        comparison: of one table.
        looks: look of each row; rows with the same name are one method.
        sheet: size of the figure.

    Returns:
        The figure; None if no run has a Dice of a class.
    """
    rows = [row for row in in_turn(comparison) if row.succeeded]
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
    known = set(runs["method"])
    shown = {look.name: look for row in rows if (look := looks[row]).name in known}
    own = {name: look for name, look in shown.items() if look.colour != GREY}
    classes = list(runs["class"].unique())
    line = 0.35 + 0.12 * len(own)
    below = sheet.legend_height([*own, _NOTE], 8.4)
    figure = sheet.figure(8.4, 0.9 + line * len(classes) + below)
    sheet.title(figure, comparison.title)
    axes = figure.subplots()
    _grey_means(axes, runs[~runs["method"].isin(own)], classes, sheet)
    seaborn.pointplot(
        runs[runs["method"].isin(own)],
        x="dice",
        y="class",
        hue="method",
        order=classes,
        hue_order=list(own),
        palette={name: look.colour for name, look in own.items()},
        markers=[look.marker for look in own.values()],
        linestyles="none",
        dodge=0.7 * (1 - 1 / len(own)) if len(own) > 1 else False,
        errorbar="sd",
        markersize=sheet.pt(6),
        err_kws={"linewidth": sheet.pt(1.2)},
        orient="h",
        ax=axes,
    )
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    for place in range(1, len(classes)):
        axes.axhline(place - 0.5, color="#E6E6E6", lw=sheet.pt(0.8), zorder=0)
    names = wrap_names(classes, letters(0.28 * sheet.room(8.4)), 3)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylabel="", xlabel=f"Dice of the class ({DICE.unit})")
    axes.set_ylim(len(classes) - 0.5, -0.5)
    widen_dice(axes.xaxis)
    _move_legend(axes, figure, looks, ".")
    return figure


def in_turn(comparison: Comparison) -> list[Row]:
    """Rows of a table, in turn one of each origin of prompts, those with the best Dice first."""
    turns = zip_longest(*(block.rows for block in comparison.blocks))
    return [row for turn in turns for row in turn if row is not None]


def _grey_means(axes: Axes, runs: pd.DataFrame, classes: Sequence[str], sheet: Sheet) -> None:
    """The means of all grey methods, those of a class evenly spread."""
    if runs.empty:
        return
    means = runs.groupby(["class", "method"], sort=False)["dice"].mean()
    for place, name in enumerate(classes):
        if name in means:
            values = means[name]
            spread = place + np.linspace(-0.35, 0.35, len(values))
            axes.plot(values, spread, ".", color=GREY, ms=sheet.pt(5), zorder=1)


def draw_curves(
    comparison: Comparison, looks: Mapping[Row, Series], sheet: Sheet = REPORT
) -> Figure | None:
    """Draw training loss and validation Dice by step: mean over runs.

    Training losses of different kinds have panels of their own. With at most `BANDS` coloured
    curves in a panel, a band shows one standard deviation on each side.

    Args:
        comparison: of one table; its successful runs are shown.
        looks: look of each row; rows with the same name are one method.
        sheet: size of the figure.

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
    known = set(points["method"])
    rows = [row for row in in_turn(comparison) if row.succeeded and looks[row].name in known]
    looks = highlight(rows, looks)
    shown = list({looks[row].name: looks[row] for row in rows}.values())
    losses = points.dropna(subset="loss")
    kinds = list(losses["kind"].unique())
    count = max(len(kinds), 1) + 1
    natural = 5.5 * min(count, 3)
    columns = sheet.columns(min(count, 3), 2.2, natural)
    lines = -(-count // columns)
    wide = sheet.room(natural) / columns
    names = [one.name for one in shown if one.colour != GREY]
    below = sheet.legend_height([*names, _NOTE], natural)
    figure = sheet.figure(natural, 0.6 + min(4.2, wide) * lines + below)
    sheet.title(figure, comparison.title)
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes in panels[count:]:
        axes.set_axis_off()
    right = panels[count - 1]
    for axes, kind in zip(panels, kinds, strict=False):
        _curves(axes, losses[losses["kind"] == kind], "loss", shown, sheet)
        name = f"training loss ({kind})" if len(kinds) > 1 else "training loss"
        axes.set(xlabel="step", ylabel=textwrap.fill(name, letters(0.7 * min(4.2, wide))))
        _set_scale(axes)
    _curves(right, points.dropna(subset="val_dice"), "val_dice", shown, sheet)
    right.set(xlabel="step", ylabel=f"validation Dice ({DICE.unit})")
    widen_dice(right.yaxis)
    handles = [Line2D([], [], color=one.colour, ls=one.line, label=one.name) for one in shown]
    _add_legend(figure, handles, looks, "")
    return figure


def _kind_of_loss(row: Row) -> str:
    """What its loss depends on: losses of masks of prompts are those of other targets."""
    loss = row.cells[0].recipe.loss
    return loss if row.prompts == "none" else f"{loss}, {row.prompts} prompts"


def _curves(
    axes: Axes, points: pd.DataFrame, value: str, looks: Sequence[Series], sheet: Sheet
) -> None:
    """Curves of one panel: seaborn draws the coloured ones, above the grey means."""
    if points.empty:
        return
    drawn = [look for look in looks if look.name in set(points["method"])]
    own = [look for look in drawn if look.colour != GREY]
    grey = points[~points["method"].isin([look.name for look in own])]
    if not grey.empty:
        means = grey.groupby(["method", "step"], sort=True)[value].mean().reset_index()
        paths = [path[["step", value]].to_numpy(float) for _, path in means.groupby("method")]
        axes.add_collection(LineCollection(paths, colors=GREY, linewidths=sheet.pt(1), zorder=1))
        axes.autoscale_view()
    if not own:
        return
    seaborn.lineplot(
        points[points["method"].isin([look.name for look in own])],
        x="step",
        y=value,
        hue="method",
        style="method",
        palette={look.name: look.colour for look in own},
        dashes={look.name: look.dashes for look in own},
        errorbar="sd" if len(own) <= BANDS else None,
        err_kws={"linewidth": 0},
        linewidth=sheet.pt(1.8),
        legend=False,
        ax=axes,
    )


def _set_scale(axes: Axes) -> None:
    """Logarithmic where a loss falls by a large factor; one above 0 else; no loss is cut off."""
    lines = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    lines += [
        np.asarray(path.vertices)[:, 1] for one in axes.collections for path in one.get_paths()
    ]
    values = np.concatenate([line[np.isfinite(line)] for line in lines] or [np.empty(0)])
    if values.size and values.min() > 0 and values.max() > _RATIO * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda tick, _: f"{tick:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif values.size:
        widen(axes.yaxis, 0.2 * float(np.abs(values).max()))


def _move_legend(axes: Axes, figure: Figure, looks: Mapping[Row, Series], marker: str) -> None:
    """Replace the legend of seaborn in the axes by one below the figure."""
    entries, names = axes.get_legend_handles_labels()
    handles = [entry for entry in entries if isinstance(entry, Line2D)]
    for handle, name in zip(handles, names, strict=True):
        handle.set_label(name)
    if (legend := axes.get_legend()) is not None:
        legend.remove()
    _add_legend(figure, handles, looks, marker)


def _add_legend(
    figure: Figure, handles: Sequence[Line2D], looks: Mapping[Row, Series], marker: str
) -> None:
    """A legend of the coloured entries below the figure, with a note on grey ones."""
    shown = [handle for handle in handles if handle.get_color() != GREY]
    if (note := grey_note(looks)) is not None:
        shown.append(Line2D([], [], ls="" if marker else "-", marker=marker, color=GREY))
        shown[-1].set_label(note)
    legend_below(figure, handles=shown)
