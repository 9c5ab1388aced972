"""Cells on a Ray cluster of two raylets on this machine, whose processes are killed.

CELLS and KILLS set their numbers: `CELLS=20 KILLS=20 pytest -m slow -s tests/run/test_ray.py`.
"""

import contextlib
import json
import multiprocessing
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import make_folder

from bench.run.far_side import SentCell
from bench.run.ray_cluster import SharedFolder, run_and_pack
from bench.run.store import Store
from bench.spec import Cell, Recipe, Task

ROOT = Path(__file__).parents[2]
CELLS, KILLS = (int(os.environ.get(name, number)) for name, number in (("CELLS", 6), ("KILLS", 4)))
STEPS = 150
LONGEST_S = 15.0  # between the start of a worker and a kill
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[dict[str, str]]:
    """The environment of commands that reach the cluster."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder:
        address = f"127.0.0.1:{_free_port()}"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RAY_ADDRESS": address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_worker_niceness": "0",
            # A busy machine answers late, which is no reason to give it up.
            "RAY_health_check_timeout_ms": "60000",
            "RAY_health_check_failure_threshold": "60",
        }
        with (
            _raylet(environment, f"{folder}/1", "--head", f"--port={address.split(':')[1]}"),
            _raylet(environment, f"{folder}/2", f"--address={address}"),
        ):
            yield environment


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _raylet(environment: dict[str, str], folder: str, *words: str) -> Iterator[None]:
    """A machine of the cluster. The folder must have a short name, since sockets are in it."""
    program = str(Path(sys.executable).with_name("ray"))
    options = [f"--temp-dir={folder}", "--num-cpus=1", "--include-dashboard=false", "--block"]
    if "--head" not in words:
        options = ["--num-cpus=1", "--block"]
    plain = {name: text for name, text in environment.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [program, "start", *words, *options],
        env=plain,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        host, _, port = environment["RAY_ADDRESS"].partition(":")
        ends = time.monotonic() + 180
        while not _answers(host, int(port)):
            assert process.poll() is None, "ray start has ended"
            assert time.monotonic() < ends, "the head of the cluster does not answer"
            time.sleep(0.5)
        time.sleep(5)  # until the machine has joined
        assert process.poll() is None, "ray start has ended"
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def start(folder: Path, environment: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    tiny = f"--methods frozen_head --seeds {CELLS} --weights random --image-size 64"
    recipe = f"--precision fp32 --steps {STEPS} --batch-size 2 --devices cpu --save-every 0.3s"
    recipe += " --report none --dataset"
    command = [sys.executable, "-m", "bench", *tiny.split(), *recipe.split(), str(folder), *words]
    return subprocess.Popen(
        command,
        env=environment,
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_killed_workers_and_drivers_lose_no_cell(tmp_path: Path, cluster: dict[str, str]) -> None:
    mine = make_folder(tmp_path / "mine")
    plain = start(mine, cluster, "--out", "plain")
    out, _ = plain.communicate(timeout=1800)
    assert plain.returncode == 0, out
    words = ("--out", "results", "--executor", "ray")
    run, chance = start(mine, cluster, *words), random.Random(os.environ.get("KILLS_SEED", 0))
    kills = {"worker": 0, "driver": 0}
    for number in range(KILLS):
        if _wait_for_worker(run) is None:
            break  # all cells have ended
        time.sleep(chance.uniform(0, LONGEST_S))
        kind = "driver" if number % 2 else "worker"
        if number % 2:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate(timeout=60)
            run = start(mine, cluster, *words)
        else:
            worker = _wait_for_worker(run)
            if worker is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        kills[kind] += 1
        done = len(list((tmp_path / "results" / "records").glob("*.json")))
        sys.stdout.write(f"killed a {kind} after {done} of {CELLS} records\n")
        sys.stdout.flush()
    out, _ = run.communicate(timeout=1800)
    assert run.returncode == 0, out
    store = Store(tmp_path / "results")
    resumed = [
        record.env["resumed"]["steps"] for record in store.stream() if "resumed" in record.env
    ]
    sys.stdout.write(f"{CELLS} cells, killed: {kills}, continued at steps: {resumed}\n")
    assert not list((tmp_path / "results" / "training").glob("*/*"))
    assert not list((tmp_path / "results" / "records").glob(".*"))
    expected, records = (Store(tmp_path / name).read_all() for name in ("plain", "results"))
    assert len(list((tmp_path / "results" / "records").iterdir())) == CELLS
    assert [record.cell.id for record in records] == [record.cell.id for record in expected]
    assert [record.status for record in records] == ["ok"] * CELLS
    assert [record.metrics for record in records] == [record.metrics for record in expected]
    for record in expected:
        here, there = (
            sorted((tmp_path / name / "predictions" / record.cell.id).iterdir())
            for name in ("plain", "results")
        )
        assert [path.read_bytes() for path in here] == [path.read_bytes() for path in there]


def test_a_task_continues_from_the_shared_folder(tmp_path: Path) -> None:
    """The body of a task, without a cluster: killed once, then on another machine."""
    mine = make_folder(tmp_path / "mine")
    recipe = Recipe(lr=1e-3, steps=1500, batch_size=2, bank_views=12, precision="fp32")
    cell = Cell("frozen_head", str(mine), Task(2, 64, weights="random"), recipe)
    sent = SentCell(cell, "cpu", 1, None, None, predict=False, fitted=False)
    store = Store.open(tmp_path / "results")
    with store.claim(cell):
        claim = (store.claims / cell.id).read_text()
        shared, other = (SharedFolder(store.folder, text) for text in (claim, "of another folder"))
        assert shared.is_here(cell)
        assert not other.is_here(cell)
        task = multiprocessing.get_context("spawn").Process(
            target=run_and_pack, args=(sent, "none", 0.2, shared)
        )
        task.start()
        ends = time.monotonic() + 300
        while not store.training(cell).exists():
            assert time.monotonic() < ends
            assert task.is_alive()
            time.sleep(0.1)
        task.kill()
        task.join()
        (content,) = (
            content
            for name, content in run_and_pack(sent, "none", 0.2, shared).items()
            if name.startswith("records/")
        )
    assert json.loads(content)["status"] == "ok"
    assert json.loads(content)["env"]["resumed"]["steps"][0] > 0
    assert not list((store.folder / "training").iterdir())


def test_a_cluster_without_the_token_is_refused(tmp_path: Path, cluster: dict[str, str]) -> None:
    mine = make_folder(tmp_path / "mine")
    for changes, sentence in (
        ({"RAY_AUTH_MODE": "disabled"}, "needs a cluster that asks for a token"),
        ({"RAY_AUTH_TOKEN": secrets.token_hex(16)}, "there is no Ray cluster at"),
    ):
        run = start(mine, cluster | changes, "--out", "results", "--executor", "ray")
        out, _ = run.communicate(timeout=300)
        assert run.returncode == 2, out
        assert sentence in out.replace("\n", " ")
        assert not list((tmp_path / "results").glob("records/*"))


def _wait_for_worker(run: "subprocess.Popen[str]") -> int | None:
    """A process of the cluster that runs a cell; None if the run ends before there is one."""
    ends = time.monotonic() + 300
    while time.monotonic() < ends and run.poll() is None:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has just ended
                if (process / "cmdline").read_bytes().startswith(b"ray::run_and_pack"):
                    return int(process.name)
        time.sleep(0.2)
    assert run.poll() is not None, "no worker started"
    return None
