"""Figures that are drawn in several processes."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from records import make_cell, make_failure, make_record

from bench.errors import UserError
from bench.report.compare.comparison import make_comparisons
from bench.report.plots import drawing
from bench.report.plots.drawing import Drawing, draw_all
from bench.report.plots.style import assign
from bench.report.records.frame import to_frame
from bench.report.tables.write import latex, markdown

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork safely")


def tables() -> list[Drawing]:
    """Small figures of two comparisons."""
    records = [
        *(make_record(make_cell(dataset="nuclei", seed=seed)) for seed in range(3)),
        *(make_record(make_cell("full", dataset="steel", seed=seed)) for seed in range(2)),
        make_failure(make_cell("adapter", dataset="steel")),
    ]
    frame = to_frame(records)
    comparisons = make_comparisons(frame)
    looks = assign(frame, [row for one in comparisons for row in one.rows])
    return [
        Drawing(one.slug, kind, draw, one, looks)
        for one in comparisons
        for kind, draw in (("names", draw_names), ("nothing", draw_nothing))
    ]


def draw_names(comparison: Any, looks: Any) -> Figure:
    figure = Figure(figsize=(1, 1))
    names = [f"{looks[row].name} {row.status} {looks[row].colour}" for row in comparison.rows]
    figure.text(0, 0, "; ".join([comparison.title, *names]))
    return figure


def draw_nothing(comparison: Any, looks: Any) -> None:
    """There is nothing to show."""


def draw_and_die(comparison: Any, looks: Any) -> Figure:
    os.kill(os.getpid(), signal.SIGKILL)
    return Figure()


def never() -> None:
    raise AssertionError("this process draws none of them")


def test_a_comparison_alone_shows_the_same() -> None:
    whole = tables()[-1].subject
    own = pickle.loads(pickle.dumps(whole.alone()))
    assert (len(whole.rows[0].runs.frame), len(own.rows[0].runs.frame)) == (6, 3)
    assert (markdown(own), latex(own)) == (markdown(whole), latex(whole))
    assert [row.cells for row in own.rows] == [row.cells for row in whole.rows]
    assert len(pickle.dumps(own)) < len(pickle.dumps(whole))


@pytest.mark.parametrize("forked", [pytest.param(True, marks=LINUX), False])
def test_several_processes_write_the_same_files(
    forked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_can_fork", lambda: forked)
    monkeypatch.setattr(drawing, "FEWEST", 4)
    figures = tables()
    here = {one.name: files for one, files in draw_all(figures, tmp_path / "1", lambda: None, 1)}
    apart = {one.name: files for one, files in draw_all(figures, tmp_path / "2", never, 2)}
    assert apart.keys() == here.keys() == {one.name for one in figures}
    assert here["steel_nothing"] == apart["steel_nothing"] == []
    for name, files in here.items():
        pairs = zip(files, apart[name], strict=True)
        assert all(one.read_bytes() == other.read_bytes() for one, other in pairs)


def test_few_figures_need_no_fresh_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_can_fork", lambda: False)
    paused: list[bool] = []
    figures = tables()
    assert len(list(draw_all(figures, tmp_path, lambda: paused.append(True), 2))) == len(figures)
    assert len(paused) == len(figures)


@LINUX
def test_a_report_forks_and_a_run_does_not() -> None:
    """A copy of a process with torch, or with threads that hold locks, might wait forever."""
    lines = [
        "import threading",
        "from bench.report.plots.drawing import _can_fork",
        "assert _can_fork()",
        "ends = threading.Event()",
        "thread = threading.Thread(target=ends.wait)",
        "thread.start()",
        "assert not _can_fork()",
        "ends.set()",
        "thread.join()",
        "import torch",
        "assert not _can_fork()",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


@pytest.mark.parametrize("forked", [pytest.param(True, marks=LINUX), False])
def test_a_process_that_is_killed_is_a_sentence(
    forked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_can_fork", lambda: forked)
    monkeypatch.setattr(drawing, "FEWEST_FORKED" if forked else "FEWEST", 1)
    (one, *_) = tables()
    deadly = Drawing(one.slug, one.kind, draw_and_die, one.subject, one.looks)
    with pytest.raises(UserError, match="a process that drew figures was stopped"):
        list(draw_all([deadly], tmp_path, never, 2))
