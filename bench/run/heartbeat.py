"""Tell the executor that a cell makes progress."""

import time

from bench.run.events import Say, WorkDone
from bench.run.stop import StopSignals

EVERY_S = 2.0  # shortest time between two events


class Heartbeat:
    """Listens to the parts of work that are done (`bench.data.parallel.tell`), and passes some on.

    Args:
        say: takes an event, at most one in `EVERY_S` seconds.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._next = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take in that a part of some work is done."""
        if (now := time.monotonic()) >= self._next:
            self._next = now + EVERY_S
            self._say(WorkDone(what, done, total))

    def must_hurry(self, stop: StopSignals) -> bool:
        """Whether a cell must not wait longer for the measurement of another one.

        Waiting for it counts as progress, since it ends by itself.

        Args:
            stop: the signals that end the process of the cell.
        """
        self("waiting for the measurement of another cell", 0, 0)
        return stop.noted is not None
