"""Write all files of a report; they are always made again from all records."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pandas import DataFrame

from bench.files import write_atomic
from bench.report.compare.across_datasets import find_standings
from bench.report.compare.comparison import Comparison
from bench.report.compare.label_budgets import find_budgets
from bench.report.plots.cache import FigureCache
from bench.report.plots.gallery import Lookup, write_gallery
from bench.report.plots.write import write_plots
from bench.report.records.digests import RecordDigests
from bench.report.records.image_facts import image_facts_of
from bench.report.records.prediction_error import prediction_error
from bench.report.tables.folds import folds_markdown, folds_table, write_folds
from bench.report.tables.ranks import ranks_markdown
from bench.report.tables.readings import write_readings
from bench.report.tables.write import markdown, write_tables

_PLOTS = ("pareto", "classes", "curves", "memory", "sizes", "size_distributions", "gallery")
_READ_ME = (
    "All tables of the [records](records). `run_bench.py report --html` also writes into this "
    "folder: `tables/` with every table as Markdown, CSV and LaTeX and all runs, unrounded, as "
    "`records.csv`; `plots/`; `figures.md`, which shows all plots; and `report.html`, one page "
    "with everything."
)


def write_report(
    frame: DataFrame,
    comparisons: list[Comparison],
    folder: Path,
    images: Mapping[str, Lookup] | None = None,
    pause: Callable[[], None] = lambda: None,
    digests: RecordDigests | None = None,
    processes: int = 1,
) -> list[Path]:
    """Write `tables/`, `plots/`, `figures.md` and `index.md`, each file atomically.

    Args:
        frame: of all records. Files of records that no longer exist stay in the folder, but
            disappear from `index.md` and `figures.md`.
        comparisons: of the frame.
        folder: results folder; `predictions/<cell id>/<item name>.png` in it are shown.
        images: name of the dataset of the test images to a function from item name to image
            (H, W, 3) uint8 and mask (H, W) uint8; only images of these datasets are shown in
            pictures.
        pause: called before each figure is drawn; it may wait.
        digests: of all records, which were read through it. Then figures that are in the folder
            and still right are not drawn, and `cache/figures/` notes what they show. None to draw
            all.
        processes: that draw at a time if there are many figures to draw.

    Returns:
        The files, `index.md` last, which is written before the figures.

    Raises:
        UserError: a file cannot be written, or as `images` raise.
        OSError: a stored prediction cannot be read.
        ValueError: a stored prediction has another size than its mask.
    """
    plots, predictions = folder / "plots", folder / "predictions"
    pictures = {} if images is None else images  # asking for its length would load all images
    cache = None if digests is None else FigureCache(folder / "cache" / "figures", digests)
    *files, index = write_overview(frame, comparisons, folder)
    files += write_plots(frame, plots, comparisons, None, pause, cache, processes)
    files += write_gallery(frame, predictions, pictures, plots, comparisons, pause, cache)
    files.append(write_atomic(folder / "figures.md", _figures(comparisons, files, folder)))
    return [*files, index]


def write_overview(frame: DataFrame, comparisons: list[Comparison], folder: Path) -> list[Path]:
    """Write `tables/` and `index.md`, without figures; see `write_report`.

    Returns:
        The files, `index.md` last.

    Raises:
        UserError: a file cannot be written.
    """
    files = _write_tables(frame, comparisons, folder)
    return [*files, write_atomic(folder / "index.md", _overview(frame, comparisons))]


def rewrite(
    frame: DataFrame, comparisons: list[Comparison], folder: Path, like: Path
) -> list[Path]:
    """Write what `write_report` writes, without pictures of images, to compare it with `like`.

    If `like` has no plots as SVG, only those of its plots are drawn that it has as PNG, and there
    is no `figures.md`; otherwise `figures.md` shows the galleries that `like` has.

    Args:
        frame: of all records.
        comparisons: of the frame.
        folder: where the files are written.
        like: results folder with which the files are compared; it is not changed.

    Returns:
        The files, `index.md` last.

    Raises:
        UserError: a file cannot be written.
    """
    files = _write_tables(frame, comparisons, folder)
    stored = like / "plots"
    complete = any(stored.glob("*.svg"))
    names = None if complete else {path.stem for path in stored.glob("*.png")}
    files += write_plots(frame, folder / "plots", comparisons, names)
    if complete:
        galleries = [folder / "plots" / path.name for path in stored.glob("*_gallery.png")]
        text = _figures(comparisons, [*files, *galleries], folder)
        files.append(write_atomic(folder / "figures.md", text))
    return [*files, write_atomic(folder / "index.md", _overview(frame, comparisons))]


def _write_tables(frame: DataFrame, comparisons: list[Comparison], folder: Path) -> list[Path]:
    files = write_tables(frame, folder / "tables", comparisons)
    files += write_folds(comparisons, folder / "tables")
    return files + write_readings(comparisons, folder / "tables")


def _overview(frame: DataFrame, comparisons: list[Comparison]) -> str:
    """Every table. The text depends on the records only, not on which files are stored."""
    parts = ["# Results", _READ_ME, *filter(None, [prediction_error(frame)])]
    if images := image_facts_of(frame):
        parts.append("\n".join(["## Images", "", *(f"* {text}" for text in images)]))
    for comparison in comparisons:
        parts += [f"## {comparison.title}", markdown(comparison).rstrip()]
        if not folds_table(comparison).empty:
            parts.append(folds_markdown(comparison))
    for standing in find_standings(comparisons):
        parts += [f"## All methods {standing.title}", standing.sentence, ranks_markdown(standing)]
    return "\n\n".join(parts) + "\n"


def _figures(comparisons: list[Comparison], files: list[Path], folder: Path) -> str:
    """Every plot that was written."""
    parts = ["# Figures", "The tables are in [index.md](index.md)."]
    for comparison in comparisons:
        paths = [folder / "plots" / f"{comparison.slug}_{kind}.png" for kind in _PLOTS]
        parts += _plots(comparison.title, paths, files)
    for budgets in find_budgets(comparisons):
        path = folder / "plots" / f"{budgets.slug}_labels.png"
        parts += _plots(f"{budgets.title}: label budgets", [path], files)
    for standing in find_standings(comparisons):
        path = folder / "plots" / f"{standing.slug}_ranks.png"
        parts += _plots(f"All methods {standing.title}", [path], files)
    return "\n\n".join(parts) + "\n"


def _plots(title: str, paths: list[Path], files: list[Path]) -> list[str]:
    shown = [f"![{path.stem}](plots/{path.name})" for path in paths if path in files]
    return [f"## {title}", *shown] if shown else []
