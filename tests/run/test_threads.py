"""A cell's number of threads changes its results: the same command gets the same number."""

from pathlib import Path
from typing import Any

import pytest
from in_process import run_cells_here
from records import ENV, make_cell, make_failure, make_record, report_of

from bench.run.events import Event, RunStarted
from bench.run.schedule import RunSettings, run_cells
from bench.run.store import Store
from bench.spec import Record

GRID = [make_cell(seed=seed) for seed in range(3)]


def record_with(threads: int | None, seed: int = 0, method: str = "lora") -> Record:
    return make_record(make_cell(method, seed=seed), env={**ENV, "threads": threads})


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of threads of each cell that ran."""
    given: list[int] = []

    def run_here(work: Any, cell: Any, device: str, threads: int, *rest: Any, **how: Any) -> None:
        given.append(threads)
        rest[0].write(make_record(cell, env={**ENV, "threads": threads}))

    run_cells_here(monkeypatch, run_here)
    return given


def start(folder: Path, threads: int | None = None) -> RunStarted:
    events: list[Event] = []
    run_cells(GRID, Store.open(folder), RunSettings("cpu", threads=threads), events.append)
    assert isinstance(events[0], RunStarted)
    return events[0]


def test_a_new_folder_gets_one_thread_on_every_machine(
    tmp_path: Path, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert start(tmp_path).note == ""
    assert numbers == [1, 1, 1]


def test_a_resumed_grid_keeps_the_number_that_it_began_with(
    tmp_path: Path, numbers: list[int]
) -> None:
    store = Store.open(tmp_path)
    store.write(record_with(4))
    for seed in range(3):  # more numerous, but of another grid
        store.write(record_with(2, seed, "adapter"))
    started = start(tmp_path)
    assert numbers == [4, 4]
    assert started.threads == 4
    assert started.note == (
        "each cell runs with 4 threads, as the stored records do (1 record with 4 threads); "
        "--threads sets another number"
    )


def test_a_grid_without_records_gets_the_number_of_its_folder(
    tmp_path: Path, numbers: list[int]
) -> None:
    store = Store.open(tmp_path)
    store.write(record_with(2, 0, "adapter"))
    store.write(record_with(2, 1, "adapter"))
    store.write(record_with(8, 2, "adapter"))
    store.write(record_with(None, 3, "adapter"))  # an older record
    store.write(make_failure(make_cell("full")))
    assert "(2 records with 2 threads, 1 record with 8 threads)" in start(tmp_path).note
    assert numbers == [2, 2, 2]


def test_another_number_is_used_with_a_warning(tmp_path: Path, numbers: list[int]) -> None:
    Store.open(tmp_path).write(record_with(2))
    assert start(tmp_path, threads=3).note == (
        "each cell runs with 3 threads as requested, but records of this grid exist (1 record "
        "with 2 threads): the number changes results, so tables name each row that mixes numbers"
    )
    assert numbers == [3, 3]


@pytest.mark.parametrize("stored", [None, 2])
def test_the_requested_number_needs_no_note_where_nothing_differs(
    tmp_path: Path, numbers: list[int], stored: int | None
) -> None:
    Store.open(tmp_path).write(record_with(stored))
    assert start(tmp_path, threads=2).note == ""
    assert numbers == [2, 2]


def test_a_table_names_the_rows_that_mix_numbers(tmp_path: Path) -> None:
    report_of(
        [
            record_with(1, 0),
            record_with(2, 1),
            record_with(1, 0, "adapter"),
            record_with(2, 0, "full"),
        ],
        tmp_path,
    )
    page = (tmp_path / "tables" / "steel.md").read_text()
    assert (
        "- lora (sam_nano, pretrained) mixes runs with 1 and 2 CPU threads: the number changes "
        "results, so ± holds more than seeds and folds."
    ) in page
    assert (
        "- Rows ran with different numbers of CPU threads: 1 thread: adapter (sam_nano, "
        "pretrained); 2 threads: full (sam_nano, pretrained)."
    ) in page


def test_a_table_of_one_number_has_no_note_on_threads(tmp_path: Path) -> None:
    report_of([record_with(2, 0), record_with(2, 1), record_with(None, 2)], tmp_path)
    assert "CPU threads" not in (tmp_path / "tables" / "steel.md").read_text()
