import importlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.run.process import ChildProcess, Ended, ProcessDiedError, StalledError, isolate, receive

ROOT = Path(__file__).parents[2]

# The work of a process must be importable there, so it stands in a file of its own.
JOBS = """
import os
import signal
import time

from bench.errors import UserError

CALLS = []


def count(first, last, say):
    CALLS.append(first)
    for number in range(first, last):
        say({"number": number, "pid": os.getpid(), "calls": len(CALLS)})


def leave(say):
    say({"pid": os.getpid()})
    os._exit(3)


def kill(say):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(say):
    raise RuntimeError("a bug")


def break_off(say):
    os.write(say.__self__.fileno(), bytes([0, 0, 0, 100]) + b"not a hundred bytes")
    os._exit(4)


def interrupt(say):
    os.kill(os.getpid(), signal.SIGINT)
    say({"still": "here"})


def refuse(say):
    raise UserError("the disk is full")


def hang(say):
    say({"pid": os.getpid()})
    time.sleep(600)


def stall(say):
    for number in range(5):
        time.sleep(0.2)
        say({"number": number})
    time.sleep(600)
"""

Events = list[dict[str, Any]]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "jobs_of_this_test.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("jobs_of_this_test")
    del sys.modules["jobs_of_this_test"]
    assert multiprocessing.active_children() == []


def is_gone(pid: int) -> bool:
    """Whether a process is no more, not even as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_events_arrive_in_order(jobs: Any) -> None:
    events: Events = []
    isolate(jobs.count, 2, 2000, on_event=events.append)
    assert [event["number"] for event in events] == list(range(2, 2000))


def test_every_process_is_fresh_and_leaves_nothing(jobs: Any) -> None:
    events: Events = []
    for _ in range(2):
        isolate(jobs.count, 0, 1, on_event=events.append)
    first, second = events
    assert first["calls"] == second["calls"] == 1
    assert len({first["pid"], second["pid"], os.getpid()}) == 3
    assert is_gone(first["pid"])
    assert is_gone(second["pid"])
    assert jobs.CALLS == []


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("leave", "the process ended with 3"),
        ("fail", "the process ended with 1"),
        ("break_off", "the process ended with 4"),
        ("kill", r"the process was killed \(signal 9\), as the system does when memory runs out"),
    ],
)
def test_a_process_that_dies_is_told(jobs: Any, job: str, told: str) -> None:
    events: Events = []
    with pytest.raises(ProcessDiedError, match=told):
        isolate(getattr(jobs, job), on_event=events.append, limit_s=60)
    assert all(is_gone(event["pid"]) for event in events)


def test_a_process_that_takes_too_long_is_killed(jobs: Any) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"not done after 0\.5 s"):
        isolate(jobs.hang, on_event=lambda event: None, limit_s=0.5)
    assert time.monotonic() - began < 60


def events_of(child: ChildProcess, wait_s: float | None = None) -> list[Any]:
    """What a process says, and how it ends."""
    events: list[Any] = []
    while not events or not isinstance(events[-1], Ended):
        events += [event for _, event in receive([child], wait_s)]
    child.kill()
    return events


def test_a_process_without_progress_is_killed(jobs: Any) -> None:
    *events, end = events_of(ChildProcess(jobs.stall, stall_s=5))
    assert [event["number"] for event in events] == list(range(5))
    assert isinstance(end.error, StalledError)
    assert str(end.error) == "no progress for 5 s"


def test_progress_moves_the_limit(jobs: Any) -> None:
    child = ChildProcess(jobs.hang, stall_s=100)
    before = child.seconds_left
    time.sleep(0.2)
    assert [event for _, event in receive([child], 20)]
    assert before is not None
    assert child.seconds_left is not None
    assert child.seconds_left > before - 0.1
    child.kill()


def test_the_time_limit_ends_a_process_that_makes_progress(jobs: Any) -> None:
    *_, end = events_of(ChildProcess(jobs.stall, limit_s=0.5, stall_s=60))
    assert not isinstance(end.error, StalledError)
    assert str(end.error) == "not done after 0.5 s"


def test_a_stopped_clock_counts_no_missing_progress(jobs: Any) -> None:
    child = ChildProcess(jobs.hang, stall_s=0.1)
    child.stop_clock()
    assert child.seconds_left is None
    assert [event for _, event in receive([child], 20)]
    assert receive([child], 0.3) == []
    child.start_clock()
    assert isinstance(events_of(child)[-1].error, StalledError)


def test_a_suspended_run_does_not_blame_its_processes(
    jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = ChildProcess(jobs.hang, stall_s=600)
    assert [event for _, event in receive([child], 20)]
    shift = 0.0
    clock = time.monotonic

    def suspended(children: Any, wait_s: float) -> Any:
        nonlocal shift
        shift += 1000
        return []

    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: clock() + shift)
        patch.setattr("bench.run.process.connection.wait", suspended)
        assert receive([child], 0.1) == []
        assert child.seconds_left is not None
        assert child.seconds_left > 500
    child.kill()


def test_a_process_says_why_it_ends(jobs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProcessDiedError, match="the disk is full"):
        isolate(jobs.refuse, on_event=lambda event: None)
    assert capfd.readouterr().err == ""


def test_a_keyboard_interrupt_is_the_parents_to_handle(jobs: Any) -> None:
    events: Events = []
    isolate(jobs.interrupt, on_event=events.append)
    assert events == [{"still": "here"}]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
def test_what_stops_the_parent_stops_the_process(jobs: Any, kind: type[BaseException]) -> None:
    pids = []

    def stop(event: dict[str, Any]) -> None:
        pids.append(event["pid"])
        raise kind

    with pytest.raises(kind):
        isolate(jobs.hang, on_event=stop)
    assert is_gone(*pids)


def test_no_process_outlives_a_killed_parent(jobs: Any) -> None:
    code = (
        "import jobs_of_this_test as jobs\nfrom bench.run.process import isolate\n"
        "if __name__ == '__main__':\n"
        "    isolate(jobs.hang, on_event=lambda event: print(event['pid'], flush=True))\n"
    )
    paths = os.pathsep.join([str(ROOT), str(Path(jobs.__file__).parent)])
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not is_gone(pid)
    parent.kill()
    parent.communicate()  # returns when nobody is left that could write
    deadline = time.monotonic() + 30
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_gone(pid)
