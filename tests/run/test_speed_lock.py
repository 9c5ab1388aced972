import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

from bench.run.speed_lock import SpeedLock

FORK = multiprocessing.get_context("forkserver")


def work_in_steps(folder: Path, step_s: float, steps: Any, end: Any) -> None:
    """Hold the lock as a cell does; count steps."""
    with SpeedLock(folder) as lock:
        while not end.is_set():
            time.sleep(step_s)
            steps.value += 1
            lock.give_way()


def measure(folder: Path, inside: Any, most: Any) -> None:
    """Measure alone, and note how many do so at a time."""
    with SpeedLock(folder) as lock, lock.alone() as held:
        assert held
        with inside.get_lock():
            inside.value += 1
            most.value = max(most.value, inside.value)
        time.sleep(0.05)
        with inside.get_lock():
            inside.value -= 1


def measure_until(folder: Path, inside: Any, end: Any) -> None:
    """Measure until `end` is set, as a process does that is stopped meanwhile."""
    with SpeedLock(folder) as lock, lock.alone():
        inside.set()
        end.wait(60)


def wait_for_step(steps: Any) -> None:
    before, ends = steps.value, time.monotonic() + 20
    while steps.value < before + 2 and time.monotonic() < ends:
        time.sleep(0.005)
    assert steps.value >= before + 2


@pytest.fixture
def neighbours(tmp_path: Path) -> Any:
    """Two cells that work."""
    end, counts = FORK.Event(), [FORK.Value("i", 0) for _ in range(2)]
    cells = [
        FORK.Process(target=work_in_steps, args=(tmp_path, 0.01, count, end)) for count in counts
    ]
    for cell in cells:
        cell.start()
    yield counts
    end.set()
    for cell in cells:
        cell.join(20)
        assert cell.exitcode == 0


def test_all_others_are_still_while_one_measures(tmp_path: Path, neighbours: Any) -> None:
    with SpeedLock(tmp_path) as lock:
        for count in neighbours:
            wait_for_step(count)
        for _ in range(2):
            with lock.alone() as held:
                assert held
                before = [count.value for count in neighbours]
                time.sleep(0.1)
                assert [count.value for count in neighbours] == before
            for count in neighbours:
                wait_for_step(count)
    assert lock.conditions == "other cells paused"


def test_two_cells_do_not_measure_at_the_same_time(tmp_path: Path) -> None:
    inside, most = FORK.Value("i", 0), FORK.Value("i", 0)
    cells = [FORK.Process(target=measure, args=(tmp_path, inside, most)) for _ in range(3)]
    for cell in cells:
        cell.start()
    for cell in cells:
        cell.join(30)
        assert cell.exitcode == 0
    assert most.value == 1


def test_a_cell_does_not_wait_for_ever_for_one_that_was_stopped_while_it_measured(
    tmp_path: Path,
) -> None:
    inside, end = FORK.Event(), FORK.Event()
    stopped = FORK.Process(target=measure_until, args=(tmp_path, inside, end))
    stopped.start()
    assert inside.wait(20)
    try:
        begins = time.monotonic()
        with SpeedLock(tmp_path, stopped_s=0.3) as lock:
            assert 0.3 <= time.monotonic() - begins < 10
            begins = time.monotonic()
            lock.give_way()  # it does not wait as long for the same process again
            assert time.monotonic() - begins < 0.3
            assert lock.conditions == "other cells running"
            end.set()
            stopped.join(20)
            with lock.alone() as held:
                assert held
    finally:
        end.set()
        stopped.join(20)


def test_a_cell_that_is_asked_to_end_does_not_wait_for_a_measurement(tmp_path: Path) -> None:
    hurry: list[bool] = []
    with SpeedLock(tmp_path, hurry=lambda: bool(hurry)) as lock:
        lock.give_way()
        inside, end = FORK.Event(), FORK.Event()
        other = FORK.Process(target=measure_until, args=(tmp_path, inside, end))
        other.start()
        try:
            hurry.append(True)
            with lock.away():
                assert inside.wait(20)
                begins = time.monotonic()
            assert time.monotonic() - begins < 5
        finally:
            end.set()
            other.join(20)


def test_a_cell_that_does_not_give_way_is_not_awaited_for_ever(tmp_path: Path) -> None:
    with SpeedLock(tmp_path), SpeedLock(tmp_path, patience_s=0.05) as lock:
        with lock.alone() as held:
            assert not held
        assert lock.conditions == "other cells running"
