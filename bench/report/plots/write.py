"""Figures of every comparison: Pareto panels, classes, curves of learning and labels, memory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.compare.across_datasets import find_standings
from bench.report.compare.comparison import Comparison, comparison
from bench.report.plots.average_ranks import draw_ranks
from bench.report.plots.label_budgets import draw_budgets, find_budgets
from bench.report.plots.pareto import draw_pareto
from bench.report.plots.style import INK, Series, assign, legend_below, save, style
from bench.report.records.columns import DICE, MISSING
from bench.report.records.rows import Row

Looks = Mapping[Row, Series]
BANDS = 8  # with more curves their spread is not drawn

# Part of the peak, its title, and a colour that no method has.
_MEMORY = (
    ("weights_bytes", "weights", "#4D4D4D"),
    ("gradients_bytes", "gradients", "#8073AC"),
    ("optimizer_bytes", "optimizer state", "#B2ABD2"),
    ("activations_bytes", "activations", "#D9D9D9"),
)


def write_plots(
    frame: pd.DataFrame, folder: Path, comparisons: Sequence[Comparison] | None = None
) -> list[Path]:
    """Write `<slug>_<kind>.png` and `.svg` for every comparison and kind that has data.

    Comparisons that differ in their label budget only share one more, of the kind "labels", and
    those that differ in the dataset only one of the kind "ranks".

    Args:
        frame: of `to_frame`.
        folder: is made if need be; files of the same names are replaced.
        comparisons: of the frame, where they are at hand.

    Returns:
        The files.
    """
    found = comparison(frame) if comparisons is None else comparisons
    looks = assign(frame, [row for one in found for row in one.rows])
    written: list[Path] = []
    with style():
        for one in found:
            for kind, draw in KINDS.items():
                figure = draw(one, looks)
                if figure is not None:
                    written += save(figure, folder / f"{one.slug}_{kind}")
        for standing in find_standings(found):
            written += save(draw_ranks(standing, looks), folder / f"{standing.slug}_ranks")
        for budgets in find_budgets(found):
            written += save(draw_budgets(budgets, looks), folder / f"{budgets.slug}_labels")
    return written


def draw_classes(found: Comparison, looks: Looks) -> Figure | None:
    """Dice of every class, a bar for each row."""
    rows = [row for row in found.rows if not row.ok.empty]
    classes = list(dict.fromkeys(name for row in rows for name in row.ok["classes"].iloc[0]))
    classes = [
        name
        for name in classes
        if any(f"dice/{name}" in row.ok and row.ok[f"dice/{name}"].notna().any() for row in rows)
    ]
    if not classes:
        return None
    wide = len(classes) * len(rows)
    figure = Figure(figsize=(max(7.0, min(16.0, 3 + 0.25 * wide)), 4.6), layout="constrained")
    axes = figure.subplots()
    width = 0.84 / len(rows)
    for position, row in enumerate(rows):
        scores = row.ok[[f"dice/{name}" for name in classes]].astype(float) * DICE.scale
        axes.bar(
            np.arange(len(classes)) + (position - (len(rows) - 1) / 2) * width,
            scores.mean(),
            0.9 * width,
            yerr=scores.std() if len(scores) > 1 else None,
            error_kw={"elinewidth": 1, "ecolor": INK},
            color=looks[row].colour if row.prompts == "none" else "white",
            edgecolor="white" if row.prompts == "none" else looks[row].colour,
            hatch="///" if looks[row].line != "-" else None,
            label=looks[row].name,
        )
    axes.set_xticks(range(len(classes)), classes)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(f"Dice of the class ({DICE.unit})")
    axes.set_title(found.title)
    legend_below(figure)
    return figure


def draw_curves(found: Comparison, looks: Looks) -> Figure | None:
    """Loss and validation Dice against the step: mean over runs, and the range of one deviation."""
    rows = [row for row in found.rows if any(len(history) for history in row.ok["history"])]
    if not rows:
        return None
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    figure.suptitle(found.title, fontsize=12)
    left, right = figure.subplots(1, 2)
    for row in rows:
        bands = len(rows) <= BANDS
        _curve(left, row, "loss", 1.0, looks[row], bands)
        _curve(right, row, "val_dice", DICE.scale, looks[row], bands)
    left.set(xlabel="step", ylabel="training loss")
    right.set(xlabel="step", ylabel=f"validation Dice ({DICE.unit})")
    handles, names = left.get_legend_handles_labels()
    legend_below(figure, handles, names)
    return figure


def draw_memory(found: Comparison, looks: Looks) -> Figure | None:
    """Peak training memory split into its parts, largest last."""
    parts = [key for key, _, _ in _MEMORY]
    rows = [row for row in found.rows if not row.ok[parts].dropna().empty]
    if not rows:
        return None
    means = {row: row.ok[parts].astype(float).mean() / 2**20 for row in rows}
    rows.sort(key=lambda row: float(means[row].sum()), reverse=True)
    absent = [row for row in found.rows if row not in rows]
    figure = Figure(figsize=(9, 1.6 + 0.38 * len(found.rows)), layout="constrained")
    axes = figure.subplots()
    names = [looks[row].name for row in (*absent, *rows)]
    start = np.zeros(len(rows))
    places = np.arange(len(absent), len(names))
    for key, title, colour in _MEMORY:
        lengths = np.array([means[row][key] for row in rows])
        axes.barh(places, lengths, 0.7, left=start, color=colour, label=title)
        start += lengths
    for place, total in zip(places, start, strict=True):
        axes.annotate(
            f"{total:,.0f}", (total, place), (4, 0), textcoords="offset points", va="center"
        )
    for line, row in enumerate(absent):
        reason = f"{MISSING} not measured" if row.complete else row.status
        axes.annotate(reason, (0, line), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.1)
    axes.set_xlabel("peak training memory (MiB)")
    axes.set_title(found.title)
    legend_below(figure)
    return figure


KINDS: Mapping[str, Callable[[Comparison, Looks], Figure | None]] = {
    "pareto": draw_pareto,
    "classes": draw_classes,
    "curves": draw_curves,
    "memory": draw_memory,
}


def _curve(axes: Axes, row: Row, key: str, scale: float, look: Series, bands: bool) -> None:
    points = [
        (point["step"], point[key] * scale)
        for history in row.ok["history"]
        for point in history
        if point.get(key) is not None
    ]
    if not points:
        return
    by_step = pd.DataFrame(points, columns=["step", "value"]).groupby("step")["value"]
    mean, spread = by_step.mean(), by_step.std().fillna(0.0)
    axes.plot(mean.index, mean, look.line, color=look.colour, lw=1.8, label=look.name)
    if bands:
        low, high = mean - spread, mean + spread
        axes.fill_between(mean.index, low, high, color=look.colour, alpha=0.18, lw=0)
