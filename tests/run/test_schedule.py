import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from records import make_cell, make_failure, make_record

from bench.errors import UserError
from bench.run import schedule
from bench.run.events import (
    CellFinished,
    CellProgressed,
    CellStarted,
    Event,
    PhaseStarted,
    RunFinished,
    RunStarted,
    WaitingForOtherRun,
)
from bench.run.process import ProcessDiedError
from bench.run.schedule import RunSettings, run_cells
from bench.run.store import Store
from bench.spec import Cell, Record

CPU = RunSettings(device="cpu")
CELLS = [make_cell(seed=seed) for seed in range(3)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path)


@pytest.fixture(autouse=True)
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """The cells that ran, in order; each ends well at once."""
    cells: list[Cell] = []

    def run_here(work: Any, cell: Cell, *args: Any, on_event: Any, limit_s: Any) -> None:
        cells.append(cell)
        on_event(PhaseStarted("data"))
        args[-1].write(make_record(cell))

    monkeypatch.setattr(schedule, "isolate", run_here)
    return cells


def run(store: Store, cells: list[Cell], settings: RunSettings = CPU) -> list[Event]:
    """The events of a run, which ends with the records that it returns."""
    events: list[Event] = []
    records = run_cells(cells, store, settings, events.append)
    assert isinstance(events[0], RunStarted)
    assert events[0].cells == tuple(cells)
    assert events[-1] == RunFinished(records)
    return events[1:-1]


def test_a_run_emits_what_happens_to_each_cell(store: Store) -> None:
    store.write(make_record(CELLS[0]))
    first, *others = run(store, CELLS[:2])
    assert isinstance(first, CellFinished)
    assert (first.record.cell, first.ran) == (CELLS[0], False)
    *before, last = others
    assert before == [CellStarted(CELLS[1]), CellProgressed(CELLS[1], PhaseStarted("data"))]
    assert isinstance(last, CellFinished)
    assert (last.record, last.ran) == (store.read(CELLS[1]), True)


@pytest.mark.parametrize(
    ("status", "again"),
    [("failed", (True, True)), ("oom", (False, True)), ("unsupported", (False, True))],
)
def test_failures_run_again_by_their_status(
    store: Store, ran: list[Cell], status: Any, again: tuple[bool, bool]
) -> None:
    for retry, expected in zip((False, True), again, strict=True):
        store.write(make_failure(CELLS[0], status, "a reason"))
        ran.clear()
        run(store, CELLS[:1], RunSettings("cpu", retry=retry))
        assert bool(ran) == expected


def test_cells_of_another_run_are_awaited_while_the_others_run(
    store: Store, ran: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = store.claim(CELLS[0])
    assert claim.__enter__()

    def other_run_ends(seconds: float) -> None:
        store.write(make_record(CELLS[0]))
        claim.__exit__(None, None, None)

    monkeypatch.setattr(time, "sleep", other_run_ends)
    events = run(store, CELLS)
    assert ran == CELLS[1:]
    assert events[-2] == WaitingForOtherRun((CELLS[0],))
    finished = [event for event in events if isinstance(event, CellFinished)]
    assert [event.record.cell.seed for event in finished] == [1, 2, 0]


@pytest.mark.parametrize(
    ("error", "status"),
    [(TimeoutError("not done after 5 s"), "timeout"), (ProcessDiedError(-9), "failed")],
)
def test_a_cell_that_dies_has_a_record(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str
) -> None:
    def dies(*args: Any, **settings: Any) -> None:
        raise error

    monkeypatch.setattr(schedule, "isolate", dies)
    run(store, CELLS[:1])
    record = store.read(CELLS[0])
    assert isinstance(record, Record)
    assert (record.status, record.error) == (status, str(error))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (RunSettings("cpu", threads=0), "--threads is 0: give 1 or more"),
        (RunSettings("cpu", timeout=float("nan")), "--timeout is nan: give seconds, up to"),
        (RunSettings("gpu"), "device 'gpu' is not available: give auto, cpu"),
    ],
)
def test_settings_out_of_range_are_refused(
    store: Store, ran: list[Cell], settings: RunSettings, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_cells(CELLS, store, settings, lambda event: None)
    assert ran == []


def test_the_scheduler_needs_no_torch_and_no_terminal_to_be_imported() -> None:
    code = "import sys, bench.run.schedule; print({'torch', 'rich'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
