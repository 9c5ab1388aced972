"""Figures of every comparison: Pareto panels, classes, learning and label curves, memory, sizes."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bench.report.compare.across_datasets import find_standings
from bench.report.compare.comparison import Comparison
from bench.report.compare.label_budgets import find_budgets
from bench.report.plots.average_ranks import draw_ranks
from bench.report.plots.cache import FigureCache
from bench.report.plots.drawing import Drawing, draw_all
from bench.report.plots.label_budgets import draw_budgets
from bench.report.plots.pareto import draw_pareto
from bench.report.plots.size_distributions import draw_size_distributions
from bench.report.plots.sizes import draw_sizes
from bench.report.plots.statistics import draw_classes, draw_curves
from bench.report.plots.style import Series, assign, legend_below, records_kept
from bench.report.records.columns import MISSING
from bench.report.records.rows import Row

Looks = Mapping[Row, Series]

# Part of the peak, its title, and a colour that no method has.
_MEMORY = (
    ("weights_bytes", "weights", "#4D4D4D"),
    ("gradients_bytes", "gradients", "#8073AC"),
    ("optimizer_bytes", "optimizer state", "#B2ABD2"),
    ("activations_bytes", "activations", "#D9D9D9"),
)


@records_kept()
def write_plots(
    frame: pd.DataFrame,
    folder: Path,
    comparisons: Sequence[Comparison],
    names: Collection[str] | None = None,
    pause: Callable[[], None] = lambda: None,
    cache: FigureCache | None = None,
    processes: int = 1,
) -> list[Path]:
    """Write `<slug>_<kind>.png` and `.svg` for every comparison and kind that has data.

    Comparisons that differ only in their label budget share one more figure, of the kind "labels"
    (`find_budgets`), and those that differ only in the dataset share "ranks" (`find_standings`).

    Args:
        frame: of `to_frame`.
        folder: is created if needed; files of the same names are replaced.
        comparisons: of the frame.
        names: `<slug>_<kind>` of the figures to draw; None for all. Names that do not exist are
            passed over.
        pause: called before each figure that this process draws; it may wait.
        cache: figures that it finds in the folder are not drawn; None to draw all.
        processes: that draw at a time if there are many figures to draw.

    Returns:
        The files, without those of earlier calls that do not belong to these comparisons, which
        stay in the folder.

    Raises:
        UserError: a file cannot be written, or a process that draws was stopped.
    """
    looks = assign(frame, [row for comparison in comparisons for row in comparison.rows])
    drawings = [
        *(drawing for one in comparisons for drawing in _of_comparison(one, looks, cache)),
        *_across(comparisons, looks, cache),
    ]
    chosen = [drawing for drawing in drawings if names is None or drawing.name in names]
    drawn = {} if cache is None else _find(chosen, folder, cache)
    missing = [drawing for drawing in chosen if drawing.name not in drawn]
    for drawing, files in draw_all(missing, folder, pause, processes):
        drawn[drawing.name] = files
        if cache is not None:
            cache.note(drawing.name, drawing.contents, files)
    return [path for drawing in chosen for path in drawn[drawing.name]]


def _find(drawings: Sequence[Drawing], folder: Path, cache: FigureCache) -> dict[str, list[Path]]:
    """The files of those figures that need not be drawn."""
    found = {one.name: cache.find(one.name, one.contents, folder) for one in drawings}
    return {name: files for name, files in found.items() if files is not None}


def _of_comparison(
    comparison: Comparison, looks: Looks, cache: FigureCache | None
) -> Iterator[Drawing]:
    records = None if cache is None else cache.records_of(comparison)
    for kind, draw in KINDS.items():
        shown = [_look(looks[row], LOOKS[kind]) for row in comparison.rows]
        contents = [comparison.title, records, shown]
        yield Drawing(f"{comparison.slug}_{kind}", draw, comparison, looks, contents)


def _across(
    comparisons: Sequence[Comparison], looks: Looks, cache: FigureCache | None
) -> Iterator[Drawing]:
    """Figures of several comparisons."""
    for standing in find_standings(comparisons):
        shown = [_look(looks[row], LOOKS["ranks"]) for row in standing.methods]
        contents = [standing.title, standing.ranks.tolist(), standing.cliques, shown]
        yield Drawing(f"{standing.slug}_ranks", draw_ranks, standing, looks, contents)
    for budgets in find_budgets(comparisons):
        steps = [
            [images, None if cache is None else cache.records_of(comparison)]
            + [_look(looks[row], LOOKS["labels"]) for row in comparison.rows]
            for images, comparison in budgets.steps
        ]
        contents = [budgets.title, steps]
        yield Drawing(f"{budgets.slug}_labels", draw_budgets, budgets, looks, contents)


def _look(look: Series, parts: Sequence[str]) -> list[str]:
    return [getattr(look, part) for part in parts]


def draw_memory(comparison: Comparison, looks: Looks) -> Figure | None:
    """Draw the peak training memory of each row in MiB, divided into its parts, smallest on top.

    Each part is the mean over the runs. Rows without a measurement are at the bottom, with their
    status or "not measured".

    Args:
        comparison: of one table.
        looks: name of each row.

    Returns:
        The figure; None if no row has a measurement.
    """
    parts = [key for key, _, _ in _MEMORY]
    rows = [row for row in comparison.rows if not row.select(*parts).dropna().empty]
    if not rows:
        return None
    means = {row: row.select(*parts).astype(float).mean() / 2**20 for row in rows}
    rows.sort(key=lambda row: float(means[row].sum()), reverse=True)
    absent = [row for row in comparison.rows if row not in rows]
    figure = Figure(figsize=(9, 1.6 + 0.38 * len(comparison.rows)), layout="constrained")
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
    axes.set_title(comparison.title)
    legend_below(figure)
    return figure


KINDS: Mapping[str, Callable[[Comparison, Looks], Figure | None]] = {
    "pareto": draw_pareto,
    "classes": draw_classes,
    "curves": draw_curves,
    "memory": draw_memory,
    "sizes": draw_sizes,
    "size_distributions": draw_size_distributions,
}

# The parts of the looks that a figure shows: it is drawn again if one of them changes.
LOOKS: Mapping[str, Sequence[str]] = {
    "pareto": ("name", "colour", "marker"),
    "classes": ("name", "colour", "marker"),
    "curves": ("name", "colour", "line"),
    "memory": ("name",),
    "sizes": ("name", "colour"),
    "size_distributions": ("name", "colour"),
    "ranks": ("name", "colour", "marker"),
    "labels": ("name", "colour", "marker", "line"),
}
