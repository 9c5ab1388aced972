"""How far a run has come, as two lines that can be drawn again and again."""

import time

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.run.events import CellProgress, PhaseStarted, TrainingProgress
from bench.spec import Cell, Record
from bench.wording import counted

_PHASES = {"data": "reading images", "evaluate": "evaluating", "measure": "measuring cost"}


class Progress:
    """The state of a run over `total` cells; drawing it shows the cell that runs now."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.cell: Cell | None = None
        self.progress: CellProgress | None = None
        self.waiting = 0
        self._began = 0.0
        self._durations: list[float] = []

    def begin(self, cell: Cell) -> None:
        """A cell starts."""
        self.cell, self.progress, self.waiting = cell, None, 0
        self._began = time.monotonic()

    def show(self, progress: CellProgress) -> None:
        """The running cell reports progress."""
        self.progress = progress

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
            (f"{record.status:<8} ", style),
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

    def __rich__(self) -> RenderableType:
        """The cell; below it a bar, the phase or epoch, loss and images/s, and the time left."""
        if self.cell is None:
            note = f"waiting for another run to finish {self.waiting} cell(s)"
            return Text(note if self.waiting else "", "dim")
        steps, step, told = self.cell.recipe.steps, 0, ["starting"]
        if isinstance(self.progress, TrainingProgress):
            step = self.progress.step
            told = [
                f"step {step}/{steps}",
                f"epoch {self.progress.epoch:.1f}",
                f"loss {self.progress.loss:.3f}",
                f"{self.progress.images_per_s:.1f} images/s",
            ]
        elif isinstance(self.progress, PhaseStarted):
            step = 0 if self.progress.phase == "data" else steps
            told = [_PHASES[self.progress.phase]]
        left = self._left(step / steps)
        if left is not None:
            told.append(f"{_clock(left)} left")
        name = Text(no_wrap=True, overflow="ellipsis")
        name.append(f"[{self.done + 1}/{self.total}] ", "dim").append(_name(self.cell), "bold")
        row = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=steps, completed=step, width=10)
        row.add_row(bar, Text("  ".join(told), no_wrap=True, overflow="ellipsis"))
        return Group(name, row)

    def _left(self, share: float) -> float | None:
        """Seconds left; in the first cell as if all of it were training, `share` of it done."""
        if self._durations or not share:
            return self.seconds_left
        whole = (time.monotonic() - self._began) / share
        return whole * (self.total - self.done - share)


def _name(cell: Cell) -> str:
    parts = [cell.label, cell.dataset_name, f"seed {cell.seed}"]
    if cell.task.weights != "pretrained" and cell.task.backbone != "none":
        parts.append("random weights" if cell.task.weights == "random" else "own checkpoint")
    if cell.folds > 1:
        parts.append(f"fold {cell.fold + 1}/{cell.folds}")
    if cell.labels is not None:
        parts.append(counted(cell.labels, "label"))
    return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
