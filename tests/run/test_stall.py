"""Cells that make no progress are ended, recorded, and continue when they run again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import make_folder
from in_process import run_cells_here
from records import make_cell

from bench.data.parallel import for_each, listening, tell
from bench.run import heartbeat
from bench.run.events import PhaseStarted, TrainingProgress, WorkDone
from bench.run.heartbeat import Heartbeat
from bench.run.process import StalledError
from bench.run.schedule import RunSettings, run_cells
from bench.run.store import Store

ROOT = Path(__file__).parents[2]
STEPS = 1500


@pytest.mark.parametrize(
    ("event", "last"),
    [
        (PhaseStarted("data"), "phase data"),
        (TrainingProgress(7, 0.5, 0.1, 3.0), "step 7 of 200"),
        (WorkDone("reading masks", 3, 9), "reading masks, 3 of 9"),
        (WorkDone("converting images", 3), "converting images, 3"),
    ],
)
def test_the_record_says_what_the_cell_did_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: Any, last: str
) -> None:
    store, cell = Store.open(tmp_path), make_cell()
    store.training(cell).parent.mkdir(parents=True)
    store.training(cell).write_text("state")

    def stalls(*args: Any, on_event: Any, **limits: Any) -> None:
        on_event(event)
        raise StalledError("no progress for 1800 s")

    run_cells_here(monkeypatch, stalls)
    (record,) = run_cells([cell], store, RunSettings("cpu"), lambda event: None)
    assert cell.recipe.steps == 200
    assert record.status == "timeout"
    assert record.error == f"no progress for 1800 s (last: {last}); --stall sets this limit"
    assert store.training(cell).exists()


@pytest.mark.parametrize(("stall", "seconds"), [("90s", 90.0), ("1h", 3600.0), ("0", None)])
def test_the_limit_reaches_the_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stall: str, seconds: float | None
) -> None:
    limits = []

    class Process:
        def __init__(self, *args: Any, stall_s: float | None, **limit: Any) -> None:
            limits.append(stall_s)
            raise KeyboardInterrupt

    monkeypatch.setattr("bench.run.local.ChildProcess", Process)
    with pytest.raises(KeyboardInterrupt):
        run_cells([make_cell()], Store.open(tmp_path), RunSettings("cpu", stall=stall), print)
    assert limits == [seconds]


def test_parts_of_work_are_passed_on_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("bench.run.heartbeat.time.monotonic", lambda: now)
    events: list[Any] = []
    with listening(Heartbeat(events.append)):
        for_each(str, range(5), "reading masks")
        assert events == [WorkDone("reading masks", 0, 5)]
        now += heartbeat.EVERY_S
        tell("drawing views", 3, 8)
        tell("drawing views", 4, 8)
    assert events[1:] == [WorkDone("drawing views", 3, 8)]


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    tiny = "--methods frozen_head --weights random --image-size 64 --precision fp32 --seeds 2"
    recipe = f"--steps {STEPS} --batch-size 2 --devices cpu --jobs 2 --save-every 0.3s --no-predict"
    command = [sys.executable, "-m", "bench", *tiny.split(), *recipe.split(), "--report", "none"]
    return subprocess.Popen(
        [*command, "--dataset", str(folder), "--out", "results", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300"},
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition: Callable[[], Any]) -> Any:
    ends = time.monotonic() + 300
    while not (answer := condition()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return answer


@pytest.mark.slow
def test_a_stopped_process_is_ended_and_continues_later(tmp_path: Path) -> None:
    mine, results = make_folder(tmp_path / "mine"), tmp_path / "results"
    run = start(mine, "--stall", "20s")
    state = wait_for(lambda: next(results.glob("training/*/state.safetensors"), None))
    name = state.parent.name
    events = map(json.loads, (results / "events.jsonl").read_text().splitlines())
    (pid,) = (
        event["cell_pid"]
        for event in events
        if event["event"] == "cell_started" and event["cell"] == name
    )
    os.kill(pid, signal.SIGSTOP)
    out, _ = run.communicate(timeout=600)
    assert run.returncode == 1, out
    records = {record.cell.id: record for record in Store(results).stream()}
    stalled = records.pop(name)
    assert stalled.status == "timeout"
    assert stalled.error is not None
    assert stalled.error.startswith("no progress for 20 s (last: ")
    (other,) = records.values()
    assert other.status == "ok", "the other cell goes on"
    run = start(mine, "--retry")
    out, _ = run.communicate(timeout=600)
    assert run.returncode == 0, out
    again = Store(results).read(stalled.cell)
    assert again is not None
    assert again.env["resumed"]["steps"][0] > 0
    assert not list(results.glob("training/*/*"))
