"""Has a change of the code made anything worse?"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.cli.parsing import ArgumentParser, plain

if TYPE_CHECKING:
    from bench.ask.request import Request
    from bench.guard.baseline import Figures, Run
    from bench.guard.compare import Change
    from bench.run.store import Store
    from bench.spec import Cell

LIMIT_S = 600  # of one cell, which takes about ten seconds
COUNTED = ("trainable_params", "total_params", "forward_flops", "train_step_flops", "saved_bytes")


def parser() -> argparse.ArgumentParser:
    """The parser of `guard`."""
    parser = ArgumentParser(
        command="guard",
        description="Train a small fixed grid on one CPU thread, count every method, and name what"
        " is not as in the baseline: Dice, parameters, operations, memory, speed.",
    )
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        type=Path,
        default=Path("results/reference/guard.json"),
        help="[%(default)s]",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="make it anew, of the grid in it or else of the default one, and stop",
    )
    return parser


def run(asked: argparse.Namespace, console: Console) -> int:
    """Compare, and print a table of what has changed; 1 if anything has."""
    from bench.guard import baseline
    from bench.guard import compare as guard
    from bench.plugins.registry import methods_lacking_a_library, unavailable_methods

    began = time.perf_counter()
    if asked.write:
        request, note = baseline.request_to_write(asked.baseline)
        console.print(f"[dim]{plain(note)}[/]", soft_wrap=True)
        baseline.write(measure(request, guard.SEEDS), asked.baseline)
        console.print(f"wrote {plain(asked.baseline)}", soft_wrap=True)
        return 0
    request, stored = baseline.read_request(asked.baseline), baseline.read(asked.baseline)
    now = measure(request, guard.RUNS)
    unavailable, lacking = unavailable_methods(), methods_lacking_a_library()
    changes, notes = guard.compare(stored, now, unavailable, lacking)
    for note in notes:
        console.print(f"[dim]{plain(note)}[/]", soft_wrap=True)
    if changes:
        _show(changes, console)
        console.print("if that is meant, make the baseline anew: guard --write", soft_wrap=True)
        return 1
    told = f"{len(now.counts)} methods counted, {len(now.runs)} trained"
    took = f"{time.perf_counter() - began:.0f} s"
    console.print(f"guard: {told}, all as in {plain(asked.baseline)} ({took})", soft_wrap=True)
    return 0


def measure(request: "Request", seeds: int) -> "Figures":
    """The figures of the code as it is; methods are counted while cells train beside."""
    from bench.guard.baseline import Figures, cells
    from bench.run.environment import environment
    from bench.run.process import start_server
    from bench.run.store import Store

    start_server("bench.run.cell", "bench.guard.reference_step")
    asked = cells(request, seeds)
    runs: dict[str, list[Run]] = {}
    with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as aside:
        counts = aside.submit(count_all, request, asked[0])
        store = Store.open(Path(folder))
        for cell in asked:
            runs.setdefault(cell.label, []).append(train(cell, store))
    contents = {cell.dataset_name: cell.dataset_sha for cell in asked}
    contents |= {cell.task.backbone: cell.weights_sha for cell in asked if cell.weights_sha}
    given = {spec.name: (getattr(request, spec.name), spec.default) for spec in fields(request)}
    grid = {name: value for name, (value, default) in given.items() if value != default}
    return Figures(grid, environment("cpu"), contents, counts.result(), runs)


def count_all(request: "Request", cell: "Cell") -> dict[str, dict[str, int]]:
    """Exact figures of every method that can be used here, for the classes and batch of a cell."""
    from bench.plugins.registry import list_methods

    return {method.name: count(method.name, request.backbones, cell) for method in list_methods()}


def count(method: str, backbone: str, cell: "Cell") -> dict[str, int]:
    """Exact figures of a method with its default options, at the backbone's own image side."""
    from bench.cost.count import cost_cards
    from bench.plugins.registry import get_method

    classes, batch = cell.task.num_classes - 1, cell.recipe.batch_size
    (card,), _ = cost_cards([(get_method(method), {})], backbone, None, classes, batch)
    return {key: card[key] for key in COUNTED}


def train(cell: "Cell", store: "Store") -> "Run":
    """Run a cell in a process of its own."""
    from bench.guard.baseline import Run
    from bench.run.process import ProcessDiedError, isolate

    said: list[dict[str, Any]] = []
    try:
        isolate(run_beside_reference, cell, store, on_event=said.append, limit_s=LIMIT_S)
    except (TimeoutError, ProcessDiedError) as error:
        return Run(error=str(error))
    return Run(**said[-1])


def run_beside_reference(
    cell: "Cell", store: "Store", say: Callable[[dict[str, Any]], None]
) -> None:
    """Run a cell as every cell is run, then the reference step; says the fields of a `Run`."""
    from bench.guard.reference_step import reference_speed
    from bench.run.cell import work

    work(cell, "cpu", 1, store, lambda event: None)
    record = store.read(cell)
    assert record is not None
    if record.cost is None:
        say({"error": f"{record.status}: {record.error}"})
        return
    speed = record.cost.train_images_per_s
    say(
        {
            "dice": record.metrics["dice_dataset"],
            "train_peak_bytes": record.cost.train_peak_bytes,
            "pace": None if speed is None else speed / reference_speed(),
        }
    )


def _show(changes: "Sequence[Change]", console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("Method", "Measure", "Baseline", "Now", "Change", box=SIMPLE_HEAD)
    for one in changes:
        table.add_row(*map(plain, (one.name, one.measure, one.baseline, one.now, one.change)))
    console.print(table)
