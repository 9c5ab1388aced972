"""The progress of a run as two lines that are drawn again and again."""

import time

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.run.events import (
    CellFinished,
    CellProgress,
    CellProgressed,
    CellStarted,
    CostPredicted,
    Event,
    PhaseStarted,
    RunStarted,
    TrainingProgress,
    WaitingForOtherRun,
)
from bench.run.memory_words import memory_warning
from bench.spec import Cell, Recipe, Task
from bench.wording import counted

SMALLEST_SHARE = 0.05  # of the steps of the first cell, from which the time left is estimated
_PHASES = {
    "data": "reading images",
    "predict": "predicting memory and time",
    "evaluate": "evaluating",
    "measure": "measuring cost",
}


class Progress:
    """What the events of a command add up to; drawing it shows the cell that started last.

    Attributes:
        total: number of cells, those of former runs of the same command included.
        finished: number of cells that have a record now.
        cell: the running cell; None between cells.
        progress: its last report; None before the first.
        waiting: number of cells of another command that are awaited.
    """

    def __init__(self) -> None:
        self.total, self.finished = 0, 0
        self.cell: Cell | None = None
        self.progress: CellProgress | None = None
        self.waiting = 0
        self._began = 0.0
        self._durations: list[float] = []
        self._warned: set[tuple[str, Task, Recipe]] = set()

    def update(self, event: Event) -> Text | None:
        """Take an event in; returns a line that remains: a note, warning, or the end of a cell."""
        match event:
            case RunStarted(cells, note=note):
                self.total = self.finished + len(cells)  # a choice runs several grids
                return Text(f"note: {note}", "dim") if note else None
            case CellStarted(cell):
                self.cell, self.progress, self.waiting = cell, None, 0
                self._began = time.monotonic()
            case CellProgressed(cell, CostPredicted(predicted)):
                self.progress = None
                return self._warn(cell, memory_warning(cell, predicted))
            case CellProgressed(_, progress):
                self.progress = progress
            case WaitingForOtherRun(cells):
                self.waiting = len(cells)
            case CellFinished():
                return self._finish(event)
        return None

    def _warn(self, cell: Cell, sentence: str) -> Text | None:
        """A line that remains; None for no sentence, or if there was one of another seed."""
        key = cell.label, cell.task, cell.recipe
        if not sentence or key in self._warned:
            return None
        self._warned.add(key)
        return Text(f"warning: {sentence}", "yellow")

    def _finish(self, event: CellFinished) -> Text:
        self.finished += 1
        self.cell = None
        record, seconds = event.record, event.seconds
        if seconds is not None:
            self._durations.append(seconds)
        style = "green" if record.status == "ok" else "red"
        line = Text.assemble(
            (f"[{self.finished}/{self.total}] ", "dim"),
            (f"{record.status:<8} ", style),
            _name(record.cell),
        )
        dice = record.metrics.get("dice_dataset")
        if dice is not None:
            line.append(f"  Dice {dice:.3f}")
        line.append("  done before" if seconds is None else f"  {seconds:.0f} s", "dim")
        if record.error:
            line.append(f"  {record.error}", "red")
        return line

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the cells that this command ran; None before the first of them is finished.

        All cells without a record count, as if this command ran them.
        """
        if not self._durations:
            return None
        mean = sum(self._durations) / len(self._durations)
        elapsed = time.monotonic() - self._began if self.cell else 0.0
        return max(0.0, mean * (self.total - self.finished) - min(elapsed, mean))

    def __rich__(self) -> RenderableType:
        """The cell; below it a bar, the phase or epoch, loss and images/s, and the time left."""
        if self.cell is None:
            return Text(self.waiting_note if self.waiting else "", "dim")
        words = self.words()
        name = Text(no_wrap=True, overflow="ellipsis")
        name.append(f"[{self.finished + 1}/{self.total}] ", "dim").append(_name(self.cell), "bold")
        row = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=self.cell.recipe.steps, completed=self._step(), width=10)
        row.add_row(bar, Text("  ".join(words), no_wrap=True, overflow="ellipsis"))
        return Group(name, row)

    def words(self) -> list[str]:
        """The phase of the running cell or its step, epoch, loss and speed; then the time left."""
        assert self.cell is not None, "a cell runs"
        steps, words = self.cell.recipe.steps, ["starting"]
        if isinstance(self.progress, TrainingProgress):
            words = [
                f"step {self.progress.step}/{steps}",
                f"epoch {self.progress.epoch:.1f}",
                f"loss {self.progress.loss:.3f}",
                f"{self.progress.images_per_s:.1f} images/s",
            ]
        elif isinstance(self.progress, PhaseStarted):
            words = [_PHASES[self.progress.phase]]
        left = self._left(self._step() / steps)
        return words if left is None else [*words, f"{_clock(left)} left"]

    def _step(self) -> int:
        """Steps done, as far as is known; all of them after the training."""
        if isinstance(self.progress, TrainingProgress):
            return self.progress.step
        phase = self.progress.phase if isinstance(self.progress, PhaseStarted) else "data"
        trained = phase not in ("data", "predict")
        return self.cell.recipe.steps if trained and self.cell else 0

    @property
    def waiting_note(self) -> str:
        """What is awaited."""
        return f"waiting for another run to finish {counted(self.waiting, 'cell')}"

    @property
    def title(self) -> str:
        """Number and name of the running cell."""
        assert self.cell is not None, "a cell runs"
        return f"[{self.finished + 1}/{self.total}] {_name(self.cell)}"

    def _left(self, share: float) -> float | None:
        """Seconds left; in the first cell as if it only trained, `share` of which is done.

        None at the start of the first cell: loading the model took most of the time so far.
        """
        if self._durations or share < SMALLEST_SHARE:
            return self.seconds_left
        per_cell = (time.monotonic() - self._began) / share
        return per_cell * (self.total - self.finished - share)


def _name(cell: Cell) -> str:
    parts = [cell.label, cell.images_label, f"seed {cell.seed}"]
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
