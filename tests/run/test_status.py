"""The status of a folder follows from records, locks and the log, not from files left behind."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from in_process import run_cells_here
from records import make_cell, make_failure, make_record

from bench import cli
from bench.run import schedule
from bench.run.claims import is_claimed
from bench.run.event_log import FILE, EventLog, read_events
from bench.run.events import (
    CellFinished,
    CellProgressed,
    PhaseStarted,
    RunFinished,
    TrainingProgress,
)
from bench.run.executor import Place
from bench.run.merge import merge_folders
from bench.run.process import ProcessDiedError
from bench.run.schedule import RunSettings, run_cells
from bench.run.status import read_status
from bench.run.store import Store
from bench.spec import Cell

HERE = platform.node()
CELLS = [make_cell(seed=seed) for seed in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "out")


def events(store: Store) -> list[dict[str, Any]]:
    return list(read_events(store.folder))


def started(store: Store, *cells: Cell, to_do: int = 0) -> EventLog:
    """The log of a command that has started cells and is going to start others."""
    log = EventLog(store.folder)
    log.start_run(len(CELLS), [cell.id for cell in CELLS[:to_do]], 2, 1)
    for cell in cells:
        log.start_cell(cell, Place.here("cpu", 4321))
    return log


def add(store: Store, event: str, seconds_ago: float = 0.0, **values: Any) -> None:
    """A line as another process, or another machine, would write it."""
    time = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    common = {"time": time.isoformat(), "event": event, "host": HERE, "pid": os.getpid()}
    with (store.folder / FILE).open("a") as file:
        file.write(json.dumps({**common, **values}) + "\n")


def test_every_run_writes_a_log(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(
        work: Any, cell: Cell, device: str, threads: int, store: Store, **settings: Any
    ) -> None:
        settings["on_event"](PhaseStarted("data"))
        if cell.seed == 1:
            raise ProcessDiedError(-9)
        store.write(make_record(cell))

    run_cells_here(monkeypatch, run)
    monkeypatch.setattr(schedule, "start_server", lambda *modules: None)
    store.write(make_record(CELLS[2]))
    settings = RunSettings(device="cpu", keep="none", predict=False, threads=1)
    run_cells(CELLS[:3], store, settings, lambda event: None)
    log = events(store)
    assert [event["event"] for event in log] == [
        "run_started",
        *["cell_started", "cell_phase", "cell_finished"] * 2,
        "run_finished",
    ]
    assert {(event["host"], event["pid"]) for event in log} == {(HERE, os.getpid())}
    assert log[0]["to_do"] == [cell.id for cell in CELLS[:2]]
    assert (log[1]["cell"], log[1]["device"], log[1]["cell_host"]) == (CELLS[0].id, "cpu", HERE)
    assert [event["status"] for event in log if "status" in event] == ["ok", "failed"]
    assert log[-2]["error"].startswith("the process was killed")


def test_an_interrupted_run_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    run_cells_here(monkeypatch, run)
    settings = RunSettings(device="cpu", keep="none", predict=False, threads=1)
    with pytest.raises(KeyboardInterrupt):
        run_cells(CELLS[:3], store, settings, lambda event: None)
    assert (events(store)[-1]["event"], events(store)[-1]["reason"]) == (
        "run_stopped",
        "KeyboardInterrupt",
    )
    status = read_status(store.folder)
    assert (status.waiting, status.left, status.started) == (0, 3, ())


def test_a_lock_counts_and_not_its_file(store: Store) -> None:
    log = started(store, CELLS[0], CELLS[1], to_do=4)
    log.update(CellProgressed(CELLS[0], PhaseStarted("evaluate")))
    assert not is_claimed(store.claims, CELLS[0].id)
    with store.claim(CELLS[0]), store.claim(CELLS[1]):
        pass  # leaves both files
    with store.claim(CELLS[0]) as claimed:
        assert claimed
        assert is_claimed(store.claims, CELLS[0].id)
        status = read_status(store.folder)
    states = {cell.cell: cell for cell in status.started}
    assert states[CELLS[0].id].state == "running"
    assert states[CELLS[0].id].phase == "evaluate"
    assert (states[CELLS[0].id].host, states[CELLS[0].id].pid) == (HERE, 4321)
    assert states[CELLS[1].id].state == "interrupted"
    assert [cell.cell for cell in status.running] == [CELLS[0].id]
    assert status.waiting == 3


def test_a_claim_without_a_log_is_shown(store: Store) -> None:
    with store.claim(CELLS[0]):
        (cell,) = read_status(store.folder).started
    assert (cell.cell, cell.state, cell.device) == (CELLS[0].id, "running", None)
    assert read_status(store.folder).started == ()


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def test_a_killed_command_leaves_cells(store: Store, dead_pid: int) -> None:
    ids = [cell.id for cell in CELLS]
    add(store, "run_started", pid=dead_pid, cells=6, to_do=ids, jobs=1, threads=1)
    place: dict[str, Any] = {"device": "cpu", "cell_host": HERE, "cell_pid": 1, "steps": 10}
    add(store, "cell_started", pid=dead_pid, cell=ids[0], **place)
    add(store, "cell_finished", pid=dead_pid, cell=ids[0], status="ok", seconds=5.0, error=None)
    add(store, "cell_started", pid=dead_pid, cell=ids[1], **place)
    status = read_status(store.folder)
    assert [(cell.cell, cell.state) for cell in status.started] == [(ids[1], "interrupted")]
    assert (status.waiting, status.left, status.seconds_left) == (0, 5, None)


def test_another_machine_cannot_be_checked(store: Store) -> None:
    ids = [cell.id for cell in CELLS[:2]]
    add(store, "run_started", host="far", cells=2, to_do=ids, jobs=1, threads=1)
    place: dict[str, Any] = {"device": "cuda:0", "cell_host": "far", "cell_pid": 1, "steps": 10}
    add(store, "cell_started", host="far", cell=ids[0], **place)
    status = read_status(store.folder)
    assert [(cell.host, cell.state) for cell in status.started] == [("far", "elsewhere")]
    assert status.waiting == 1


def test_the_time_left_follows_the_cells_that_ended(store: Store) -> None:
    ids = [cell.id for cell in CELLS[:4]]
    other = make_cell("unet").id
    add(store, "run_started", 200, cells=5, to_do=[*ids, other], jobs=2, threads=1)
    for number, name in enumerate(ids[:2]):
        add(store, "cell_finished", cell=name, status="ok", seconds=90 + 20 * number, error=None)
    place: dict[str, Any] = {"device": "cpu", "cell_host": HERE, "cell_pid": 1, "steps": 10}
    add(store, "cell_started", 40, cell=ids[2], **place)
    with store.claim(CELLS[2]):
        status = read_status(store.folder)
    # one has run for 40 of 100 seconds, two wait, on two places
    assert status.seconds_left == pytest.approx((60 + 100 + 100) / 2, abs=2)


def test_the_time_left_follows_the_steps_before_the_first_end(store: Store) -> None:
    add(store, "run_started", 60, cells=2, to_do=[c.id for c in CELLS[:2]], jobs=1, threads=1)
    place: dict[str, Any] = {"device": "cpu", "cell_host": HERE, "cell_pid": 1, "steps": 100}
    add(store, "cell_started", 50, cell=CELLS[0].id, **place)
    with store.claim(CELLS[0]):
        assert read_status(store.folder).seconds_left is None
        add(store, "cell_training", cell=CELLS[0].id, step=25, loss=0.1, images_per_s=2.0)
        assert read_status(store.folder).seconds_left == pytest.approx(150 + 200, abs=4)


def test_training_is_logged_now_and_then(store: Store) -> None:
    log = EventLog(store.folder)
    for step in range(1, 50):
        log.update(CellProgressed(CELLS[0], TrainingProgress(step, 0.1, 0.5, 9.0)))
    log.update(CellFinished(make_record(CELLS[0]), None))  # done before: nothing happened
    log.update(RunFinished(()))
    assert [event["event"] for event in events(store)] == ["cell_training", "run_finished"]


def test_a_torn_line_is_left_out_and_named(store: Store) -> None:
    log = EventLog(store.folder)
    log.write("run_finished")
    with (store.folder / FILE).open("a") as file:
        file.write('{"time": "2026-')
    log.write("run_finished")
    assert len(events(store)) == 2
    assert read_status(store.folder).notes[0].startswith("line 2 of events.jsonl cannot be read")


def test_several_processes_write_whole_lines(store: Store) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom bench.run.event_log import EventLog\n"
        "log = EventLog(Path(sys.argv[1]))\n"
        "for number in range(200): log.write('cell_phase', cell='x' * 300, phase='data')\n"
    )
    command = [sys.executable, "-c", code, str(store.folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    unreadable: list[int] = []
    assert len(list(read_events(store.folder, unreadable))) == 600
    assert unreadable == []


def test_a_merge_has_the_events_of_all_folders_once(tmp_path: Path) -> None:
    stores = [Store.open(tmp_path / name) for name in "AB"]
    for number, one in enumerate(stores):
        one.write(make_record(CELLS[number]))
        add(one, "run_started", 100 - number, cells=1, to_do=[], jobs=1, threads=1)
        add(one, "run_finished", 50 - number)
    for _ in range(2):
        merge_folders([one.folder for one in stores], tmp_path / "C")
    log = list(read_events(tmp_path / "C"))
    assert [event["event"] for event in log] == ["run_started"] * 2 + ["run_finished"] * 2


def test_the_command_shows_the_status(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    store.write(make_record(CELLS[3]))
    store.write(make_failure(CELLS[4], "oom", "out of memory [step 3]"))
    started(store, CELLS[0], CELLS[1], to_do=3)
    with store.claim(CELLS[0]):
        assert cli.main(["status", "--out", str(store.folder)]) == 0
        text = capsys.readouterr().out
        assert cli.main(["status", "--out", str(store.folder), "--json"]) == 0
    assert "1 ok, 1 oom, 1 running, 2 waiting" in text
    assert f"oom {CELLS[4].id}: out of memory [step 3]" in text
    assert f"interrupted {CELLS[1].id} (on cpu, started " in text
    assert HERE in text
    status = json.loads(capsys.readouterr().out)
    assert status["records"] == {"ok": 1, "oom": 1}
    assert [cell["state"] for cell in status["started"]] == ["interrupted", "running"]


def test_a_folder_without_results_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--out", str(tmp_path / "nothing")]) == 2
    assert "is not a results folder: give --out FOLDER" in capsys.readouterr().err
