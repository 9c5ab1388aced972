"""Tables, plots and an overview, always rewritten from all records."""

from collections.abc import Mapping
from pathlib import Path

from pandas import DataFrame

from bench.files import write_atomic
from bench.report.compare.across_datasets import find_standings
from bench.report.compare.comparison import Comparison, comparison
from bench.report.plots.gallery import Lookup, write_gallery
from bench.report.plots.label_budgets import find_budgets
from bench.report.plots.write import write_plots
from bench.report.records.frame import to_frame
from bench.report.tables.folds import folds_markdown, folds_table, write_folds
from bench.report.tables.terminal import terminal_table
from bench.report.tables.write import markdown, write_tables

__all__ = ["comparison", "rewrite", "terminal_table", "to_frame", "write_report"]


def write_report(
    frame: DataFrame,
    found: list[Comparison],
    folder: Path,
    images: Mapping[str, Lookup] | None = None,
) -> list[Path]:
    """Write `tables/`, `plots/` and `index.md`, each file in one step.

    Args:
        frame: of all records; what they no longer hold is gone from the overview.
        found: the comparisons of the frame.
        folder: results folder; `predictions/<cell id>/<item name>.png` in it are shown. The
            overview links to its page.
        images: dataset name to a function from item name to image (H, W, 3) uint8 and mask
            (H, W) uint8; only datasets that stand here are shown in pictures.

    Returns:
        The files, the overview last.
    """
    written = _tables_and_plots(frame, found, folder)
    written += write_gallery(frame, folder / "predictions", images or {}, folder / "plots", found)
    overview = _overview(found, [*written, *folder.glob("report.html")], folder)
    return [*written, write_atomic(folder / "index.md", overview)]


def rewrite(frame: DataFrame, found: list[Comparison], folder: Path, like: Path) -> list[Path]:
    """As `write_report`, without pictures of images; the overview links to those in `like`.

    Args:
        frame: of all records.
        found: the comparisons of the frame.
        folder: where the files go.
        like: results folder whose files they are to be compared with.
    """
    written = _tables_and_plots(frame, found, folder)
    others = [*(like / "plots").glob("*_gallery.png"), *like.glob("report.html")]
    there = [folder / path.relative_to(like) for path in others]
    overview = _overview(found, [*written, *there], folder)
    return [*written, write_atomic(folder / "index.md", overview)]


def _tables_and_plots(frame: DataFrame, found: list[Comparison], folder: Path) -> list[Path]:
    written = write_tables(frame, folder / "tables", found)
    written += write_folds(found, folder / "tables")
    return written + write_plots(frame, folder / "plots", found)


def _overview(found: list[Comparison], written: list[Path], folder: Path) -> str:
    """Every comparison with its table, its Pareto plot, and links to the rest."""
    parts = ["# Results", "All runs, unrounded: [records.csv](tables/records.csv)"]
    if folder / "report.html" in written:
        parts.append(
            "All of it on one page, as `report --html` last wrote it: [report.html](report.html)"
        )
    for one in found:
        parts += [f"## {one.title}", markdown(one).rstrip()]
        if not folds_table(one).empty:
            parts.append(folds_markdown(one))
        tables = [folder / "tables" / f"{one.slug}.{kind}" for kind in ("md", "csv", "tex")]
        tables += [folder / "tables" / f"{one.slug}_folds.{kind}" for kind in ("md", "csv")]
        kinds = ("pareto", "classes", "curves", "memory", "gallery")
        plots = [folder / "plots" / f"{one.slug}_{kind}.png" for kind in kinds]
        if plots[0] in written:
            path = plots[0].relative_to(folder).as_posix()
            parts.append(f"![Dice against each cost]({path})")
        links = [
            f"[{path.name}]({path.relative_to(folder).as_posix()})"
            for path in (*tables, *plots)
            if path in written
        ]
        parts.append("Files: " + ", ".join(links))
    for budgets in find_budgets(found):
        parts += [f"## {budgets.title}: label budgets"]
        parts += [f"![Dice by labelled training images](plots/{budgets.slug}_labels.png)"]
    for standing in find_standings(found):
        parts += [f"## All methods {standing.title}", standing.sentence]
        parts += [f"![Average ranks](plots/{standing.slug}_ranks.png)"]
    return "\n\n".join(parts) + "\n"
