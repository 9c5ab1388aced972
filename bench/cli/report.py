"""Rewrite tables, plots and overview of a results folder from its records."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.numbers import NumbersInText
from bench.cli.parsing import AddOptions, ArgumentParser, add_out, plain, read_path
from bench.cli.report_choice import choose_datasets, choose_methods
from bench.cli.report_figure import FORMATS, FigureOptions, read_width, write_figures
from bench.cli.report_latex import DEFAULT_COLUMNS, choose_columns, write_latex
from bench.cli.report_pictures import Pictures
from bench.errors import UserError
from bench.run.threads import usable_cores
from bench.wording import counted

if TYPE_CHECKING:
    from pandas import DataFrame

    from bench.data.items import Collection
    from bench.report.compare.comparison import Comparison
    from bench.run.store import Store


def parser() -> argparse.ArgumentParser:
    """The parser of `report`."""
    parser = ArgumentParser(
        command="report",
        description="Rewrite tables, plots, overview and the page report.html from all records of a"
        " results folder, or of several: `report A B --out C` writes into C what the records of A"
        " and B give.",
    )
    add = AddOptions(parser)
    add(
        "folders FOLDER  results folders, whose records are read and not copied [--out]",
        nargs="*",
        type=read_path,
    )
    # The page is always written; overviews name the option that once asked for it.
    add("--html", help=argparse.SUPPRESS)
    add(
        "--against NAME  instead: print difference, interval and p-value of every row of a"
        " table against this one, such as lora[rank=8], and write them to against/"
    )
    add(
        "--latex  instead: write each table for a paper, with caption and label, to latex/;"
        " with --against NAME, signs tell which rows differ significantly from this one"
    )
    add(
        "--figure KIND  instead: draw one kind of figure for a paper (pareto, classes, curves,"
        " memory, sizes, size_distributions, ranks, labels, gallery), to figures/"
    )
    add(
        f"--width W  width of --figure, such as 88mm, 18cm or 3.5in [{FigureOptions.width:g}mm]",
        type=NumbersInText(read_width),
    )
    add(f"--format {'|'.join(FORMATS)}  of --figure [that of --to, or {FORMATS[0]}]")
    add("--to FILE  file of --figure, if it is one figure", type=read_path)
    add(
        "--methods A,B  methods that --figure and --latex show, such as lora,unet or"
        ' "lora[rank=1|4]" [all]'
    )
    add(f"--columns A,B  columns of --latex [{DEFAULT_COLUMNS}]; an unknown name lists all")
    add(
        "--datasets A,B  datasets that --figure and --latex show, or tables by the names of"
        " their files, such as steel_5-labels [all]"
    )
    add_out(add)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Rewrite the report of a results folder and print its tables; returns the exit code 0.

    Raises:
        UserError: the results folder has no folder `records`, a record cannot be read, a file
            cannot be written, options do not fit each other, they name columns, datasets or a row
            that there are not, or as `UnitedStore.unite`.
    """
    from bench.run.folders import UnitedStore
    from bench.run.store import Store

    _check(arguments)
    columns = choose_columns(DEFAULT_COLUMNS if arguments.columns is None else arguments.columns)
    figure = FigureOptions.of(arguments)
    if arguments.folders:
        store: Store | UnitedStore = UnitedStore.unite(arguments.folders, arguments.out)
    elif (arguments.out / "records").is_dir():
        store = Store.open(arguments.out)
    else:
        raise UserError(
            f"no records in {arguments.out}: run some methods first, or give --out FOLDER"
        )
    if arguments.against is None and not arguments.latex and figure is None:
        console.print(write_all(store, console), soft_wrap=True)
        return 0
    from bench.report.compare.comparison import make_comparisons
    from bench.report.records.frame import to_frame

    comparisons = make_comparisons(to_frame(store.stream()))
    chosen = choose_methods(choose_datasets(comparisons, arguments.datasets), arguments.methods)
    if figure is not None:
        write_figures(chosen, figure, store.folder, console)
    elif arguments.latex:
        joined = arguments.datasets is not None
        write_latex(chosen, columns, arguments.against, store.folder, console, joined=joined)
    else:
        write_against(comparisons, arguments.against, store.folder, console)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise UserError for options that do not fit each other."""
    reports = {"latex": arguments.latex, "figure": arguments.figure}
    chosen = [f"--{name}" for name, value in reports.items() if value]
    if len(chosen) > 1:
        raise UserError(f"{' and '.join(chosen)} are two reports: give one of them at a time")
    if arguments.figure and arguments.against is not None:
        raise UserError("--against compares rows in tables: give --figure without it")
    for names, users in (
        (("columns",), ("latex",)),
        (("methods", "datasets"), ("latex", "figure")),
        (("width", "format", "to"), ("figure",)),
    ):
        for name in names:
            if getattr(arguments, name) is not None and not any(reports[one] for one in users):
                wanted = " or ".join(f"--{one}" for one in users)
                raise UserError(f"--{name} is for {wanted}: give {wanted} as well")


def write_all(store: "Store", console: Console) -> str:
    """Print the tables of all records, and write tables, plots, overview and page.

    Args:
        store: an open results folder. Collections are loaded if pictures of them are drawn, or if
            the folder has ledgers of them; what needs those that are not on this machine, or
            differ, is left out.
        console: to print on.

    Returns:
        The last line to print: how many records and files there are, and the file of the page.

    Raises:
        UserError: a record cannot be read, or a file cannot be written.
    """
    from bench.plugins.registry import load_collection
    from bench.report.compare.comparison import make_comparisons
    from bench.report.overview import write_report
    from bench.report.records.digests import RecordDigests
    from bench.report.records.frame import to_frame
    from bench.report.tables.terminal import terminal_table
    from bench.run.record_images import NamedImages, RecordImages

    store.remove_leftovers()
    digests = RecordDigests()
    frame = to_frame(digests.note(store.stream()))
    comparisons = make_comparisons(frame)
    for one in comparisons:
        console.print(terminal_table(one, console.width))
    collections = NamedImages(frame["cell"], RecordImages(load_collection))
    pictures = Pictures(collections)
    files = write_report(
        frame,
        comparisons,
        store.folder,
        pictures,
        digests=digests,
        processes=usable_cores(),
    )
    page = _write_page(frame, comparisons, collections, store, console)
    counts = f"{counted(len(frame), 'record')}, {counted(len(files) + 1, 'file')}"
    return plain(f"{counts}; open in a browser: {page}")


def _write_page(
    frame: "DataFrame",
    comparisons: "list[Comparison]",
    collections: "Mapping[str, Collection]",
    store: "Store",
    console: Console,
) -> Path:
    """Write the page; it shows images only of collections that allow it."""
    from bench.report.page import Report, find_ledgers, write_page

    records = store.read_all()
    ledgers, left_out = find_ledgers(store.folder, records, collections)
    for note in left_out:
        console.print(f"[dim]note: {plain(note)}[/]")
    predictions = store.folder / "predictions"
    images = Pictures(collections, shared=True)
    report = Report(records, frame, comparisons, ledgers, images, predictions)
    return write_page(report, store.folder / "report.html")


def write_against(
    comparisons: "list[Comparison]", name: str, folder: Path, console: Console
) -> list[Path]:
    """Print the differences in Dice from one row, and write those in all scores as CSV.

    Args:
        comparisons: the tables; those without this row are left out.
        name: label of the row, such as "lora[rank=8]".
        folder: results folder; the files are `against/<slug>.csv` in it.
        console: to print on.

    Returns:
        The files.

    Raises:
        UserError: no ranked row has this name, or a file cannot be written.
    """
    from bench.files import write_atomic
    from bench.report.compare.against import find_references
    from bench.report.tables.against import against_csv, against_table

    files = []
    for comparison, blocks in find_references(comparisons, name).items():
        table = against_table(comparison, blocks, name)
        if table.row_count:
            console.print(table)
        path = folder / "against" / f"{comparison.slug}.csv"
        files.append(write_atomic(path, against_csv(comparison, blocks, name)))
    console.print(plain(f"{counted(len(files), 'file')}: {files[-1]}"), soft_wrap=True)
    return files
