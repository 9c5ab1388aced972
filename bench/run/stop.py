"""Signals that ask a process to end: SIGTERM, and SIGUSR1 as Slurm sends it before pre-emption."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Exit codes: 128 + 15 as shells have it, and 75 ("try again later") for a job to be requeued.
CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 75}


class StopRequested(SystemExit):
    """The process is to end because of a signal; its exit code is in `CODES`.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(CODES[self.signal])


class StopSignals:
    """Raises `StopRequested` at the first signal of `CODES`, at once or when it is convenient.

    Use it in a `with` block. Later signals are ignored. Outside the main thread, where Python
    handles no signals, it does nothing.

    Attributes:
        held: the signal is only noted; `raise_noted` raises.
        noted: number of the signal that came while `held`; None before.
    """

    def __init__(self) -> None:
        self.held = False
        self.noted: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in CODES:
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        """Handle the signals as before the block."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raise_noted(self) -> None:
        """Raise `StopRequested` if a signal was noted."""
        if self.noted is not None:
            raise StopRequested(self.noted)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.noted is not None:
            return
        self.noted = number
        if not self.held:
            raise StopRequested(number)


@contextmanager
def ignored(*numbers: int) -> Iterator[None]:
    """Ignore signals in the block, and in programs that it starts for as long as they run.

    Outside the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
