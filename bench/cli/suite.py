"""Published ablations: run them, and set ours beside theirs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.cells import add_run_options, prepare_run, run_and_report
from bench.cli.parsing import ArgumentParser, add_out, plain
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.ask.suites import Asked, Line, Suite
    from bench.spec import Cell

CHOSEN = ("weights", "checkpoint", "protocol", "image_size", "steps", "precision", "allow_leakage")


def parser() -> argparse.ArgumentParser:
    """The parser of `suite`."""
    parser = ArgumentParser(
        command="suite",
        description="Published ablations as grids: run one, and read its ledger, the published"
        " figures beside ours. By default offline, on stand-ins and the embedded backbone.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    told = "which there are"
    actions.add_parser("list", help=told, description=told)
    told = "train what is missing, and write the ledgers"
    run = actions.add_parser("run", help=told, description=told)
    told = "write the ledgers anew from the records that are here"
    ledger = actions.add_parser("ledger", help=told, description=told)
    for action in (run, ledger):
        _add_choice(action)
    add_run_options(run)
    add_out(ledger)
    return parser


def _add_choice(action: argparse.ArgumentParser) -> None:
    action.add_argument("names", nargs="*", help="suites, or all")
    what = action.add_argument_group("what to run")
    what.add_argument("--dataset", metavar="NAME", help="in place of the stand-in")
    what.add_argument("--backbone", metavar="NAME", default="sam_nano", help="[%(default)s]")
    what.add_argument("--weights", metavar="KIND", default="pretrained", help="[%(default)s]")
    what.add_argument("--checkpoint", metavar="FILE", type=Path, help="weights of your own")
    what.add_argument("--protocol", metavar="NAME", default="equal", help="[%(default)s]")
    what.add_argument("--seeds", metavar="N|LIST", default="3", help="a count, or 0,1,2 [3]")
    what.add_argument("--image-size", metavar="N", type=int, help="[the backbone's own]")
    what.add_argument("--steps", metavar="N", type=int, help="optimiser steps")
    what.add_argument("--precision", metavar="KIND", help="bf16 (autocast) or fp32")
    what.add_argument("--allow-leakage", action="store_true", help="though parts are not apart")


def run(asked: argparse.Namespace, console: Console) -> int:
    """List the suites, run some, or write their ledgers anew; 1 if a cell did not end well."""
    if asked.action == "list":
        return _list(console)
    from bench.ask.grid import Data, read_data
    from bench.ask.suites import Asked, expand_suite, get_suite, list_suites, request_of

    if not asked.names:
        known = ", ".join(suite.name for suite in list_suites())
        raise UserError(f"say which suite: {known}, or all")
    names = [suite.name for suite in list_suites()] if asked.names == ["all"] else asked.names
    suites = [get_suite(name) for name in names]
    choice = {key: getattr(asked, key) for key in CHOSEN} | {"backbones": asked.backbone}
    settings = prepare_run(asked) if asked.action == "run" else None
    chosen = Asked(asked.dataset, asked.seeds, choice)
    requests = {suite: request_of(suite, chosen) for suite in suites}  # all checked at once
    data: dict[tuple[str, int], dict[str, Data]] = {}
    grids: dict[Suite, dict[Line, list[Cell]]] = {}
    notes: list[str] = []
    for suite, request in requests.items():
        key = request.datasets, request.folds
        if key not in data:
            data[key] = read_data(request)
        grids[suite], told = expand_suite(suite, chosen, data[key])
        notes += told
    exit_code = 0
    if settings is not None:
        cells = [cell for grid in grids.values() for found in grid.values() for cell in found]
        once = list({cell.id: cell for cell in cells}.values())  # suites share some
        exit_code = run_and_report(once, list(dict.fromkeys(notes)), settings, asked, console)
        if asked.dry_run:
            return exit_code
    _ledgers(grids, chosen, asked.out, console)
    return exit_code


def _list(console: Console) -> int:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    from bench.ask.suites import list_suites

    name = Column("Suite", no_wrap=True)  # to be typed as it stands
    table = Table(name, "What it asks", "Published in", "Stand-in", "Lines", box=SIMPLE_HEAD)
    for suite in list_suites():
        lines = f"{sum(bool(line.run) for line in suite.lines)} of {len(suite.lines)}"
        words = (suite.name, suite.title, suite.source, suite.stand_in, lines)
        table.add_row(*map(plain, words))
    console.print(table)
    return 0


def _ledgers(
    grids: "dict[Suite, dict[Line, list[Cell]]]", chosen: "Asked", out: Path, console: Console
) -> None:
    from rich.markdown import Markdown

    from bench.report.published.ledger import write_ledger
    from bench.run.store import Store

    records = {record.cell.id: record for record in Store(out).read_all()}
    for suite, grid in grids.items():
        path = write_ledger(suite, chosen, grid, records, out)
        console.print(Markdown(path.read_text()))
        console.print(plain(path), soft_wrap=True)
