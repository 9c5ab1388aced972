"""What a dry run says about the cells that are to do: predicted time and memory."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from bench.cli.parsing import plain
from bench.record_values import PredictedCost
from bench.run.memory_words import gib, memory_warning
from bench.spec import Cell
from bench.wording import counted

BUDGET_S = 20.0  # seconds of this process, after which no further configuration is predicted
OTHER_S = 15.0  # of a cell, in addition to the training: start, images, evaluation, measurements
WARNINGS = 5  # that are shown


def show_grid_cost(cells: Sequence[Cell], device: str, threads: int, console: Console) -> None:
    """Predict cells that are to do, and print their time and largest memory on this machine.

    Equal configurations are predicted once, and no more after `BUDGET_S`.

    Args:
        cells: without a record, at least one.
        device: name of a torch device.
        threads: CPU threads of a cell.
        console: to print on.

    Raises:
        UserError: a dataset cannot be read.
    """
    from bench.run.device_memory import available_bytes
    from bench.run.predictor import CostPredictor
    from bench.run.training_sizes import TrainingSizes

    predictor, sizes, available = (
        CostPredictor(remembers=True),
        TrainingSizes(),
        available_bytes(device),
    )
    pairs: list[tuple[Cell, PredictedCost]] = []
    began = time.process_time()
    with _threads(threads), console.status("predicting time and memory") as status:
        for number, cell in enumerate(cells):
            size = sizes.of(cell)
            late = time.process_time() - began > BUDGET_S
            if late and not predictor.knows(cell, size, device):
                continue
            status.update(f"predicting time and memory of cell {number + 1} of {len(cells)}")
            pairs.append((cell, predictor.predict(cell, size, device, available)))
    for sentence in _sentences(pairs, len(cells), available):
        console.print(plain(sentence))
    warnings = dict.fromkeys(memory_warning(cell, predicted) for cell, predicted in pairs)
    warnings.pop("", None)
    for sentence in list(warnings)[:WARNINGS]:
        console.print(f"[yellow]warning: {plain(sentence)}[/]")
    if len(warnings) > WARNINGS:
        console.print(f"[yellow]{len(warnings) - WARNINGS} more warnings like these[/]")


def _sentences(
    pairs: Sequence[tuple[Cell, PredictedCost]], total: int, available: int | None
) -> Iterator[str]:
    """Time and memory in words; which cells they do not cover."""
    timed = [predicted for _, predicted in pairs if predicted.run_peak_bytes is not None]
    if timed:
        others = OTHER_S * len(timed)
        low, likely, high = (
            sum(getattr(predicted, name) or 0.0 for predicted in timed) + others
            for name in ("train_wall_s_low", "train_wall_s", "train_wall_s_high")
        )
        order = ", one after the other" if len(timed) > 1 else ""
        yield (
            f"predicted time: {duration(likely)} on this machine ({duration(low)} to"
            f" {duration(high)}) for {counted(len(timed), 'cell')}{order}"
        )
        cell, largest = max(pairs, key=lambda pair: pair[1].run_peak_bytes or 0)
        free = "" if available is None else f" of {gib(available)} that are free"
        yield f"predicted peak memory: {gib(largest.run_peak_bytes or 0)}{free} ({cell.label})"
    reasons = dict.fromkeys(
        f"{cell.label}: not predicted: {predicted.reason}"
        for cell, predicted in pairs
        if predicted.run_peak_bytes is None
    )
    yield from reasons
    if len(pairs) < total:
        yield (
            f"without {counted(total - len(pairs), 'cell')} of {total}, to save time: the command"
            " cost predicts single methods"
        )


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Let torch use as many threads as a cell, since the speed of the machine is measured."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def duration(seconds: float) -> str:
    """Seconds in words with two figures, as "50 s", "8 min" or "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.2g} h"
