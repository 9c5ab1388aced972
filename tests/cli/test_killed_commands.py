"""Commands that are killed at random moments, again and again: nothing is lost, doubled or left.

KILLS sets the number for each command: `KILLS=20 pytest -m slow -s` makes 160 over all eight.
"""

import fcntl
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import make_folder
from kept_models import make_kept_model
from PIL import Image
from records import CLASSES, make_cell, make_record
from safetensors.numpy import load_file

from bench.keep.header import read_header
from bench.run.store import Store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "3"))
TINY = "--weights random --image-size 32 --batch-size 2 --threads 1 --precision fp32 --steps 40"
GRID = f"--methods frozen_head,unet --seeds 2 {TINY} --dataset mine"
RUN = f"{GRID} --save-every 0.1s --no-predict --out"
CHOOSE = f"choose {GRID} --out"
TRAIN = f"train --methods unet {TINY} --save-every 0.1s --dataset mine --out none --model"
SUITE = (
    "suite run sam-adapter-shadow --weights random --image-size 32 --steps 8 --seeds 2 --threads 1"
    " --precision fp32 --no-predict --dataset mine --out"
)
PREDICT = "predict --model kept.safetensors pictures --maps probability --format geojson --out"
MOST_STARTS = 12  # of a command that no kill of its first part lets come further


class Command:
    """A command in a folder, with caches of its own."""

    def __init__(self, folder: Path, words: str) -> None:
        self.folder, self.words = folder, words.split()

    def start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "bench", *self.words],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SAM_BENCH_CACHE": str(self.folder / "cache"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> float:
        """Run it to its end; returns its duration in seconds."""
        began = time.monotonic()
        out, _ = (process := self.start()).communicate(timeout=1800)
        assert process.returncode == 0, out
        assert "Traceback" not in out, out
        return time.monotonic() - began

    def kill(self, after_s: float, everyone: bool) -> bool:
        """Kill it after some time, with all its processes or alone; False if it ended before."""
        process = self.start()
        try:
            out, _ = process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            (os.killpg if everyone else os.kill)(process.pid, signal.SIGKILL)
            # Until no process is left that could write; a machine at work lets them wait.
            process.communicate(timeout=600)
            return True
        assert process.returncode == 0, out
        return False


def left_over(folder: Path) -> list[str]:
    """Temporary files, and folders that were not finished."""
    pattern = re.compile(r"\..+\.([0-9a-f]{8}\.[a-z0-9_]{8}|importing|replaced)")
    return [str(path) for path in folder.rglob(".*") if pattern.fullmatch(path.name)]


def held_claims(folder: Path) -> list[str]:
    """Claims of cells that would let a run wait, though no command is running."""
    held = []
    for path in folder.glob("**/claims/*"):
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(str(path))
    return held


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return dict(zip((str(path.relative_to(folder)) for path in files), digests, strict=True))


def outcomes(folder: Path) -> list[Any]:
    """What must not depend on kills: one entry for each record, with its class maps."""
    store = Store(folder)
    return [
        (record.cell.id, record.status, record.metrics, record.history, hashes(maps))
        for record in store.stream()
        if (maps := store.predictions(record.cell))
    ]


def choice(folder: Path) -> list[Any]:
    """The records, verdict and race of `choose`; costs are measured anew."""
    parts = (folder / "choose.md").read_text().split("\n## ")
    return [*outcomes(folder), *(one for one in parts if one.startswith(("Verdict", "Race")))]


def suite(folder: Path) -> list[Any]:
    """The records and the ledger of a suite."""
    return [*outcomes(folder), hashes(folder / "ledger")]


def report(folder: Path) -> dict[str, str]:
    """All files but the notes of the cache of figures."""
    return {name: sha for name, sha in hashes(folder).items() if not name.startswith("cache/")}


def trained(folder: Path) -> dict[str, Any]:
    """The final model without its machine, and the names of all files next to it."""
    file = folder / "model.safetensors"
    header = read_header(file)
    return {
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
        "facts": (header.cell, header.trained_on, header.history),
        "tensors": {name: values.tobytes() for name, values in load_file(file).items()},
    }


def write_pictures(folder: Path) -> None:
    """20 pictures that are predicted whole, and two that are predicted in windows."""
    make_kept_model(folder / "kept.safetensors", noise=0.1)
    make_folder(folder / "small", 20)
    (folder / "small" / "images").rename(folder / "pictures")
    random = np.random.default_rng(0)
    for number in range(2):
        pixels = random.integers(0, 256, (320, 320), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"large_{number}.png")


def write_records(folder: Path) -> None:
    store = Store.open(folder)
    for number, method in enumerate(("lora", "adapter", "full", "unet", "samed")):
        for seed in range(3):
            cell = make_cell(method, seed=seed)
            store.write(make_record(cell, dice_dataset=0.5 + number / 20 + seed / 100))
    assert CLASSES


def write_parts(folder: Path) -> None:
    """Two folders of 60 records with a class map each; a third of them is in both."""
    for part, first in (("part_0", 0), ("part_1", 40)):
        store = Store.open(folder / part)
        for seed in range(first, first + 60):
            record = make_record(make_cell(seed=seed), dice_dataset=0.5 + seed / 1000)
            store.predictions(record.cell).mkdir()
            (store.predictions(record.cell) / "image_0.png").write_bytes(b"map %d" % seed)
            store.write(record)


@pytest.mark.parametrize(
    ("name", "words", "outcome"),
    [
        ("import", "data import --overwrite source", hashes),
        ("report", "report --out", report),
        ("run", RUN, outcomes),
        ("suite", SUITE, suite),
        ("merge", "merge part_0 part_1 --out", hashes),
        ("choose", CHOOSE, choice),
        ("train", TRAIN, trained),
        ("predict", PREDICT, hashes),
    ],
)
def test_a_command_goes_on_after_every_kill(
    tmp_path: Path, name: str, words: str, outcome: Callable[[Path], Any]
) -> None:
    make_folder(tmp_path / "mine")
    if name == "import":
        folder = make_folder(tmp_path / "source", 150)
        (folder / "images").rename(folder / "img")
        (folder / "masks").rename(folder / "labels")
    if name == "report":
        for part in ("whole", "killed"):
            write_records(tmp_path / part)
    if name == "merge":
        write_parts(tmp_path)
    if name == "predict":
        write_pictures(tmp_path)
    file = "/model.safetensors" if name == "train" else ""
    whole_s = Command(tmp_path, f"{words} whole{file}").finish()
    command = Command(tmp_path, f"{words} killed{file}")
    rng = random.Random(os.environ.get("KILLS_SEED", name))
    kills = starts = rounds = 0
    expected = outcome(tmp_path / "whole")
    while kills < KILLS:
        killed = command.kill(rng.uniform(0.02, 0.9) * whole_s, everyone=bool(kills % 2))
        kills += killed
        starts += 1
        sys.stdout.write(f"{name}: {kills} kills\n")
        sys.stdout.flush()
        if not killed or starts == MOST_STARTS:
            command.finish()
            command.finish()  # the next run, which has nothing to do
            assert outcome(tmp_path / "killed") == expected
            assert left_over(tmp_path) + held_claims(tmp_path) == []
            rounds, starts = rounds + 1, 0
            if kills < KILLS:
                _reset(tmp_path / "killed", name)
    command.finish()
    assert outcome(tmp_path / "killed") == expected
    assert left_over(tmp_path) + held_claims(tmp_path) == []
    sys.stdout.write(f"{name}: {kills} kills in {rounds + 1} rounds, {whole_s:.0f} s unbroken\n")


def _reset(folder: Path, name: str) -> None:
    """Begin again: nothing is done."""
    subprocess.run(["rm", "-r", str(folder)], check=True)
    if name == "report":
        write_records(folder)
