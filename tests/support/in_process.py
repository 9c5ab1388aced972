"""Run the cells of the scheduler in the process of the test, one at its start after the other."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.run import local
from bench.run.process import Ended, ProcessDiedError


def run_cells_here(monkeypatch: pytest.MonkeyPatch, run: Callable[..., None]) -> None:
    """Replace the processes of cells.

    Args:
        monkeypatch: undoes it.
        run: called as `run(work, cell, device, threads, store, on_event=..., limit_s=...)` when a
            cell starts; its TimeoutError or ProcessDiedError is how the process ends.
    """

    class Here:
        pid = None

        def __init__(
            self, work: Any, *args: Any, limit_s: float | None, stall_s: float | None
        ) -> None:
            self.events: list[Any] = []
            error: Any = None
            try:
                run(work, *args, on_event=self.events.append, limit_s=limit_s)
            except (TimeoutError, ProcessDiedError) as died:
                error = died
            self.events.append(Ended(error))

        def nothing(self, *args: Any) -> None:
            """There is no process."""

        kill = terminate = stop_clock = start_clock = nothing

    def receive(children: list[Here], timeout_s: float) -> list[tuple[Here, Any]]:
        return [(child, child.events.pop(0)) for child in children]

    monkeypatch.setattr(local, "ChildProcess", Here)
    monkeypatch.setattr(local, "receive", receive)
    monkeypatch.setattr(local, "isolate", run)
    monkeypatch.setattr(local, "usable_cores", lambda: 1)  # so that each cell ends before the next
