"""How far a run has come, as a line that can be drawn again and again."""

import time
from collections.abc import Mapping
from typing import Any

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.spec import Cell, Record

_PHASES = {"data": "reading images", "evaluate": "evaluating", "measure": "measuring cost"}


class Progress:
    """The state of a run over `total` cells; drawing it shows the cell that runs now."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.cell: Cell | None = None
        self.event: Mapping[str, Any] = {}
        self.waiting = 0
        self._began = 0.0
        self._durations: list[float] = []

    def begin(self, cell: Cell) -> None:
        """A cell starts."""
        self.cell, self.event, self.waiting = cell, {}, 0
        self._began = time.monotonic()

    def show(self, event: Mapping[str, Any]) -> None:
        """Something happened in the running cell."""
        self.event = event

    def finish(self, record: Record, ran: bool) -> Text:
        """A cell is done; returns the line to keep of it."""
        seconds = time.monotonic() - self._began
        self.done += 1
        self.cell = None
        if ran:
            self._durations.append(seconds)
        style = "green" if record.status == "ok" else "red"
        line = Text.assemble(
            (f"[{self.done}/{self.total}] ", "dim"),
            (f"{record.status:<8}", style),
            _name(record.cell),
        )
        dice = record.metrics.get("dice_dataset")
        if dice is not None:
            line.append(f"  Dice {dice:.3f}")
        line.append(f"  {seconds:.0f} s" if ran else "  done before", "dim")
        if record.error:
            line.append(f"  {record.error}", "red")
        return line

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the cells run so far; None before the first has finished."""
        if not self._durations:
            return None
        each = sum(self._durations) / len(self._durations)
        gone = time.monotonic() - self._began if self.cell else 0.0
        return max(0.0, each * (self.total - self.done) - min(gone, each))

    def __rich__(self) -> Table:
        """One line: cell, phase or epoch, loss, images/s, time left."""
        row = Table.grid(padding=(0, 2))
        if self.cell is None:
            note = f"waiting for another run to finish {self.waiting} cell(s)"
            row.add_row(Text(note if self.waiting else "", "dim"))
            return row
        steps = self.cell.recipe.steps
        step = float(self.event.get("step", 0))
        cells: list[Any] = [
            Text(f"[{self.done + 1}/{self.total}]", "dim"),
            Text(_name(self.cell), "bold"),
            ProgressBar(total=steps, completed=step, width=20),
        ]
        if self.event.get("phase") == "train":
            cells += [
                f"step {step:.0f}/{steps}",
                f"epoch {self.event['epoch']:.1f}",
                f"loss {self.event['loss']:.3f}",
                f"{self.event['images_per_s']:.1f} images/s",
            ]
        else:
            cells.append(_PHASES.get(str(self.event.get("phase")), "starting"))
        left = self.seconds_left
        if left is None and step:
            gone = time.monotonic() - self._began
            left = gone * (steps / step - 1) + gone * steps / step * (self.total - self.done - 1)
        if left is not None:
            cells.append(Text(f"{_clock(left)} left", "cyan"))
        row.add_row(*cells)
        return row


def _name(cell: Cell) -> str:
    parts = [cell.label, cell.dataset_name, f"seed {cell.seed}"]
    if cell.task.weights != "pretrained":
        parts.append("random weights" if cell.task.weights == "random" else "own checkpoint")
    if cell.folds > 1:
        parts.append(f"fold {cell.fold + 1}/{cell.folds}")
    if cell.labels is not None:
        parts.append(f"{cell.labels} labels")
    return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
