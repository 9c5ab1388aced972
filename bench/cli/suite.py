"""Published ablations: run them, and compare the results with the published figures."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.cells import add_run_options, prepare_run, run_and_report
from bench.cli.numbers import NumbersInText
from bench.cli.parsing import AddOptions, ArgumentParser, add_out, plain, read_path
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.ask.suites import Suite, SuiteChoice, SuiteLine
    from bench.spec import Cell


def parser() -> argparse.ArgumentParser:
    """The parser of `suite`."""
    parser = ArgumentParser(
        command="suite",
        description="Run a published ablation, and compare its results with the published ones in a"
        " ledger. By default offline: on a stand-in dataset, with the embedded backbone.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "list the suites"
    actions.add_parser("list", help=summary, description=summary)
    summary = "run the cells without a record, then write the ledgers"
    run = actions.add_parser("run", help=summary, description=summary)
    summary = "rewrite the ledgers from the records of the results folder"
    ledger = actions.add_parser("ledger", help=summary, description=summary)
    for action in (run, ledger):
        _add_choice(action)
    add_run_options(run)
    add_out(AddOptions(ledger))
    return parser


def _add_choice(action: argparse.ArgumentParser) -> None:
    AddOptions(action)("names  suites, or all", nargs="*")
    what = AddOptions(action.add_argument_group("what to run"))
    what(
        "--dataset NAME  a dataset in place of the suite's own; for the suites proxy, objects and"
        " reference, one or more"
    )
    what("--weights KIND  [%(default)s]", default="pretrained")
    what("--checkpoint FILE  your own weights", type=read_path)
    what("--protocol NAME  [%(default)s]", default="equal")
    what(
        "--seeds N|LIST  number of seeds, or a list as 0,1,2 [3]",
        type=NumbersInText("bench.ask.request:read_seeds"),
        default="3",
    )
    what("--image-size N  [the backbone's own]")
    what("--steps N  optimiser steps")
    what("--loss NAME  a loss in place of the recipe's")
    what("--precision KIND  bf16 (autocast) or fp32")
    what("--objects RULE  how touching objects are separated, as in a run")
    what("--allow-leakage  run even if training and test images overlap")
    # Last, as in the notes of committed ledgers.
    what("--backbone NAME  [%(default)s]", dest="backbones", default="sam_nano")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """List the suites, run some and write their ledgers, or rewrite the ledgers.

    Returns:
        The exit code: 1 if a cell that was to be run has a status other than "ok", otherwise 0.

    Raises:
        UserError: a name is missing or unknown, a value is not allowed, a record cannot be read, a
            ledger cannot be written, or as `run_and_report`.
    """
    if arguments.action == "list":
        return _list(console)
    from bench.ask.own_suites import OWN_SUITES
    from bench.ask.request import Request, pick_fields
    from bench.ask.suites import SuiteChoice, get_suite, list_suites

    names = list(dict.fromkeys(arguments.names))
    if not names:
        known = ", ".join([*(suite.name for suite in list_suites()), *OWN_SUITES])
        raise UserError(
            f"the name of a suite is missing: give one or more of {known}; or all, which is every"
            f" published table, so all but {', '.join(OWN_SUITES)}"
        )
    own = next((name for name in names if name in OWN_SUITES), "")
    if own and len(names) > 1:
        raise UserError(
            f"{', '.join(names)}: run the suite {own} alone, because it has a grid of its own"
        )
    suites = [] if own else list_suites() if names == ["all"] else list(map(get_suite, names))
    settings = prepare_run(arguments) if arguments.action == "run" else None
    fields = pick_fields(Request, vars(arguments))
    choice = SuiteChoice(arguments.dataset, fields.pop("seeds"), fields)
    grids, notes = _expand(suites, choice)
    # A dictionary, since suites share cells.
    cells = {cell.id: cell for grid in grids.values() for line in grid.values() for cell in line}
    if own:
        listed, notes = OWN_SUITES[own].expand(choice, None)
        cells = {cell.id: cell for cell in listed}
    listed = list(cells.values())
    write_ledgers = partial(_ledgers, grids, own, listed, choice, arguments.out, console)
    if settings is not None and cells:
        return run_and_report(listed, notes, settings, arguments, console, write_ledgers)
    if settings is None or not arguments.dry_run:
        write_ledgers()
    return 0


def _expand(
    suites: "Sequence[Suite]", choice: "SuiteChoice"
) -> "tuple[dict[Suite, dict[SuiteLine, list[Cell]]], list[str]]":
    """The cells of each line of each suite, and notes; each dataset is read once."""
    from bench.ask.grid import LoadedDataset, load_datasets
    from bench.ask.suites import expand_suite, request_of

    grids: dict[Suite, dict[SuiteLine, list[Cell]]] = {suite: {} for suite in suites}
    requests = {  # all are checked first; a suite of counts needs no data
        suite: request_of(suite, choice) for suite in suites if suite.counted is None
    }
    datasets: dict[tuple[str, int], dict[str, LoadedDataset]] = {}
    notes: list[str] = []
    for suite, request in requests.items():
        key = request.datasets, request.folds
        if key not in datasets:
            datasets[key] = load_datasets(request)
        grids[suite], suite_notes = expand_suite(suite, choice, datasets[key])
        notes += suite_notes
    return grids, list(dict.fromkeys(notes))


def _list(console: Console) -> int:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    from bench.ask.coverage import list_coverage
    from bench.ask.own_suites import OWN_SUITES
    from bench.ask.suites import list_suites

    column = Column("Suite", no_wrap=True)  # a name to be typed is not broken
    table = Table(column, "Question", "Published in", "Runs on", "Lines", box=SIMPLE_HEAD)
    for suite in list_suites():
        lines = f"{sum(bool(line.run) for line in suite.lines)} of {len(suite.lines)}"
        words = (suite.name, suite.title, suite.source, suite.stand_in or "counts only", lines)
        table.add_row(*map(plain, words))
    for name, own in OWN_SUITES.items():
        table.add_row(name, own.title, "not published", "procedural images", "")
    console.print(table)
    table = Table("Published table", "Values", "With a line", "Without", box=SIMPLE_HEAD)
    for entry in list_coverage():
        reasons = dict(entry.reasons)
        if entry.unexplained:
            reasons["no suite has this value"] = len(entry.unexplained)
        without = "\n".join(f"{count}: {reason}" for reason, count in reasons.items())
        counts = str(entry.values), str(entry.with_line)
        table.add_row(plain(f"{entry.source}, {entry.table}"), *counts, plain(without))
    console.print(table)
    return 0


def _ledgers(
    grids: "dict[Suite, dict[SuiteLine, list[Cell]]]",
    own: str,
    cells: "Sequence[Cell]",
    choice: "SuiteChoice",
    out: Path,
    console: Console,
) -> None:
    """Write and show the ledger of each suite, or of the cells of one of `OWN_SUITES`."""
    from rich.markdown import Markdown

    from bench.report.published.ledger_file import write_ledger, write_own
    from bench.run.store import Store

    records = {record.cell.id: record for record in Store(out).read_all()}
    paths = [write_ledger(suite, choice, grid, records, out) for suite, grid in grids.items()]
    for path in paths or [write_own(own, choice, cells, records, out)]:
        console.print(Markdown(path.read_text()))
        console.print(plain(path), soft_wrap=True)
