"""When a run writes its report: after each cell, at the end with an early index, or never."""

import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from folders import make_folder
from in_process import run_cells_here
from records import make_cell, make_record

from bench import cli
from bench.cli.run_report import RunReport, write_between_cells
from bench.run import schedule
from bench.run.events import CellFinished
from bench.run.store import Store
from bench.spec import Cell

Captured = pytest.CaptureFixture[str]
TINY = [
    *("--weights", "random", "--image-size", "64", "--threads", "1"),
    *("--steps", "2", "--batch-size", "2", "--no-predict"),
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A results folder with a record; the lock of measured speeds is that of the test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = Store.open(tmp_path / "results")
    store.write(make_record(make_cell("lora")))
    return store


def finished(method: str, seconds: float | None = 1.0) -> CellFinished:
    return CellFinished(make_record(make_cell(method)), seconds)


class Writer:
    """In place of `write_between_cells`: counts the reports, and can be held up."""

    def __init__(self) -> None:
        self.figures: list[bool] = []
        self.began, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, store: Store, *, figures: bool) -> None:
        self.figures.append(figures)
        self.began.release()
        assert self.go_on.acquire(timeout=10)


def refuse(sentence: str) -> None:
    raise AssertionError(sentence)


def test_cells_that_end_during_a_report_share_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer()
    monkeypatch.setattr("bench.cli.run_report.write_between_cells", writer)
    with RunReport(store, "each", refuse) as report:
        report.update(finished("done_before", None))
        report.update(finished("lora"))
        assert writer.began.acquire(timeout=10)
        report.update(finished("full"))
        report.update(finished("adapter"))
        writer.go_on.release()
        assert writer.began.acquire(timeout=10)
        writer.go_on.release()
    assert writer.figures == [True, True]


def test_the_index_is_there_after_the_first_cell(store: Store) -> None:
    index = store.folder / "index.md"
    with RunReport(store, "end", refuse) as report:
        assert not index.exists()
        report.update(finished("lora"))
        report._thread.join(60)
        assert "lora" in index.read_text()
    assert (store.folder / "tables" / "steel.csv").is_file()
    assert not (store.folder / "plots").exists()
    index.write_text("of an earlier command")
    with RunReport(store, "end", refuse) as report:
        report.update(finished("full"))
        report._thread.join(60)
    assert index.read_text() == "of an earlier command"


def test_no_report_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    monkeypatch.setattr("bench.cli.run_report.write_between_cells", writer)
    with RunReport(store, "none", refuse) as report:
        report.update(finished("lora"))
    assert writer.figures == []


def test_a_report_that_fails_is_told_and_the_run_goes_on(store: Store) -> None:
    (store.folder / "tables").write_text("a file where a folder is needed")
    sentences: list[str] = []
    with RunReport(store, "each", sentences.append) as report:
        report.update(finished("lora"))
        report._thread.join(60)
        report.update(finished("full"))
    (sentence,) = sentences
    assert "no report was written after this cell: cannot write" in sentence


def test_figures_are_drawn_between_cells(store: Store) -> None:
    write_between_cells(store, figures=True)
    assert (store.folder / "plots" / "steel_pareto.svg").is_file()
    assert "steel_pareto.png" in (store.folder / "figures.md").read_text()


@pytest.mark.parametrize(
    ("when", "early", "final"), [("each", True, True), ("end", False, True), ("none", None, False)]
)
def test_the_option_of_a_run(
    when: str,
    early: bool | None,
    final: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule, "start_server", lambda *modules: None)
    make_folder(Path("mine"))
    figures_between: list[bool] = []
    last: list[Store] = []

    def between(store: Store, *, figures: bool) -> None:
        figures_between.append(figures)

    def run(work: Any, cell: Cell, device: str, threads: int, store: Store, **how: Any) -> None:
        store.write(make_record(cell))

    monkeypatch.setattr("bench.cli.run_report.write_between_cells", between)
    monkeypatch.setattr("bench.cli.cells.write_all", lambda store, console: last.append(store))
    run_cells_here(monkeypatch, run)
    line = "--methods frozen_head --dataset mine --report"
    assert cli.main([*line.split(), when, *TINY]) == 0
    assert set(figures_between) <= {early}
    assert len(last) == final
    assert cli.main([*line.split(), "often", *TINY]) == 2
    assert "--report: invalid choice: 'often'" in capsys.readouterr().err
