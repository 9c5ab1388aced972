"""Run work in a fresh process: clean memory, contained failures, a time limit.

Processes are forked from a server that has imported torch but has not used it, so that each starts
quickly and in the same state.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from types import ModuleType
from typing import Any, TypeVar

from bench.errors import UserError
from bench.plugins.folders import VARIABLE
from bench.run.stop import CODES, ignored

Event = TypeVar("Event")
Work = Callable[..., None]
SUSPENDED_S = 30.0  # a wait that ends so late: this process was suspended, as by Ctrl-Z
GONE_S = 20.0  # for a killed process to be gone; one that waits for a disk may never be
_MAIN_MODULE = threading.Lock()  # one thread at a time replaces it


class ProcessDiedError(RuntimeError):
    """The process ended without finishing its work.

    Args:
        code: its exit code; the negative number of a signal that ended it.
        reason: what it said before, a sentence; "" if it said nothing.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason or _describe_exit(code))
        self.code = code

    @property
    def killed(self) -> bool:
        """Whether it was killed (signal 9), as the system does when memory runs out."""
        return self.code == -signal.SIGKILL


class StalledError(TimeoutError):
    """The process has sent no event for too long."""


def start_server(*modules: str) -> None:
    """Start the server that forks processes, unless it runs already.

    Args:
        modules: names of modules that the server imports in the background; without effect if it
            runs already.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    from multiprocessing.forkserver import ensure_running

    # Sent to all processes of a job, a signal must not end the server before its processes.
    with ignored(*CODES):
        ensure_running()


@dataclass(frozen=True)
class Ended:
    """A process has ended.

    Attributes:
        error: why it did not finish its work: TimeoutError after its time limit, StalledError
            after a time without an event, else ProcessDiedError; None if it did.
    """

    error: TimeoutError | ProcessDiedError | None = None


@dataclass(frozen=True)
class _Reason:
    """Why a process ends without finishing its work.

    Attributes:
        sentence: for the user.
    """

    sentence: str


class ChildProcess:
    """A fresh process that runs `work(*args, send)`; it starts at once.

    The process ignores Ctrl-C, and ends with this process.

    Args:
        work: a function of an importable module; its last argument sends an event to this process.
        args: picklable arguments.
        limit_s: seconds after which `receive` kills the process; None for no limit.
        stall_s: seconds without an event after which `receive` kills it; None for no limit.
    """

    def __init__(
        self, work: Work, *args: Any, limit_s: float | None = None, stall_s: float | None = None
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        self._inbox, outbox = context.Pipe(duplex=False)
        arguments = (work, args, outbox, _plugins())
        self._process = context.Process(target=_enter, args=arguments, daemon=True)
        with _without_main_module():
            self._process.start()
        outbox.close()
        self._limit_s, self._stall_s = limit_s, stall_s
        self._left = limit_s
        self._ends: float | None = None
        self._stalls: float | None = None
        self._reason = ""
        self.start_clock()

    def fileno(self) -> int:
        """The file that `multiprocessing.connection.wait` waits for."""
        return self._inbox.fileno()

    @property
    def pid(self) -> int | None:
        """The number of the process."""
        return self._process.pid

    @property
    def seconds_left(self) -> float | None:
        """Of its limits, at least 0; None without a limit, or while they do not count."""
        ends = [end for end in (self._ends, self._stalls) if end is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def stop_clock(self) -> None:
        """Do not count the time from now on."""
        self._left = None if self._ends is None else max(0.0, self._ends - time.monotonic())
        self._ends = self._stalls = None

    def start_clock(self) -> None:
        """Count the time again."""
        now = time.monotonic()
        self._ends = None if self._left is None else now + self._left
        self._stalls = None if self._stall_s is None else now + self._stall_s

    def note_progress(self) -> None:
        """Count the time without an event from now on, unless the clock is stopped."""
        if self._stalls is not None and self._stall_s is not None:
            self._stalls = time.monotonic() + self._stall_s

    def next_event(self) -> Any:
        """What the process sent, or `Ended`; waits until there is one of them."""
        self.note_progress()
        try:
            event = self._inbox.recv()
            if not isinstance(event, _Reason):
                return event
            self._reason = event.sentence
            return self.next_event()
        except (EOFError, OSError):  # the end, or killed in the middle of a message
            self._process.join()
        code = self._process.exitcode
        return Ended(ProcessDiedError(code, self._reason) if code else None)

    def expire(self) -> Ended:
        """Kill the process at one of its limits."""
        late = self._ends is not None and time.monotonic() >= self._ends
        self.kill()
        if late:
            return Ended(TimeoutError(f"not done after {self._limit_s:g} s"))
        return Ended(StalledError(f"no progress for {self._stall_s:g} s"))

    def terminate(self, patience_s: float) -> None:
        """Ask the process to end (SIGTERM), and wait until it has, at most `patience_s`."""
        self._process.terminate()
        self._process.join(patience_s)

    def kill(self) -> None:
        """Kill the process, unless it has ended, and wait until it is gone, at most `GONE_S`."""
        self._process.kill()
        self._process.join(GONE_S)
        self._inbox.close()


def receive(
    children: Sequence[ChildProcess], timeout_s: float | None = None
) -> list[tuple[ChildProcess, Any]]:
    """Wait for the next events of several processes.

    Args:
        children: none of which has ended.
        timeout_s: longest wait; None: until an event or the end of a process.

    Returns:
        At most one event for each process, which is `Ended` for one that ended or that was killed
        at its time limit; empty after `timeout_s`.
    """
    limits = [timeout_s, *(child.seconds_left for child in children)]
    wait_s = min((limit for limit in limits if limit is not None), default=None)
    waiting: Any = children  # anything with a `fileno`
    began = time.monotonic()
    ready: Any = connection.wait(waiting, wait_s)
    if wait_s is not None and time.monotonic() - began > wait_s + SUSPENDED_S:
        for child in children:  # suspended with this process, they could say nothing
            child.note_progress()
    events = [(child, child.next_event()) for child in ready]
    late = [child for child in children if child not in ready and child.seconds_left == 0]
    return events + [(child, child.expire()) for child in late]


def isolate(
    work: Work, *args: Any, on_event: Callable[[Event], None], limit_s: float | None = None
) -> None:
    """Run `work(*args, send)` in a `ChildProcess` until it ends.

    The process is killed if this function ends with an error.

    Args:
        work: as for `ChildProcess`, likewise `args`.
        args: picklable arguments.
        on_event: called in this process with each event, in the order sent; its errors are passed
            on.
        limit_s: seconds after which the process is killed; None for no limit.

    Raises:
        TimeoutError: the limit was reached.
        ProcessDiedError: the process ended by a signal or with a non-zero exit code, as it does
            when `work` raises an error: a UserError is its message, the traceback of another one
            goes to stderr.
    """
    child = ChildProcess(work, *args, limit_s=limit_s)
    try:
        while True:
            for _, event in receive([child]):
                if not isinstance(event, Ended):
                    on_event(event)
                elif event.error is not None:
                    raise event.error
                else:
                    return
    finally:
        child.kill()


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Keep new processes from executing the caller's script again.

    multiprocessing makes each process import the `__main__` of its parent. Work is importable, so
    it needs no `__main__`; and a script without `if __name__ == "__main__"` would start itself.
    """
    with _MAIN_MODULE:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _describe_exit(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed (signal 9), as the system does when memory runs out"
    return f"the process ended by signal {-code}" if code < 0 else f"the process ended with {code}"


def _plugins() -> str:
    return os.environ.get(VARIABLE, "")


def _enter(
    work: Work, args: tuple[Any, ...], outbox: "connection.Connection[Any, Any]", plugins: str
) -> None:
    os.environ[VARIABLE] = plugins  # the server may have started before the user named them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    for number in CODES:
        signal.signal(number, signal.SIG_DFL)  # the server ignores them
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        work(*args, outbox.send)
    except UserError as error:
        outbox.send(_Reason(str(error)))
        sys.exit(1)
