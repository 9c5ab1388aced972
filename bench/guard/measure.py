"""Measure what the guard compares: counts and fingerprints of all methods, and a few cells."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.ask.request import Request
from bench.cost.count import cost_cards
from bench.guard.baseline import Figures, Run, cells
from bench.guard.fingerprint import Fingerprint, fingerprint, loss_values
from bench.guard.machine import numerics
from bench.guard.trace import part_of
from bench.plugins.registry import get_method, list_methods
from bench.run.cell import work
from bench.run.environment import environment
from bench.run.process import ProcessDiedError, isolate, start_server
from bench.run.store import Store
from bench.spec import Cell

LIMIT_S = 600  # of one process, which takes about ten seconds
CLASSES, BATCH = 2, 4  # foreground classes and images of a training step, for counts

Fields = dict[str, Any]
Result = tuple[str, Fingerprint | str]  # name of the method; its fingerprint or why it has none


def measure(
    request: Request | None, seeds: int, methods: Sequence[str], covers: str = "built-in"
) -> Figures:
    """Figures of the present code; methods are counted in a thread during all other work.

    Cells and fingerprints run in new processes, cells with a temporary results folder. What fails
    is named in the figures: in `failures`, or in the `error` of a run.

    Args:
        request: the grid, on one dataset; None to train nothing.
        seeds: number of cells that are trained for each method of the grid.
        methods: names of the methods that are counted and get a fingerprint.
        covers: an entry of `bench.guard.baseline.COVERS`, for `Figures`.

    Raises:
        UserError: as `bench.guard.baseline.cells`.
    """
    start_server("bench.guard.measure", "bench.guard.reference_step")
    grid = [] if request is None else cells(request, seeds)
    with ThreadPoolExecutor(1) as executor:
        counting = executor.submit(count_all, methods)
        prints, losses = measure_fingerprints(methods)
        runs: dict[str, list[Run]] = {}
        with TemporaryDirectory() as folder:
            store = Store.open(Path(folder))
            for cell in grid:
                runs.setdefault(cell.label, []).append(train(cell, store))
        counts, failures = counting.result()
    contents = {cell.dataset_name: cell.dataset_sha for cell in grid}
    contents |= {cell.task.backbone: cell.weights_sha for cell in grid if cell.weights_sha}
    return Figures(
        {} if request is None else _settings(request),
        environment("cpu") | {"numerics": numerics()},
        contents,
        counts,
        runs,
        {name: value for name, value in prints.items() if isinstance(value, Fingerprint)},
        losses,
        covers=covers,
        failures=failures | {k: value for k, value in prints.items() if isinstance(value, str)},
    )


def methods_of(covers: str) -> list[str]:
    """Names of the methods that a baseline covers and that can be used here.

    Args:
        covers: "built-in" for all built-in methods, "plugins" for all others.
    """
    built_in = {method.name for method in list_methods(built_in_only=True)}
    names = [method.name for method in list_methods()]
    return [name for name in names if (name in built_in) == (covers == "built-in")]


def count_all(methods: Sequence[str]) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Count methods.

    Returns:
        Name of a method to the result of `count`, and name of each method that cannot be counted to
        the reason.
    """
    counts, failures = {}, {}
    for name in methods:
        try:
            counts[name] = count(name)
        except Exception as error:  # a plugin's mistake must not end the guard
            failures[name] = _reason(error)
    return counts, failures


def count(method: str) -> dict[str, int]:
    """Count a method with its default options on `sam_nano`, at the image size of that backbone.

    Returns:
        Numbers by "part: measure", such as "encoder: trainable parameters", and of the whole model
        "training step: FLOPs" (of `BATCH` images) and "checkpoint: bytes".

    Raises:
        UserError: the method is unknown, or does not work on `sam_nano`.
    """
    (card,), _ = cost_cards([(get_method(method), {})], "sam_nano", None, CLASSES, BATCH)
    counts, values = card.counts, dict[str, int]()
    for part, (trainable, total) in counts.part_params.items():
        values[f"{_word(part)}: parameters"] = total
        values[f"{_word(part)}: trainable parameters"] = trainable
    for part, flops in counts.part_flops.items():
        values[f"{_word(part)}: forward FLOPs"] = flops
    values["training step: FLOPs"] = counts.train_step_flops
    values["checkpoint: bytes"] = counts.saved_bytes
    return values


def _word(part: str) -> str:
    return part_of(part) if part else "model"


def measure_fingerprints(
    methods: Sequence[str],
) -> tuple[dict[str, Fingerprint | str], dict[str, list[float]]]:
    """Compute fingerprints of methods and values of losses, in a new process with one thread.

    Returns:
        Name of each method to its fingerprint, or to the reason why it has none; and the result of
        `loss_values`, empty if the process ended before. All methods together have `LIMIT_S`
        seconds.
    """
    prints, losses = dict[str, Fingerprint | str](), dict[str, list[float]]()

    def keep(result: Result | dict[str, list[float]]) -> None:
        if isinstance(result, dict):
            losses.update(result)
        else:
            prints[result[0]] = result[1]

    try:
        isolate(send_fingerprints, list(methods), on_event=keep, limit_s=LIMIT_S)
    except (TimeoutError, ProcessDiedError) as error:
        prints |= {name: f"no fingerprint: {error}" for name in methods if name not in prints}
    return prints, losses


def send_fingerprints(methods: Sequence[str], send: Callable[[object], None]) -> None:
    """Compute the losses and the fingerprints of methods in this process, on one thread.

    The process keeps this number of threads, and rounds tiny numbers to 0.

    Args:
        methods: names.
        send: called with the result of `loss_values`, then for each method with its name and its
            fingerprint, or the reason why it has none.
    """
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    send(loss_values())
    for name in methods:
        try:
            send((name, fingerprint(get_method(name))))
        except Exception as error:  # as in `count_all`
            send((name, _reason(error)))


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["without a message"]
    return f"cannot be built or trained ({type(error).__name__}: {lines[0]})"


def _settings(request: Request) -> Fields:
    values = {spec.name: (getattr(request, spec.name), spec.default) for spec in fields(request)}
    return {name: value for name, (value, default) in values.items() if value != default}


def train(cell: Cell, store: Store) -> Run:
    """Run a cell in a new process, and the reference step after it.

    A failure, or a run of more than `LIMIT_S` seconds, is returned as `error`, not raised.

    Args:
        cell: what to run, on the CPU with one thread.
        store: folder for its record.
    """
    results: list[Fields] = []
    try:
        isolate(run_with_reference, cell, store, on_event=results.append, limit_s=LIMIT_S)
    except (TimeoutError, ProcessDiedError) as error:
        return Run(error=str(error))
    return Run(**results[-1])


def run_with_reference(cell: Cell, store: Store, send: Callable[[Fields], None]) -> None:
    """Run a cell as every cell is run, then the reference step, in this process.

    Args:
        cell: what to run, on the CPU with one thread.
        store: folder for its record.
        send: called once, with fields of a `Run` by name: only `error` if the cell failed.
    """
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
