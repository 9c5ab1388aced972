"""The progress of a run as plain lines, for a log: nohup, Slurm, a pipe."""

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.text import Text

from bench.cli.progress import Progress
from bench.run.events import (
    CellProgressed,
    CellStarted,
    Event,
    PhaseStarted,
    TrainingProgress,
    WaitingForOtherRun,
)

EVERY_S = 30.0  # longest time between two lines


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the thread."""
        self._ended.set()
        self._thread.join()

    def update(self, event: Event) -> None:
        """Take an event in, and print what it says."""
        with self._lock:
            before = self._progress.progress
            waited = self._progress.waiting
            line = self._progress.update(event)
            if line is not None:
                self._print(line)
            elif (
                _begins_a_phase(event, before)
                or (isinstance(event, WaitingForOtherRun) and not waited)
                or time.monotonic() - self._last >= self._every_s
            ):
                self._print_state()

    def _print_in_time(self) -> None:
        while not self._ended.wait(min(1.0, self._every_s / 4)):
            with self._lock:
                if time.monotonic() - self._last >= self._every_s:
                    self._print_state()

    def _print_state(self) -> None:
        progress = self._progress
        if progress.cell is None:
            if progress.waiting:
                self._print(progress.waiting_note)
            return
        words = progress.words()
        report = progress.progress
        if isinstance(report, TrainingProgress):
            words = ["training", *words, f"data {report.data_bytes / 2**20:.0f} MiB"]
        self._print(f"{progress.title}: {'  '.join(words)}")

    def _print(self, line: "str | Text") -> None:
        text = line if isinstance(line, Text) else Text(line)
        self._console.print(text, soft_wrap=True)
        self._last = time.monotonic()


def _begins_a_phase(event: Event, before: object) -> bool:
    match event:
        case CellStarted() | CellProgressed(_, PhaseStarted()):
            return True
        case CellProgressed(_, TrainingProgress()):
            return not isinstance(before, TrainingProgress)
    return False
