"""Trackers get the curves and scores of each cell, offline, by their own libraries."""

import importlib.util
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from records import make_cell, make_failure, make_record

from bench.errors import UserError
from bench.run import trackers
from bench.run.event_log import EventLog, read_events
from bench.run.events import CellFinished, CellProgressed, CellStarted, Event, TrainingProgress
from bench.run.schedule import RunSettings
from bench.run.trackers import LIBRARIES, Trackers, read_trackers

CELLS = [make_cell(seed=seed) for seed in range(3)]
# Two cells at a time; the first was trained elsewhere, the last is interrupted.
EVENTS: list[Event] = [
    CellStarted(CELLS[0]),
    CellStarted(CELLS[1]),
    # The curve of a second model is not mixed with that of the first one.
    CellProgressed(CELLS[1], TrainingProgress(6, 0.1, 0.25, 9.0, of_proposer=True)),
    CellProgressed(CELLS[1], TrainingProgress(5, 0.1, 0.75, 9.0)),
    CellFinished(make_record(CELLS[0], dice=0.625), 4.0),
    CellFinished(make_failure(CELLS[1], "oom", "out of memory"), 4.0),
    CellFinished(make_record(make_cell("unet")), None),  # done before: no run
    CellStarted(CELLS[2]),
]


def track(name: str, folder: Path) -> None:
    with Trackers(name, folder, EventLog(folder)) as opened:
        for event in EVENTS:
            opened.update(event)
    assert list(read_events(folder)) == []  # none has failed


@pytest.fixture
def offline_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_has_curves_and_scores(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track("tensorboard", tmp_path)
    runs = {cell.id: EventAccumulator(str(tmp_path / "tensorboard" / cell.id)) for cell in CELLS}
    for run in runs.values():
        run.Reload()
    done, failed = runs[CELLS[0].id], runs[CELLS[1].id]
    (dice,) = done.Scalars("test/dice_dataset")
    assert (dice.step, dice.value) == (200, 0.625)
    assert len(done.Scalars("train/loss")) == 30
    assert [point.step for point in done.Scalars("val/dice")] == [50, 100, 150, 200, 250, 300]
    assert [(point.step, point.value) for point in failed.Scalars("train/loss")] == [(5, 0.75)]
    texts = [run.Tensors("status/text_summary")[0].tensor_proto for run in runs.values()]
    assert [text.string_val[0].decode() for text in texts] == [
        "ok",
        "oom: out of memory",
        "interrupted",
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("offline_wandb")
def test_wandb_writes_runs_offline(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    track("wandb", tmp_path)
    wandb.teardown()  # waits for its process, which writes the files
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 3
    contents = b"".join(path.read_bytes() for path in files)
    for words in (CELLS[0].id, "test/dice_dataset", "val/dice", "train/loss", "interrupted"):
        assert words.encode() in contents


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_writes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    track("mlflow", tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        runs = dict(database.execute("select name, status from runs").fetchall())
        dice = "select value, step from metrics where key = 'test/dice_dataset'"
        assert database.execute(dice).fetchall() == [(0.625, 200)]
        points = "select count(*) from metrics where key = 'train/loss'"
        assert database.execute(points).fetchone() == (31,)
        lr = "select distinct value from params where key = 'recipe.lr'"
        assert database.execute(lr).fetchall() == [("0.001",)]
    database.close()
    assert runs == dict(zip([c.id for c in CELLS], ("FINISHED", "FAILED", "KILLED"), strict=True))


class Failing:
    def __init__(self, folder: Path) -> None:
        self.calls: list[str] = []

    def start(self, cell: Any) -> None:
        raise ConnectionError("no server")


def test_a_tracker_that_fails_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin="here"))
    monkeypatch.setitem(trackers._OPENERS, "wandb", Failing)
    with Trackers("wandb", tmp_path, EventLog(tmp_path)) as opened:
        with pytest.warns(RuntimeWarning, match=r"--log wandb failed .*no server"):
            opened.update(CellStarted(CELLS[0]))
        for event in EVENTS:
            opened.update(event)
    (line,) = read_events(tmp_path)
    assert (line["event"], line["tracker"]) == ("tracker_failed", "wandb")
    assert line["error"] == "ConnectionError: no server"


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_missing_library_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda library: None)
    sentence = rf"--log {name} needs the library {name}: pip install 'sam-adapt-bench\[log\]'"
    with pytest.raises(UserError, match=sentence):
        RunSettings(log=name).check()


def test_an_unknown_tracker_is_refused() -> None:
    sentence = "--log cannot be 'comet': give some of tensorboard, wandb, mlflow"
    with pytest.raises(UserError, match=sentence):
        RunSettings(log="comet").check()
    assert read_trackers("") == []


def test_a_folder_of_the_name_is_not_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIBRARIES, "wandb", "wandb_folder")
    (tmp_path / "wandb_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="needs the library"):
        read_trackers("wandb")
