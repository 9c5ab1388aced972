"""`report --figure KIND`: one kind of figure, as wide as a column of a journal."""

import argparse
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.parsing import plain
from bench.errors import UserError, no_such, shorten

if TYPE_CHECKING:
    from bench.report.compare.comparison import Comparison
    from bench.report.plots.paper import PaperFigure

FORMATS = ("pdf", "svg", "png")
_NARROWEST, _WIDEST = 60, 400  # mm
_UNITS = {"mm": 1.0, "cm": 10.0, "in": 25.4}
# What a figure needs besides a table with a successful run.
_NEEDS = {
    "sizes": "objects in the masks of the dataset (instance maps)",
    "size_distributions": "sizes of single objects, which records of older versions lack",
    "ranks": "at least 3 methods on at least 3 datasets",
    "labels": "tables of at least two label budgets (--labels)",
    "gallery": "stored predictions, and the images of the dataset on this machine",
}
KINDS = ("pareto", "classes", "curves", "memory", *_NEEDS)


@dataclass(frozen=True)
class FigureOptions:
    """How figures are drawn, and where they are written.

    Attributes:
        kind: one of `KINDS`.
        width: in mm.
        format: one of `FORMATS`.
        to: the file; None: in the results folder, under the name of its table.
    """

    kind: str
    width: float = 180.0
    format: str = FORMATS[0]
    to: Path | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "FigureOptions | None":
        """The options of a command line, checked; None without `--figure`.

        Raises:
            UserError: there is no such figure, width or format.
        """
        if arguments.figure is None:
            return None
        if arguments.figure not in KINDS:
            raise no_such("figure", arguments.figure, KINDS)
        ending = arguments.to.suffix.removeprefix(".") if arguments.to is not None else None
        kind = arguments.format or ending or cls.format
        if kind not in FORMATS:
            raise no_such("format of figures", kind, FORMATS)
        width = cls.width if arguments.width is None else read_width(arguments.width)
        return cls(arguments.figure, width, kind, arguments.to)


def read_width(text: str) -> float:
    """Read a width with its unit, in mm.

    Raises:
        UserError: the width cannot be read or is out of range.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(mm|cm|in)\s*", text, re.ASCII)
    width = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not _NARROWEST <= width <= _WIDEST:
        raise UserError(
            f"--width is '{shorten(text)}': give {_NARROWEST}mm to {_WIDEST}mm, such as "
            "88mm (one column of a journal) or 180mm (two)"
        )
    return width


def write_figures(
    comparisons: "list[Comparison]", options: FigureOptions, folder: Path, console: Console
) -> list[Path]:
    """Draw a kind of figure for each table that has it, and print the paths.

    Args:
        comparisons: the tables.
        options: kind, size and file.
        folder: results folder; without a file in the options, the files are
            `figures/<table>_<kind>.<format>` in it.
        console: to print on.

    Returns:
        The files.

    Raises:
        UserError: no table has this figure, several have it and there is one file for it, or a
            file cannot be written.
    """
    from bench.cli.report_pictures import Pictures
    from bench.plugins.registry import load_collection
    from bench.report.plots.paper import draw_for_paper
    from bench.report.plots.sheet import paper_sheet
    from bench.run.record_images import NamedImages, RecordImages

    frame = comparisons[0].rows[0].runs.frame
    images = Pictures(NamedImages(frame["cell"], RecordImages(load_collection)))
    sheet = paper_sheet(options.width)
    drawn = draw_for_paper(options.kind, comparisons, sheet, images, folder / "predictions")
    if options.to is not None:
        drawn = iter(_only(options.kind, list(islice(drawn, 4))))
    files = []
    for figure in drawn:
        path = options.to or folder / "figures" / f"{figure.name}.{options.format}"
        files.append(figure.write(path, options.format))
        wide, high = (round(25.4 * side) for side in figure.inches)
        console.print(plain(f"{files[-1]} ({wide} x {high} mm): {figure.title}"), soft_wrap=True)
    if not files:
        needed = _NEEDS.get(options.kind, "a table with a successful run")
        raise UserError(f"there is no figure '{options.kind}' of these records: it needs {needed}")
    return files


def _only(kind: str, figures: "list[PaperFigure]") -> "list[PaperFigure]":
    """At most one figure, for one file; UserError for more."""
    if len(figures) > 1:
        names = [figure.name.removesuffix(f"_{kind}") for figure in figures]
        raise UserError(
            f"--to names one file, but several tables have a figure '{kind}' ({', '.join(names)}):"
            " choose one with --datasets, or leave out --to"
        )
    return figures
