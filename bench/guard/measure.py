"""Measure the figures that the guard compares: counts of all methods, and a few trained cells."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.ask.request import Request
from bench.cost.count import cost_cards
from bench.guard.baseline import Figures, Run, cells
from bench.plugins.registry import get_method, list_methods
from bench.run.cell import work
from bench.run.environment import environment
from bench.run.process import ProcessDiedError, isolate, start_server
from bench.run.store import Store
from bench.spec import Cell

LIMIT_S = 600  # of one cell, which takes about ten seconds
COUNTED = ("trainable_params", "total_params", "forward_flops", "train_step_flops", "saved_bytes")

Fields = dict[str, Any]


def measure(request: Request, seeds: int) -> Figures:
    """Figures of the present code; methods are counted in a thread while cells are trained.

    Args:
        request: the grid, on one dataset.
        seeds: number of cells that are trained for each method of the grid.

    Raises:
        UserError: the request names something that does not exist.
    """
    start_server("bench.guard.measure", "bench.guard.reference_step")
    grid = cells(request, seeds)
    runs: dict[str, list[Run]] = {}
    with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as executor:
        counts = executor.submit(count_built_in_methods, request, grid[0])
        store = Store.open(Path(folder))
        for cell in grid:
            runs.setdefault(cell.label, []).append(train(cell, store))
    contents = {cell.dataset_name: cell.dataset_sha for cell in grid}
    contents |= {cell.task.backbone: cell.weights_sha for cell in grid if cell.weights_sha}
    values = {spec.name: (getattr(request, spec.name), spec.default) for spec in fields(request)}
    settings = {name: value for name, (value, default) in values.items() if value != default}
    return Figures(settings, environment("cpu"), contents, counts.result(), runs)


def count_built_in_methods(request: Request, cell: Cell) -> dict[str, dict[str, int]]:
    """Exact figures of every built-in method that can be imported, for the task of a cell."""
    methods = list_methods(built_in_only=True)
    return {method.name: count(method.name, request.backbones, cell) for method in methods}


def count(method: str, backbone: str, cell: Cell) -> dict[str, int]:
    """Exact figures of a method with its default options, at the backbone's own image side."""
    classes, batch = cell.task.num_classes - 1, cell.recipe.batch_size
    (card,), _ = cost_cards([(get_method(method), {})], backbone, None, classes, batch)
    figures = card.to_dict()
    return {key: figures[key] for key in COUNTED}


def train(cell: Cell, store: Store) -> Run:
    """Run a cell in a process of its own."""
    results: list[Fields] = []
    try:
        isolate(run_with_reference, cell, store, on_event=results.append, limit_s=LIMIT_S)
    except (TimeoutError, ProcessDiedError) as error:
        return Run(error=str(error))
    return Run(**results[-1])


def run_with_reference(cell: Cell, store: Store, send: Callable[[Fields], None]) -> None:
    """Run a cell as every cell is run, then the reference step; sends the fields of a `Run`."""
    from bench.guard.reference_step import reference_speed

    work(cell, "cpu", 1, store, lambda event: None)
    record = store.read(cell)
    assert record is not None
    if record.cost is None:
        send({"error": f"{record.status}: {record.error}"})
        return
    speed = record.cost.train_images_per_s
    send(
        {
            "dice": record.metrics["dice_dataset"],
            "train_peak_bytes": record.cost.train_peak_bytes,
            "speed_ratio": None if speed is None else speed / reference_speed(),
        }
    )
