"""Processes of cells that are killed at random moments; KILLS says how many times each."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from bench.contract.tiny import TINY_CLASSES, write_tiny_folder
from bench.keep.header import read_header
from bench.plugins.registry import get_method
from bench.run.events import TrainingProgress
from bench.run.final import state_folder
from bench.run.local import work_when_admitted
from bench.run.process import ChildProcess, Ended, ProcessDiedError, receive
from bench.run.schedule import warm_up
from bench.run.store import Store
from bench.spec import Cell, Recipe, Task

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "4"))
SAVE_S = 0.05
LONGEST_S = 2.0  # from the first save of a process to its end
RECIPE = Recipe(lr=0.0, batch_size=2, bank_views=12, precision="fp32")


def start(cell: Cell, store: Store) -> ChildProcess:
    body = partial(work_when_admitted, predictor=None, jobs=1, gate=None, drawn={})
    return ChildProcess(body, cell, "cpu", 1, store)


def events(child: ChildProcess) -> Iterator[Any]:
    """What the process says until it ends; None where it says nothing for a moment."""
    while True:
        for _, event in receive([child], 0.02):
            yield event
            if isinstance(event, Ended):
                return
        yield None


def run_until(
    child: ChildProcess, begun: Callable[[Any], bool] = lambda event: False, ends_s: float = 0.0
) -> Ended | None:
    """Wait for the end of a process, or until some time after `begun` returns True."""
    ends = float("inf")
    for event in events(child):
        if isinstance(event, Ended):
            return event
        if begun(event):
            ends = min(ends, time.monotonic() + ends_s)
        if time.monotonic() > ends:
            return None
    raise AssertionError("a process ends")


def saved_at(cell: Cell, store: Store) -> int:
    """When the state was written, in ns; 0 if there is none."""
    path = store.training(cell)
    return path.stat().st_mtime_ns if path.exists() else 0


def outcome(cell: Cell, store: Store) -> tuple[Any, ...]:
    record = store.read(cell)
    assert record is not None
    assert record.status == "ok", record.error
    maps = {path.name: path.read_bytes() for path in store.predictions(cell).iterdir()}
    return record.metrics, record.per_image, record.history, maps


def write_instances(folder: Path) -> None:
    """Add instance maps: the two halves of each object touch."""
    (folder / "instances").mkdir()
    for path in sorted((folder / "masks").iterdir()):
        mask = np.asarray(Image.open(path)) > 0
        right = np.arange(mask.shape[1]) >= np.nonzero(mask)[1].mean()
        numbers = (mask * (1 + right)).astype(np.uint8)
        Image.fromarray(numbers).save(folder / "instances" / path.name)


@pytest.mark.parametrize(
    ("method", "steps", "objects"),
    [
        ("frozen_head", 400, ""),
        ("lora", 60, ""),
        ("unet", 60, ""),
        ("medsam", 60, ""),
        ("unet", 60, "distances"),
    ],
)
def test_it_ends_with_the_record_of_one_that_was_not_killed(
    tmp_path: Path, method: str, steps: int, objects: str
) -> None:
    images = write_tiny_folder(tmp_path / "tiny")
    recipe = replace(RECIPE, lr=get_method(method).lr or 0.0, steps=steps)
    if objects:
        write_instances(images)
        recipe = replace(recipe, objects=objects)
    cell = Cell(method, str(images), Task(TINY_CLASSES, 64, "sam_nano", "random"), recipe)
    warm_up()
    whole, killed = (Store.open(tmp_path / name) for name in ("whole", "killed"))
    assert run_until(start(cell, whole)) == Ended()
    rng, kills = random.Random(os.environ.get("KILLS_SEED", method + objects)), 0
    store = replace(killed, save_s=SAVE_S)
    while True:
        before = saved_at(cell, store)

        def saved(event: Any, before: int = before) -> bool:
            return saved_at(cell, store) != before

        child = start(cell, store)
        ends_s = rng.uniform(0, LONGEST_S) if kills < KILLS else float("inf")
        if (end := run_until(child, saved, ends_s)) is not None:
            break
        kills += 1
        child.kill()  # SIGKILL
    assert end == Ended()
    record = killed.read(cell)
    assert record is not None
    resumed = record.env["resumed"]["steps"]
    sys.stdout.write(f"{method} {objects}: {kills} kills, continued at steps {resumed}\n")
    assert outcome(cell, killed) == outcome(cell, whole)
    assert list((killed.folder / "training").iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
def test_a_signal_saves_and_ends_with_its_code(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    images = write_tiny_folder(tmp_path / "tiny")
    recipe = replace(RECIPE, lr=1e-3, steps=2000)
    cell = Cell("frozen_head", str(images), Task(TINY_CLASSES, 64, "sam_nano", "random"), recipe)
    warm_up()
    store = replace(Store.open(tmp_path / "results"), save_s=1e6)
    child = start(cell, store)
    assert run_until(child, lambda event: isinstance(event, TrainingProgress)) is None
    assert not store.training(cell).exists()
    pid = child._process.pid
    assert pid is not None
    os.kill(pid, number)
    end = run_until(child)
    assert end is not None
    assert isinstance(end.error, ProcessDiedError)
    assert end.error.code == code
    assert store.training(cell).exists()
    assert store.read(cell) is None


def start_train(folder: Path, model: Path, *words: str) -> "subprocess.Popen[str]":
    command = "train --methods lora --weights random --image-size 64 --precision fp32 --steps 60"
    command += f" --batch-size 2 --threads 1 --save-every {SAVE_S}s --device cpu --dataset"
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *command.split(), str(folder), "--model", model, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_final_model_that_was_killed_is_that_of_one_that_was_not(tmp_path: Path) -> None:
    images = write_tiny_folder(tmp_path / "tiny")
    whole, killed = (tmp_path / f"{name}.safetensors" for name in ("whole", "killed"))
    out, _ = (run := start_train(images, whole)).communicate(timeout=600)
    assert run.returncode == 0, out
    state = state_folder(killed) / "state.safetensors"
    rng, kills = random.Random(os.environ.get("KILLS_SEED", "train")), 0
    while True:
        before = state.stat().st_mtime_ns if state.exists() else 0
        run = start_train(images, killed)
        while run.poll() is None:
            if kills < KILLS and state.exists() and state.stat().st_mtime_ns != before:
                time.sleep(rng.uniform(0, LONGEST_S / 4))
                run.kill()
                break
            time.sleep(0.01)
        out, _ = run.communicate(timeout=600)
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, out
        kills += 1
    headers = [read_header(path) for path in (whole, killed)]
    resumed = headers[1].env["resumed"]["steps"]
    sys.stdout.write(f"train lora: {kills} kills, continued at steps {resumed}\n")
    assert headers[0].history == headers[1].history
    tensors = [load_file(path) for path in (whole, killed)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    left = sorted(path.name for path in tmp_path.glob("*killed*"))
    assert left == ["killed.md", "killed.safetensors"]
