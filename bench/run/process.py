"""A cell in a fresh process: clean memory, contained failure, time limit.

Processes are forked from a server that has imported torch and run nothing with it, so that each
starts clean and at once.
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
    """The process ended without finishing its work."""


def start_server(*modules: str) -> None:
    """Start the server that cells are forked from; it imports `modules` in the background."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    from multiprocessing.forkserver import ensure_running

    ensure_running()


def isolate(
    work: Work, *args: Any, on_event: Callable[[Event], None], limit_s: float | None = None
) -> None:
    """Run `work(*args, say)` in a process of its own until it ends.

    Args:
        work: an importable function; its last argument sends events to this process.
        args: picklable.
        on_event: called here with every event.
        limit_s: seconds after which the process is killed.

    Raises:
        TimeoutError: the limit was reached.
        ProcessDiedError: the process ended by a signal or with a non-zero exit code.
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
        raise ProcessDiedError(_how(process.exitcode))


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


def _how(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed (signal 9), as the system does when memory runs out"
    return f"the process ended by signal {-code}" if code < 0 else f"the process ended with {code}"


def _plugins() -> str:
    return os.environ.get(VARIABLE, "")


def _enter(
    work: Work, args: tuple[Any, ...], outbox: "connection.Connection[Any, Any]", plugins: str
) -> None:
    os.environ[VARIABLE] = plugins  # the server may have started before the user named them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:  # no orphan goes on computing
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    work(*args, outbox.send)
