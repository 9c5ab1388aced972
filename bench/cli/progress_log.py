"""The progress of a run as plain lines, for a log: nohup, Slurm, a pipe."""

import threading
import time

from rich.console import Console
from rich.text import Text

from bench.cli.progress import Progress, RunningCell
from bench.run.events import (
    CellProgressed,
    CellStarted,
    Event,
    PhaseStarted,
    TrainingProgress,
    WaitingForOtherRun,
)

EVERY_S = 30.0  # longest time between two lines
MOST_CELLS = 12  # that are named in a line


class ProgressLog:
    """Prints a line for each phase of a cell, and one at least every `EVERY_S` seconds.

    The lines have no control characters. Use it in a `with` block: a thread of its own prints where
    a phase reports nothing for long.

    Args:
        console: to print on.
        every_s: longest time between two lines in seconds.
    """

    def __init__(self, console: Console, every_s: float = EVERY_S) -> None:
        self._console, self._every_s = console, every_s
        self._progress = Progress()
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._print_in_time, daemon=True)

    def __enter__(self) -> "ProgressLog":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the thread."""
        self._ended.set()
        self._thread.join()

    def update(self, event: Event) -> None:
        """Take an event in, and print what it says."""
        with self._lock:
            progress = self._progress
            began, waited = _begins_a_phase(event, progress), progress.waiting
            line = progress.update(event)
            if line is not None:
                self._print(line)
            elif began and isinstance(event, CellStarted | CellProgressed):
                self._print_cell(progress.running[event.cell.id])
            elif (
                isinstance(event, WaitingForOtherRun) and not waited
            ) or time.monotonic() - self._last >= self._every_s:
                self._print_state()

    def _print_in_time(self) -> None:
        while not self._ended.wait(min(1.0, self._every_s / 4)):
            with self._lock:
                if time.monotonic() - self._last >= self._every_s:
                    self._print_state()

    def _print_state(self) -> None:
        progress = self._progress
        running = list(progress.running.values())
        if not running:
            if progress.waiting:
                self._print(progress.waiting_note)
        elif len(running) == 1:
            self._print_cell(running[0])
        else:
            cells = (f"{progress.title(one)} {one.words[0]}" for one in running[:MOST_CELLS])
            self._print(f"{progress.summary}: {'; '.join(cells)}")

    def _print_cell(self, one: RunningCell) -> None:
        words = [*one.words, self._progress.time_left]
        if isinstance(one.progress, TrainingProgress):
            words = ["training", *words, f"data {one.progress.data_bytes / 2**20:.0f} MiB"]
        self._print(f"{self._progress.title(one)}: {'  '.join(filter(None, words))}")

    def _print(self, line: "str | Text") -> None:
        text = line if isinstance(line, Text) else Text(line)
        self._console.print(text, soft_wrap=True)
        self._last = time.monotonic()


def _begins_a_phase(event: Event, progress: Progress) -> bool:
    """Whether an event that `progress` has not taken in yet is the first of a phase of a cell."""
    match event:
        case CellStarted() | CellProgressed(_, PhaseStarted()):
            return True
        case CellProgressed(cell, TrainingProgress()):
            return not isinstance(progress.running[cell.id].progress, TrainingProgress)
    return False
