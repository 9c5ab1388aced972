"""A disk that fills up, and a folder that goes away, while cells run."""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import make_folder
from records import make_cell, make_record

from bench.errors import WriteError
from bench.run import cell as cells
from bench.run.store import Store

ROOT = Path(__file__).parents[2]
KIB = 1024
SIZE = 4096 * KIB  # of the disk
FREE = [160, 0, 24]  # KiB that the run finds free


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the settings of torch in this process as they are."""
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(torch, "set_flush_denormal", lambda on: True)


@pytest.mark.parametrize(
    ("error", "sentence", "kept"),
    [
        (WriteError("cannot write 'x.png'"), "cannot write 'x.png'", True),
        (OSError(errno.EIO, "Input/output error"), "OSError: [Errno 5] Input/output error", True),
        (RuntimeError("a bug"), "RuntimeError: a bug", False),
    ],
)
def test_after_a_fault_of_the_disk_the_training_continues(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quiet: None,
    error: Exception,
    sentence: str,
    kept: bool,
) -> None:
    store, cell = Store.open(tmp_path), make_cell()
    store.training(cell).parent.mkdir(parents=True)
    store.training(cell).write_text("state")

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(cells, "run_cell", fails)
    cells.work(cell, "cpu", 1, store, lambda event: None)
    record = store.read(cell)
    assert record is not None
    assert (record.status, record.error) == ("failed", sentence)
    assert store.training(cell).exists() == kept


def test_a_record_that_cannot_be_written_leaves_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: None
) -> None:
    store, cell = Store.open(tmp_path), make_cell()
    store.training(cell).parent.mkdir(parents=True)
    store.training(cell).write_text("state")

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cells, "run_cell", lambda *_: make_record(cell))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"cannot write '.*\.json' \(No space left on device\)"):
        cells.work(cell, "cpu", 1, store, lambda event: None)
    assert store.read(cell) is None
    assert store.training(cell).exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of `SIZE` bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a disk in memory")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def start(folder: Path, out: Path, *words: str) -> "subprocess.Popen[str]":
    tiny = "--methods frozen_head --seeds 2 --weights random --image-size 64 --precision fp32"
    recipe = "--steps 60 --batch-size 2 --devices cpu --jobs 1 --save-every 0.2s --no-predict"
    command = [sys.executable, "-m", "bench", *tiny.split(), *recipe.split()]
    return subprocess.Popen(
        [*command, "--dataset", str(folder), "--out", str(out), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300"},
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def temporary_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != ".gate"]


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_in_one_sentence_and_goes_on_later(
    tmp_path: Path, disk: Path
) -> None:
    mine = make_folder(tmp_path / "mine")
    expected = tmp_path / "expected"
    run = start(mine, expected)
    out, _ = run.communicate(timeout=600)
    assert run.returncode == 0, out
    plain = [record.metrics for record in Store(expected).read_all()]
    report = []
    for number, free in enumerate(FREE):
        results = disk / f"results_{number}"
        filler = disk / "filler"
        Store.open(results)
        with filler.open("wb") as file, contextlib.suppress(OSError):
            file.write(bytes(shutil.disk_usage(disk).free))
        os.truncate(filler, filler.stat().st_size - free * KIB)
        run = start(mine, results)
        out, _ = run.communicate(timeout=600)
        records = Store(results).read_all()
        statuses = [record.status for record in records]
        report.append(f"{free} KiB free: code {run.returncode}, {statuses}, {out.splitlines()[-1]}")
        assert "Traceback" not in out, out
        assert run.returncode in (1, 2), out
        assert re.search(r"cannot write .*No space left on device", out), out
        for record in records:
            if record.status != "ok":
                assert record.status == "failed"
                assert re.search(r"cannot write .*No space left on device", record.error or "")
        filler.unlink()
        run = start(mine, results)
        out, _ = run.communicate(timeout=600)
        assert run.returncode == 0, out
        assert [record.metrics for record in Store(results).read_all()] == plain
        assert temporary_files(results) == []
        assert not list(results.glob("training/*/*"))
        shutil.rmtree(results)
    sys.stdout.write("\n".join(report) + "\n")


@pytest.mark.slow
def test_a_folder_that_is_removed_during_a_run_ends_it_in_one_sentence(tmp_path: Path) -> None:
    mine, results = make_folder(tmp_path / "mine"), tmp_path / "results"
    run = start(mine, results, "--steps", "3000")
    ends = time.monotonic() + 300
    while not list(results.glob("training/*/state.safetensors")) and time.monotonic() < ends:
        assert run.poll() is None
        time.sleep(0.1)
    results.rename(tmp_path / "moved")
    out, _ = run.communicate(timeout=600)
    assert "Traceback" not in out, out
    assert run.returncode == 2, out
    (line,) = [line for line in out.splitlines() if "cannot write" in line]
    assert "(No such file or directory)" in line
    shutil.rmtree(results, ignore_errors=True)  # a cell may have saved its training there
    (tmp_path / "moved").rename(results)
    run = start(mine, results, "--steps", "60")
    out, _ = run.communicate(timeout=600)
    assert run.returncode == 0, out
    assert temporary_files(results) == []
