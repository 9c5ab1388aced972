"""Run cells: what is not done yet, with progress, then the report."""

import argparse
import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.cli.parsing import add_out, plain
from bench.cli.report import write_all
from bench.errors import UserError
from bench.wording import counted

if TYPE_CHECKING:
    from bench.cli.progress import Progress
    from bench.run.store import Store
    from bench.spec import Cell, Record

LONGEST_S = 1_000_000  # of one cell; the system's own limit is near


def add_how(parser: argparse.ArgumentParser) -> Any:
    """The options of `run_cells`; returns their group."""
    how = parser.add_argument_group("how")
    how.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu or cuda")
    how.add_argument("--threads", metavar="N", type=int, help="CPU threads [all cores]")
    how.add_argument("--timeout", metavar="S", type=float, help="seconds a cell may take")
    how.add_argument(
        "--retry", action="store_true", help="run again what ended oom, diverged, timeout"
    )
    add_out(how)
    how.add_argument("--dry-run", action="store_true", help="show the cells, and stop")
    return how


def prepare(asked: argparse.Namespace) -> None:
    """Refuse limits out of range, and let a server import torch while this process does.

    Raises:
        UserError: a limit is out of range.
    """
    from bench.run.process import start_server

    _check_limits(asked)
    if not asked.dry_run:
        start_server("bench.run.cell")


def run_cells(
    cells: "list[Cell]", notes: Sequence[str], asked: argparse.Namespace, console: Console
) -> int:
    """Run what is not done, write the report, name the failures; 1 if there are any."""
    from bench.run.store import Store

    device = _device(asked.device)
    for note in notes:
        console.print(f"[dim]note: {plain(note)}[/]")
    if asked.dry_run:
        return _dry_run(cells, Store(asked.out), console)
    store = Store.open(asked.out)
    store.read_all()  # a file that is no record stops the run now, not hours later
    records = _work(cells, store, device, asked, console)
    write_all(store, console)
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        console.print(f"[red]{record.status}[/] {plain(record.cell.label)}: {plain(record.error)}")
    return 1 if failed else 0


def _check_limits(asked: argparse.Namespace) -> None:
    if asked.threads is not None and asked.threads < 1:
        raise UserError(f"--threads is {asked.threads}: give 1 or more")
    if asked.timeout is not None and not 0 < asked.timeout <= LONGEST_S:
        raise UserError(f"--timeout is {asked.timeout:g}: give seconds, up to {LONGEST_S}")


def _work(
    cells: "list[Cell]", store: "Store", device: str, asked: argparse.Namespace, console: Console
) -> "list[Record]":
    """Run what is not done yet; cells that another run holds are awaited at the end."""
    from rich.live import Live

    from bench.cli.progress import Progress

    progress, records, waiting = Progress(len(cells)), [], list(cells)
    with Live(progress, console=console, transient=True, refresh_per_second=4):
        while waiting:
            held = []
            for cell in waiting:
                with store.claim(cell) as free:
                    if not free:
                        held.append(cell)
                        continue
                    done = store.read(cell)
                    ran = done is None or _again(done, asked.retry)
                    record = _one(cell, store, device, asked, progress) if ran else done
                assert record is not None
                records.append(record)
                console.print(progress.finish(record, ran))
            if len(held) == len(waiting):
                progress.waiting = len(held)
                time.sleep(1)
            waiting = held
    return records


def _again(done: "Record", retry: bool) -> bool:
    """A failure may have been mended, or been a kill; the other outcomes would come again."""
    return done.status == "failed" or (retry and done.status != "ok")


def _one(
    cell: "Cell", store: "Store", device: str, asked: argparse.Namespace, progress: "Progress"
) -> "Record":
    """Run one cell in a process of its own; there is a record afterwards, whatever happens."""
    from bench.run.cell import failure, work
    from bench.run.process import ProcessDiedError, isolate

    threads = asked.threads or os.cpu_count() or 1
    progress.begin(cell)
    try:
        isolate(work, cell, device, threads, store, on_event=progress.show, limit_s=asked.timeout)
    except TimeoutError as error:
        store.write(failure(cell, "timeout", str(error), device))
    except ProcessDiedError as error:
        store.write(failure(cell, "failed", str(error), device))
    record = store.read(cell)
    assert record is not None
    return record


def _dry_run(cells: "list[Cell]", store: "Store", console: Console) -> int:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    parts = _parts(cells)
    table = Table(
        Column("Cell", overflow="fold"),
        *("Dataset", "Backbone", "Weights", "Seed", *parts),
        Column("State", no_wrap=True),
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for cell, *words in zip(cells, *parts.values(), strict=True):
        done = store.read(cell)
        table.add_row(
            plain(cell.label),
            plain(cell.dataset_name),
            cell.task.backbone,
            plain(Path(cell.task.weights).name),
            str(cell.seed),
            *words,
            "to do" if done is None else done.status,
        )
    console.print(table)
    left = sum(store.read(cell) is None for cell in cells)
    told = f"{counted(len(cells), 'cell')}, {left} to do, in {store.folder}"
    console.print(plain(told), soft_wrap=True)
    return 0


def _parts(cells: "list[Cell]") -> dict[str, list[str]]:
    """Columns of folds, of label budgets, and of what differs in the recipe of a method."""
    from bench.spec import Recipe

    parts = {}
    if any(cell.folds > 1 for cell in cells):
        parts["Fold"] = [f"{cell.fold + 1}/{cell.folds}" for cell in cells]
    if any(cell.labels for cell in cells):
        parts["Labels"] = [str(cell.labels or "all") for cell in cells]
    labels = [cell.label for cell in cells]
    for field in dataclasses.fields(Recipe):
        values = [str(getattr(cell.recipe, field.name)) for cell in cells]
        if len({*zip(labels, values, strict=True)}) > len({*labels}):
            parts[field.name.replace("_", " ").capitalize()] = values
    return parts


def _device(asked: str) -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *["cuda"][:count], *(f"cuda:{index}" for index in range(count))]
    if asked == "auto":
        return "cuda" if count else "cpu"
    if asked not in here:
        raise UserError(f"device '{asked}' is not here: give auto, {', '.join(here)}")
    return asked
