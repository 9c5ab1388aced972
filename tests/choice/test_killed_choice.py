"""A choice that is killed again and again ends with the verdict of one that was not."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from folders import make_folder

from bench.run.store import Store

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "5"))
COMMAND = "choose --methods frozen_head,decoder_only,unet --seeds 2 --weights random --steps 60"
SIZE = "--image-size 64 --batch-size 2 --threads 1 --precision fp32 --dataset mine --out"


def choose(folder: Path, out: str) -> subprocess.Popen[bytes]:
    """Start the command with two seeds of three methods."""
    words = [*COMMAND.split(), *SIZE.split(), out]
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def conclusion(page: Path) -> list[str]:
    """The verdict and the race, without costs, which are measured anew."""
    parts = page.read_text().split("\n## ")
    return [part for part in parts if part.startswith(("Verdict", "Race"))]


@pytest.mark.slow
def test_a_choice_goes_on_after_every_kill_and_says_the_same(tmp_path: Path) -> None:
    make_folder(tmp_path / "mine", 12)
    began = time.monotonic()
    assert choose(tmp_path, "whole").wait() == 0
    whole_s, rng = time.monotonic() - began, random.Random(0)
    killed, at = 0, list[int]()
    while killed < KILLS:
        process = choose(tmp_path, "killed")
        try:
            assert process.wait(timeout=rng.uniform(0.1, 0.7) * whole_s) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        killed += 1
        at.append(len(list((tmp_path / "killed" / "records").glob("*.json"))))
    assert choose(tmp_path, "killed").wait() == 0
    assert killed > 0, f"records at each kill: {at}"
    once, again = (Store(tmp_path / name).read_all() for name in ("whole", "killed"))
    assert sorted(one.cell.id for one in once) == sorted(one.cell.id for one in again)
    pages = [conclusion(tmp_path / name / "choose.md") for name in ("whole", "killed")]
    assert len(pages[0]) == 2
    assert pages[0] == pages[1], f"records at each of {killed} kills: {at}"
    left = [path for path in (tmp_path / "killed").rglob("*") if path.name.startswith(".tmp")]
    assert left == []
