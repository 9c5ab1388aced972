"""Check that a change of the code left accuracy, cost and speed as they were."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.parsing import ArgumentParser, plain
from bench.files import shipped_results

if TYPE_CHECKING:
    from bench.guard.compare import Change

BASELINE = Path("results/reference/guard.json")


def parser() -> argparse.ArgumentParser:
    """The parser of `guard`."""
    parser = ArgumentParser(
        command="guard",
        description="Train a small fixed grid on one CPU thread, count every built-in method, and"
        " name what differs from the baseline: Dice, parameters, operations, memory, speed.",
    )
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        type=Path,
        help=f"[{BASELINE} below the working folder, else the one of this version]",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="measure a new baseline with the grid of the old one, or else the default grid",
    )
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Compare with the baseline and print a table of the differences, or write a new baseline.

    Returns:
        The exit code: 1 if there are differences, otherwise 0.

    Raises:
        UserError: the baseline cannot be read or written.
    """
    from bench.guard import baseline
    from bench.guard.compare import RUNS, SEEDS, compare
    from bench.guard.measure import measure
    from bench.plugins.registry import methods_lacking_a_library, unavailable_methods

    start = time.perf_counter()
    if arguments.write:
        path = arguments.baseline or BASELINE
        request, note = baseline.request_to_write(path)
        console.print(f"[dim]{plain(note)}[/]", soft_wrap=True)
        baseline.write(measure(request, SEEDS), path)
        console.print(f"wrote {plain(path)}", soft_wrap=True)
        return 0
    path = arguments.baseline or _default_baseline()
    request, stored = baseline.read_request(path), baseline.read(path)
    now = measure(request, RUNS)
    unavailable, lacking = unavailable_methods(), methods_lacking_a_library()
    changes, notes = compare(stored, now, unavailable, lacking)
    for note in notes:
        console.print(f"[dim]{plain(note)}[/]", soft_wrap=True)
    if changes:
        _show(changes, console)
        console.print("if this is intended, write a new baseline: guard --write", soft_wrap=True)
        return 1
    summary = f"{len(now.counts)} methods counted, {len(now.runs)} trained"
    seconds = f"{time.perf_counter() - start:.0f} s"
    console.print(f"guard: {summary}, all as in {plain(path)} ({seconds})", soft_wrap=True)
    return 0


def _default_baseline() -> Path:
    return BASELINE if BASELINE.is_file() else shipped_results() / "reference" / BASELINE.name


def _show(changes: "Sequence[Change]", console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("Method", "Measure", "Baseline", "Now", "Change", box=SIMPLE_HEAD)
    for one in changes:
        table.add_row(*map(plain, (one.name, one.measure, one.baseline, one.now, one.change)))
    console.print(table)
