"""A cell that is stopped within its training continues from there, to the same record."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.contract.tiny import TINY_CLASSES, write_tiny_folder
from bench.errors import UserError
from bench.learn import loop
from bench.learn.training_state import read_state, write_state
from bench.plugins.registry import list_methods
from bench.record_values import Cost
from bench.run import saved_training
from bench.run.cell import work
from bench.run.durations import read_seconds
from bench.run.events import CellProgress, Event, TrainingNote, TrainingProgress
from bench.run.schedule import RunSettings, run_cells
from bench.run.stop import CODES, StopRequested
from bench.run.store import Store
from bench.spec import Cell, Recipe, Record, Task

STEPS = 7
TRAINED = [method for method in list_methods() if method.lr is not None]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("saved") / "tiny")


@pytest.fixture(autouse=True)
def _no_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.run.cell.measure_cost", lambda model, *alone: Cost(1, 1, 1))


def cell_of(images: Path, method: str = "frozen_head", **recipe: Any) -> Cell:
    rate = next(one.lr for one in list_methods() if one.name == method)
    settings = {"lr": rate or 0.0, "steps": STEPS, "batch_size": 2, "bank_views": 6}
    task = Task(TINY_CLASSES, 64, "sam_nano", "random")
    return Cell(method, str(images), task, Recipe(**{"precision": "fp32", **settings, **recipe}))


def run(cell: Cell, folder: Path, save_s: float = 1e6) -> tuple[Store, list[CellProgress]]:
    """Run a cell as in a process of its own; returns the folder and what was said."""
    store, said = Store.open(folder), list[CellProgress]()
    work(cell, "cpu", torch.get_num_threads(), replace(store, save_s=save_s), said.append)
    return store, said


def stop(cell: Cell, folder: Path, step: int, number: int, save_s: float = 1e6) -> None:
    """Run a cell that gets a signal in one of its steps (from 1)."""
    done, train_step = 0, loop.train_step

    def step_with_signal(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        if done == step:
            os.kill(os.getpid(), number)
        return train_step(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_step", step_with_signal)
        with pytest.raises(StopRequested) as stopped:
            run(cell, folder, save_s)
    assert stopped.value.code == CODES[signal.Signals(number)]
    assert Store(folder).read(cell) is None


def outcome(cell: Cell, store: Store) -> tuple[Any, ...]:
    """What must be equal: metrics, scores, curve, and the bytes of all predictions."""
    record = record_of(cell, store)
    assert record.status == "ok", record.error
    maps = {path.name: path.read_bytes() for path in sorted(store.predictions(cell).iterdir())}
    assert maps
    return record.metrics, record.per_image, record.history, maps


def record_of(cell: Cell, store: Store) -> Record:
    record = store.read(cell)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.run.cell.measure_cost", lambda model, *alone: Cost(1, 1, 1))
        store, said = run(cell_of(images), tmp_path_factory.mktemp("whole"))
    assert not [one for one in said if isinstance(one, TrainingNote)]
    assert "resumed" not in record_of(cell_of(images), store).env
    return outcome(cell_of(images), store)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_saves_and_the_next_run_continues(
    images: Path, tmp_path: Path, whole: tuple[Any, ...], number: signal.Signals
) -> None:
    cell = cell_of(images)
    stop(cell, tmp_path, 3, number)
    path = Store(tmp_path).training(cell)
    path.with_name(".tmp6YoyM1").touch()  # as safetensors leaves one if it is killed
    stop(cell, tmp_path, 2, number)  # the fifth of all
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    store, said = run(cell, tmp_path)
    assert outcome(cell, store) == whole
    assert record_of(cell, store).env["resumed"] == {"steps": [3, 5]}
    assert [one for one in said if isinstance(one, TrainingNote)] == [
        TrainingNote("continues at step 5 of 7")
    ]
    first = next(one for one in said if isinstance(one, TrainingProgress))
    assert first.step == 5
    assert first.images_per_s > 0
    assert not path.parent.exists()


def test_what_was_spent_before_is_in_the_record(images: Path, tmp_path: Path) -> None:
    cell = cell_of(images)
    stop(cell, tmp_path, 3, signal.SIGTERM)
    key = saved_training.state_key(cell, torch.device("cpu"))
    path = Store(tmp_path).training(cell)
    state = read_state(path, key)
    spent = state.values["run"]["seconds"]
    assert 0 < spent < 600
    longer = {**state.values["run"], "seconds": spent + 1000}
    write_state(path, replace(state, values={**state.values, "run": longer}), key)
    store, _ = run(cell, tmp_path)
    cost = record_of(cell, store).cost
    assert cost is not None
    assert cost.train_wall_s is not None
    assert 1000 + spent < cost.train_wall_s < 2000 + spent


def test_a_signal_outside_the_training_ends_at_once(
    images: Path, tmp_path: Path, whole: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the evaluation, after the state of the last step was saved."""
    cell = cell_of(images)

    def interrupted(model: Any, *alone: Any) -> Cost:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not reached")

    with monkeypatch.context() as patch:
        patch.setattr("bench.run.cell.measure_cost", interrupted)
        with pytest.raises(StopRequested):
            run(cell, tmp_path, save_s=1e-6)
    store, said = run(cell, tmp_path)
    assert TrainingNote("continues at step 7 of 7") in said
    assert outcome(cell, store) == whole


@pytest.mark.parametrize("damage", ["cut", "bit", "version", "code"])
def test_a_state_that_cannot_be_used_is_named_and_the_cell_starts_again(
    images: Path,
    tmp_path: Path,
    whole: tuple[Any, ...],
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = cell_of(images)
    with monkeypatch.context() as patch:
        if damage == "version":
            patch.setattr("bench.learn.training_state.VERSION", "0")
        if damage == "code":
            patch.setattr(saved_training, "_code", lambda file: "older")
        stop(cell, tmp_path, 3, signal.SIGTERM)
    path = Store(tmp_path).training(cell)
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[-9] ^= 4
    path.write_bytes(content[:-8] if damage == "cut" else content)
    store, said = run(cell, tmp_path)
    (note,) = (one for one in said if isinstance(one, TrainingNote))
    words = {"cut": "is damaged", "bit": "is damaged", "version": "has version 0 of its format"}
    assert words.get(damage, "has another code of the training (it was 'older'") in note.sentence
    assert note.sentence.endswith(": the cell starts from step 0")
    assert outcome(cell, store)[:2] == whole[:2]
    assert record_of(cell, store).env["resumed"] == {"problem": note.sentence}


def test_a_state_that_cannot_be_written_costs_only_itself(
    images: Path, tmp_path: Path, whole: tuple[Any, ...]
) -> None:
    (tmp_path / "training").write_text("not a folder")
    store, said = run(cell_of(images), tmp_path, save_s=1e-6)
    (note,) = (one for one in said if isinstance(one, TrainingNote))
    assert note.sentence.startswith("cannot write '")
    assert outcome(cell_of(images), store) == whole


def test_a_state_that_was_left_next_to_a_record_is_removed(images: Path, tmp_path: Path) -> None:
    cell = cell_of(images)
    stop(cell, tmp_path, 3, signal.SIGTERM)
    path = Store(tmp_path).training(cell)
    content = path.read_bytes()
    store, _ = run(cell, tmp_path)
    other = path.parents[1] / "other" / path.name
    for file in (path, other):
        file.parent.mkdir()
        file.write_bytes(content)
    events: list[Event] = []
    (record,) = run_cells([cell], store, RunSettings("cpu", threads=1), events.append)
    assert record == store.read(cell)
    assert list(path.parents[1].iterdir()) == [other.parent]


def test_nothing_is_saved_for_never(images: Path, tmp_path: Path) -> None:
    cell = cell_of(images)
    stop(cell, tmp_path, 3, signal.SIGTERM, save_s=0)
    assert not (tmp_path / "training").exists()
    run(cell, tmp_path, save_s=0)
    assert not (tmp_path / "training").exists()


def test_a_short_training_is_not_saved(images: Path, tmp_path: Path) -> None:
    run(cell_of(images), tmp_path)
    assert not (tmp_path / "training").exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("5min", 300), ("90s", 90), ("1.5h", 5400), ("0", 0), (" 2 min ", 120)]
)
def test_times_as_a_user_writes_them(text: str, seconds: float) -> None:
    assert read_seconds(text, "--save-every") == seconds


@pytest.mark.parametrize("text", ["", "5", "-1min", "5 minutes", "nan", "1e3s"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"--save-every is '{text}': give a time as 90s, 5min"):
        read_seconds(text, "--save-every")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [{}, {"precision": "bf16"}], ids=str)
@pytest.mark.parametrize("method", TRAINED, ids=lambda method: method.name)
def test_every_method_continues_bit_for_bit(
    images: Path, tmp_path: Path, method: Any, recipe: dict[str, Any]
) -> None:
    cell = cell_of(images, method.name, **recipe)
    store, _ = run(cell, tmp_path / "whole")
    expected = outcome(cell, store)
    for step in (2, 3):  # the fifth of all
        stop(cell, tmp_path / "stopped", step, signal.SIGTERM)
    store, _ = run(cell, tmp_path / "stopped")
    assert record_of(cell, store).env["resumed"] == {"steps": [2, 5]}
    assert outcome(cell, store) == expected
