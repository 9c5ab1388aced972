"""Tell the executor that a cell makes progress."""

import time

from bench.run.events import Say, WorkDone
from bench.run.stop import StopSignals

EVERY_S = 2.0  # shortest time between two events


class Heartbeat:
    """Listens to the work that is done (`bench.data.parallel.tell`), and passes some of it on."""

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
        """
        self("waiting for the measurement of another cell", 0, 0)
        return stop.noted is not None
