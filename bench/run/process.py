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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection
from types import ModuleType
from typing import Any, TypeVar

from bench.plugins.folders import VARIABLE

Event = TypeVar("Event")
Work = Callable[..., None]
_MAIN_MODULE = threading.Lock()  # one thread at a time replaces it


class ProcessDiedError(RuntimeError):
    """The process ended without finishing its work.

    Args:
        code: its exit code; the negative number of a signal that ended it.
    """

    def __init__(self, code: int) -> None:
        super().__init__(_describe_exit(code))
        self.code = code

    @property
    def killed(self) -> bool:
        """Whether it was killed (signal 9), as the system does when memory runs out."""
        return self.code == -signal.SIGKILL


def start_server(*modules: str) -> None:
    """Start the server that forks processes, unless it runs already.

    Args:
        modules: names of modules that the server imports in the background; without effect if it
            runs already.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    from multiprocessing.forkserver import ensure_running

    ensure_running()


def isolate(
    work: Work, *args: Any, on_event: Callable[[Event], None], limit_s: float | None = None
) -> None:
    """Run `work(*args, send)` in a fresh process until it ends.

    The process ignores Ctrl-C. It is killed if this function ends with an error, and ends with this
    process.

    Args:
        work: a function of an importable module; its last argument sends an event to this process.
        args: picklable arguments.
        on_event: called in this process with each event, in the order sent; its errors are passed
            on.
        limit_s: seconds after which the process is killed; None for no limit.

    Raises:
        TimeoutError: the limit was reached.
        ProcessDiedError: the process ended by a signal or with a non-zero exit code, as it does
            when `work` raises an error (its traceback goes to stderr).
    """
    context = multiprocessing.get_context("forkserver")
    inbox, outbox = context.Pipe(duplex=False)
    process = context.Process(target=_enter, args=(work, args, outbox, _plugins()), daemon=True)
    with _without_main_module():
        process.start()
    outbox.close()
    ends = None if limit_s is None else time.monotonic() + limit_s
    try:
        while True:
            left = None if ends is None else max(0.0, ends - time.monotonic())
            if not inbox.poll(left):
                raise TimeoutError(f"not done after {limit_s:g} s")
            try:
                event = inbox.recv()
            except (EOFError, OSError):  # the end, or killed in the middle of a message
                break
            on_event(event)
        process.join()
    finally:
        process.kill()
        process.join()
    if process.exitcode:
        raise ProcessDiedError(process.exitcode)


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
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    work(*args, outbox.send)
