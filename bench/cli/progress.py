"""The progress of a run as a few lines that are drawn again and again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

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
    TrainingNote,
    TrainingProgress,
    WaitingForOtherRun,
)
from bench.run.memory_words import memory_warning
from bench.spec import Cell, Recipe, Task
from bench.wording import counted

BAR = 10  # characters
MOST_LINES = 12  # cells that are shown at a time
SMALLEST_SHARE = 0.05  # of the steps of the first cell, from which the time left is estimated
_PHASES = {
    "elsewhere": "queued or running on another machine",
    "data": "reading images",
    "predict": "predicting memory and time",
    "evaluate": "evaluating",
    "measure": "measuring cost",
}


@dataclass
class RunningCell:
    """A cell that runs.

    Attributes:
        cell: the cell.
        number: its place in the order in which cells start, from 1.
        began: when, in seconds of `time.monotonic`.
        progress: its last report; None before the first.
    """

    cell: Cell
    number: int
    began: float
    progress: CellProgress | None = None

    @property
    def step(self) -> int:
        """Steps done, as far as is known; all of them after the training."""
        if isinstance(self.progress, TrainingProgress):
            return self.progress.step
        phase = self.progress.phase if isinstance(self.progress, PhaseStarted) else "data"
        return 0 if phase in ("elsewhere", "data", "predict") else self.cell.recipe.steps

    @property
    def words(self) -> list[str]:
        """Its phase, or step, epoch, loss and speed."""
        if isinstance(self.progress, TrainingProgress):
            steps = "proposer, step" if self.progress.of_proposer else "step"
            return [
                f"{steps} {self.progress.step}/{self.cell.recipe.steps}",
                f"epoch {self.progress.epoch:.1f}",
                f"loss {self.progress.loss:.3f}",
                f"{self.progress.images_per_s:.1f} images/s",
            ]
        if isinstance(self.progress, PhaseStarted):
            return [_PHASES[self.progress.phase]]
        return ["starting"]


class Progress:
    """What the events of a command add up to; drawing it shows the cells that run.

    Attributes:
        total: number of cells, those of former runs of the same command included.
        finished: number of cells that have a record now.
        jobs: number of cells that run at a time.
        running: id of a cell to the cell, in the order in which they started.
        waiting: number of cells of another command that are awaited.
    """

    def __init__(self) -> None:
        self.total, self.finished, self.jobs = 0, 0, 1
        self.running: dict[str, RunningCell] = {}
        self.waiting = 0
        self._durations: list[float] = []
        self._warned: set[tuple[str, Task, Recipe]] = set()

    def update(self, event: Event) -> Text | None:
        """Take an event in; returns a line that remains: a note, warning, or the end of a cell."""
        match event:
            case RunStarted(cells, note=note, jobs=jobs):
                self.total = self.finished + len(cells)  # a choice runs several grids
                self.jobs = jobs
                return Text(f"note: {note}", "dim") if note else None
            case CellStarted(cell):
                number = self.finished + len(self.running) + 1
                self.running[cell.id] = RunningCell(cell, number, time.monotonic())
                self.waiting = 0
            case CellProgressed(cell, progress):
                if isinstance(progress, TrainingNote):
                    line = f"note: {self.title(self.running[cell.id])}: {progress.sentence}"
                    return Text(line, "dim")
                self.running[cell.id].progress = progress
                if isinstance(progress, CostPredicted):
                    return self._warn(cell, memory_warning(cell, progress.predicted))
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
        self.running.pop(event.record.cell.id, None)
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
        """Estimate from the cells that this command ran, else from the steps of those that run.

        All cells without a record count, as if this command ran them. None before a cell is
        finished or `SMALLEST_SHARE` of its steps are done: until then, loading took most of the
        time.
        """
        now, running = time.monotonic(), list(self.running.values())
        if self._durations:
            mean = sum(self._durations) / len(self._durations)
            left = [max(0.0, mean - (now - one.began)) for one in running]
        else:
            shares = [one.step / one.cell.recipe.steps for one in running]
            known = [(one, s) for one, s in zip(running, shares, strict=True) if s > 0]
            if not known or max(shares) < SMALLEST_SHARE:
                return None
            mean = sum((now - one.began) / share for one, share in known) / len(known)
            left = [mean * (1 - share) for share in shares]
        waiting = self.total - self.finished - len(running)
        return (sum(left) + mean * waiting) / min(self.jobs, max(1, len(running) + waiting))

    @property
    def time_left(self) -> str:
        """The estimate in words; "" while there is none."""
        left = self.seconds_left
        return "" if left is None else f"{_clock(left)} left"

    def __rich__(self) -> RenderableType:
        """The cells that run, each with a bar and its phase or epoch, loss and images/s.

        One cell has two lines. Of several, each has a line; the last line tells how many are done.
        """
        running = list(self.running.values())
        if not running:
            return Text(self.waiting_note if self.waiting else "", "dim")
        if self.jobs > 1:
            return Group(_lines(running[:MOST_LINES]), Text(self.summary, "dim"))
        (one,) = running
        name = Text(no_wrap=True, overflow="ellipsis")
        name.append(f"[{one.number}/{self.total}] ", "dim").append(_name(one.cell), "bold")
        row = Table.grid(padding=(0, 2))
        words = "  ".join(filter(None, [*one.words, self.time_left]))
        row.add_row(_bar(one), Text(words, no_wrap=True, overflow="ellipsis"))
        return Group(name, row)

    @property
    def summary(self) -> str:
        """How many cells are done and how many run, and the time left."""
        words = [f"[{self.finished}/{self.total}] {counted(len(self.running), 'cell')} running"]
        return "  ".join(filter(None, [*words, self.time_left]))

    @property
    def waiting_note(self) -> str:
        """What is awaited."""
        return f"waiting for another run to finish {counted(self.waiting, 'cell')}"

    def title(self, one: RunningCell) -> str:
        """Number and name of a running cell."""
        return f"[{one.number}/{self.total}] {_name(one.cell)}"


def _lines(running: Sequence[RunningCell]) -> Table:
    """A line for each cell; its name is cut off first."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(width=BAR)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for one in running:
        words = "  ".join(word for word in one.words if not word.startswith("epoch"))
        table.add_row(Text(_name(one.cell), "bold"), _bar(one), Text(words))
    return table


def _bar(one: RunningCell) -> ProgressBar:
    return ProgressBar(total=one.cell.recipe.steps, completed=one.step, width=BAR)


def _name(cell: Cell) -> str:
    parts = [cell.full_label, cell.images_label, f"seed {cell.seed}"]
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
