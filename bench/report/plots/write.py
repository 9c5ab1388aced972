"""Figures of every comparison: Pareto panels, classes, learning and label curves, memory, sizes."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from bench.report.compare.across_datasets import find_standings
from bench.report.compare.comparison import Comparison
from bench.report.compare.label_budgets import find_budgets
from bench.report.plots.average_ranks import draw_ranks
from bench.report.plots.cache import FigureCache
from bench.report.plots.drawing import Draw, Drawing, draw_all
from bench.report.plots.label_budgets import draw_budgets
from bench.report.plots.memory import draw_memory
from bench.report.plots.pareto import draw_pareto
from bench.report.plots.size_distributions import draw_size_distributions
from bench.report.plots.sizes import draw_sizes
from bench.report.plots.statistics import draw_classes, draw_curves
from bench.report.plots.style import Series, assign, records_kept
from bench.report.records.rows import Row

Looks = Mapping[Row, Series]


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
    drawings = make_drawings(frame, comparisons, cache)
    chosen = [drawing for drawing in drawings if names is None or drawing.name in names]
    drawn = {} if cache is None else _find(chosen, folder, cache)
    missing = [drawing for drawing in chosen if drawing.name not in drawn]
    for drawing, files in draw_all(missing, folder, pause, processes):
        drawn[drawing.name] = files
        if cache is not None:
            cache.note(drawing.name, drawing.contents, files)
    return [path for drawing in chosen for path in drawn[drawing.name]]


def make_drawings(
    frame: pd.DataFrame, comparisons: Sequence[Comparison], cache: FigureCache | None = None
) -> list[Drawing]:
    """Return all figures of a report without galleries, also those that have nothing to show.

    Args:
        frame: of `to_frame`.
        comparisons: of the frame.
        cache: for which the figures get `contents`; None for none.
    """
    looks = assign(frame, [row for comparison in comparisons for row in comparison.rows])
    return [
        *(drawing for one in comparisons for drawing in _of_comparison(one, looks, cache)),
        *_across(comparisons, looks, cache),
    ]


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
        yield Drawing(comparison.slug, kind, draw, comparison, looks, contents)


def _across(
    comparisons: Sequence[Comparison], looks: Looks, cache: FigureCache | None
) -> Iterator[Drawing]:
    """Figures of several comparisons."""
    for standing in find_standings(comparisons):
        shown = [_look(looks[row], LOOKS["ranks"]) for row in standing.methods]
        contents = [standing.title, standing.ranks.tolist(), standing.cliques, shown]
        yield Drawing(standing.slug, "ranks", draw_ranks, standing, looks, contents)
    for budgets in find_budgets(comparisons):
        steps = [
            [images, None if cache is None else cache.records_of(comparison)]
            + [_look(looks[row], LOOKS["labels"]) for row in comparison.rows]
            for images, comparison in budgets.steps
        ]
        contents = [budgets.title, steps]
        yield Drawing(budgets.slug, "labels", draw_budgets, budgets, looks, contents)


def _look(look: Series, parts: Sequence[str]) -> list[str]:
    return [getattr(look, part) for part in parts]


KINDS: Mapping[str, Draw] = {
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
