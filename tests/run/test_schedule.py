import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from in_process import run_cells_here
from records import make_cell, make_failure, make_record

from bench.errors import UserError
from bench.record_values import PredictedCost
from bench.run import local
from bench.run.events import (
    CellFinished,
    CellProgressed,
    CellStarted,
    CostPredicted,
    Event,
    PhaseStarted,
    RunFinished,
    RunStarted,
    WaitingForOtherRun,
)
from bench.run.predictor import CostPredictor
from bench.run.process import Ended, ProcessDiedError
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

    run_cells_here(monkeypatch, run_here)
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

    run_cells_here(monkeypatch, dies)
    run(store, CELLS[:1])
    record = store.read(CELLS[0])
    assert isinstance(record, Record)
    assert (record.status, record.error) == (status, str(error))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (RunSettings("cpu", threads=0), "--threads is 0: give a whole number"),
        (RunSettings("cpu", timeout=float("nan")), "--timeout is nan: give a number above 0"),
        (RunSettings("gpu"), "device 'gpu' is not available: give all, cpu"),
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


def test_a_cell_that_may_not_start_is_left_out_while_others_go_on(store: Store) -> None:
    records = run_cells(CELLS, store, CPU, lambda event: None, lambda cell: cell.seed != 1)
    assert [record.cell.seed for record in records] == [0, 2]
    assert store.read(CELLS[1]) is None


@pytest.mark.parametrize(
    ("devices", "jobs", "threads", "cells", "places"),
    [
        (("cpu",), None, 1, 9, ("cpu",) * 4),
        (("cpu",), None, 2, 9, ("cpu",) * 2),
        (("cpu",), None, 8, 9, ("cpu",)),
        (("cpu",), None, 1, 3, ("cpu",) * 3),
        (("cpu",), 6, 1, 9, ("cpu",) * 6),
        (("cuda",), None, 1, 9, ("cuda",)),
        (("cuda:0", "cuda:1"), None, 1, 9, ("cuda:0", "cuda:1")),
        (("cuda:0", "cuda:1"), 3, 1, 9, ("cuda:0", "cuda:1", "cuda:0")),
        (("cpu",), None, 1, 0, ("cpu",)),
    ],
)
def test_places_share_out_the_machine(
    monkeypatch: pytest.MonkeyPatch,
    devices: tuple[str, ...],
    jobs: int | None,
    threads: int,
    cells: int,
    places: tuple[str, ...],
) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 4)
    monkeypatch.setattr(local, "available_bytes", lambda device: 64 * 2**30)
    assert local.choose_places(devices, jobs, threads, cells) == places


def test_places_are_no_more_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 64)
    monkeypatch.setattr(local, "available_bytes", lambda device: 5 * 2**30)
    assert len(local.choose_places(("cpu",), None, 1, 99)) == 5


@pytest.mark.parametrize(
    ("device", "found", "expected"),
    [
        ("auto", 0, ("cpu",)),
        ("all", 1, ("cuda",)),
        ("auto", 2, ("cuda:0", "cuda:1")),
        ("cpu", 2, ("cpu",)),
        ("cuda:1, cuda:0", 2, ("cuda:1", "cuda:0")),
        ("cuda:9", 2, "device 'cuda:9' is not available: give all, cpu, cuda, cuda:0, cuda:1"),
        ("cpu,cuda:0", 2, "--devices is cpu,cuda:0: give one device, or several as cuda:N"),
    ],
)
def test_devices_are_found(
    monkeypatch: pytest.MonkeyPatch, device: str, found: int, expected: tuple[str, ...] | str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: found > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: found)
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected):
            RunSettings(device).find_devices()
    else:
        assert RunSettings(device).find_devices() == expected


class Silent:
    """A process that a test makes speak."""

    pid = None

    def __init__(self, work: Any, cell: Cell, *args: Any, **limits: Any) -> None:
        self.cell, self.gate = cell, work.keywords["gate"]

    def nothing(self, *args: Any) -> None:
        """There is no process."""

    kill = terminate = stop_clock = start_clock = nothing


def test_cells_that_do_not_fit_together_wait_for_each_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 GiB with a margin of 1.8, two cells of 3 GiB do not fit together, but 3 and 1 do."""
    events: list[tuple[Any, Any]] = []
    monkeypatch.setattr(local, "ChildProcess", Silent)
    monkeypatch.setattr(local, "receive", lambda children, timeout: [events.pop(0)])
    monkeypatch.setattr(local, "free_bytes", lambda device: 8 * 2**30)
    executor = local.LocalExecutor(("cpu",) * 3, 1, store, None, CostPredictor())
    large = [make_cell("full", seed=seed) for seed in range(3)]
    small = make_cell("lora")

    def predicted(cell: Cell, gib: int | None) -> None:
        """Let the cell tell its prediction."""
        peak = None if gib is None else gib * 2**30
        (child,) = (child for child in executor._running if child.cell == cell)  # type: ignore[attr-defined]
        events.append((child, CostPredicted(PredictedCost("cpu", run_peak_bytes=peak), 4)))
        executor.wait(1)

    def admitted() -> list[Cell]:
        return [running.cell for running in executor._running.values() if running.admit is None]

    with executor:
        for cell in (large[0], large[1]):
            assert executor.choose([cell]) == cell, "nothing is known of it yet"
            executor.start(cell)
        predicted(large[0], 3)
        predicted(large[1], 3)
        assert admitted() == [large[0]]
        assert executor.choose([large[2], small]) == small, "the other would have to wait"
        executor.start(small)
        predicted(small, 1)
        assert admitted() == [large[0], small]
        assert executor.choose([large[2]]) is None, "no place is free"
        for cell in (large[0], small):
            (child,) = (child for child in executor._running if child.cell == cell)  # type: ignore[attr-defined]
            store.write(make_record(cell))
            events.append((child, Ended()))
            assert executor.wait(1) == [(cell, store.read(cell))]
        assert admitted() == [large[1]]
        unknown = make_cell("unet")
        executor.start(unknown)
        predicted(unknown, None)
        assert admitted() == [large[1]], "a cell of unknown size shares no memory"
