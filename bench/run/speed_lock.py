"""Keep the other cells of this machine still while one of them measures a speed."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

PATIENCE_S = 60.0  # longest wait for the others; a cell gives way between steps and images
STOPPED_S = 600.0  # a measurement takes less; a process that still holds a lock is stopped
POLL_S = 0.005


class SpeedLock:
    """A lock that the cells of a machine share while they work, and that one has while it measures.

    Cells of all commands of a user share it. A cell that works holds the lock and gives way between
    its steps (`give_way`); one that measures a speed waits until all have given way (`alone`). Of
    the two locked files, "queue" keeps those that give way from coming back before the measurement
    has begun. The system releases the locks of a process that ends, even if it is killed.

    Use it in a `with` block, by one thread of a process.

    Args:
        folder: of the two files, on a disk of this machine; None for that of temporary files.
        patience_s: longest time that `alone` waits for the others, in seconds.
        stopped_s: longest time that a cell waits for another one's measurement, in seconds.
        hurry: whether the cell must go on at once, since its process is asked to end.
    """

    def __init__(
        self,
        folder: Path | None = None,
        patience_s: float = PATIENCE_S,
        stopped_s: float = STOPPED_S,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._patience_s, self._stopped_s, self._hurry = patience_s, stopped_s, hurry
        self._files = contextlib.ExitStack()
        self._all_alone = True
        self._waited_in_vain = False

    def __enter__(self) -> "SpeedLock":
        """Open the files, and begin to work.

        Raises:
            OSError: the files cannot be written.
        """
        prefix = f"sam-adapt-bench-{os.getuid()}"
        self._queue, self._work = (
            self._files.enter_context((self._folder / f"{prefix}-{name}.lock").open("a"))
            for name in ("queue", "work")
        )
        self._come_back()
        return self

    def __exit__(self, *error: object) -> None:
        """Release both locks."""
        self._files.close()

    def give_way(self) -> None:
        """Wait for the end of a measurement, if another cell measures or waits to do so."""
        if _try(self._queue, fcntl.LOCK_SH):
            _release(self._queue)
            return
        with self.away():
            pass

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Do not hold others up in the block, which must not use the machine much."""
        _release(self._work)
        try:
            yield
        finally:
            self._come_back()

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep the others still in the block.

        Yields True; False if they did not all give way in time, so that some are at work.
        """
        with self.away():
            ends = time.monotonic() + self._patience_s
            held = all(_wait(file, ends, fcntl.LOCK_EX) for file in (self._queue, self._work))
            self._all_alone &= held
            try:
                yield held
            finally:
                _release(self._work)
                _release(self._queue)

    @property
    def conditions(self) -> str:
        """In words, for records: whether the other cells were still in all measurements so far."""
        return "other cells paused" if self._all_alone else "other cells running"

    def _come_back(self) -> None:
        """Take the shared lock; go on without it if the one that measures has been stopped."""
        # It does not wait as long for the same process again.
        ends = time.monotonic() + (0.0 if self._waited_in_vain else self._stopped_s)
        files = (self._queue, self._work)
        held = all(_wait(file, ends, fcntl.LOCK_SH, self._hurry) for file in files)
        self._waited_in_vain = not held
        self._all_alone &= held
        _release(self._queue)


def _wait(file: IO[str], ends: float, kind: int, hurry: Callable[[], bool] = lambda: False) -> bool:
    """Whether the file could be locked, shared or for this process only, before the time `ends`."""
    while not _try(file, kind):
        if time.monotonic() > ends or hurry():
            return False
        time.sleep(POLL_S)
    return True


def _try(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _release(file: IO[str]) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)
