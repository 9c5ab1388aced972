"""Cells on a Slurm whose commands are scripts that run the jobs on this machine."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from folders import make_folder

from bench.errors import UserError
from bench.run.far_side import SentCell
from bench.run.slurm import SlurmCell, read_options
from bench.run.store import Store
from bench.spec import Cell, Recipe, Task

ROOT = Path(__file__).parents[2]
STEPS = 1500  # so that the signal comes during the training

# Each job is a shell in the background; `requeue` starts it again.
SBATCH = """#!/bin/bash
mkdir -p "$FAKE"
id=$((1000 + $(ls "$FAKE" | grep -c script)))
cp "$1" "$FAKE/$id.script"
array=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
for task in $(seq 0 ${array:-0}); do
    [ -n "$array" ] && name=${id}_$task || name=$id
    fake-job "$id" "$name" "${array:+$task}" > /dev/null 2>&1 &
done
echo "Submitted batch job $id"
"""
JOB = """#!/bin/bash
export SLURM_JOB_ID=$1 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0
export SLURM_LOCALID=0 SLURM_JOB_NODELIST=here
[ -n "$3" ] && export SLURM_ARRAY_JOB_ID=$1 SLURM_ARRAY_TASK_ID=$3
echo start >> "$FAKE/$2.starts"
exec bash "$FAKE/$1.script"
"""
SRUN = """#!/bin/bash
while [ "${1#-}" != "$1" ]; do
    case "$1" in --output|--error) shift ;; esac
    shift
done
exec "$@"
"""
SCONTROL = """#!/bin/bash
job=${2%%_*}; task=
[ "$job" != "$2" ] && task=${2#*_}
(sleep 3; exec setsid fake-job "$job" "$2" "$task") > /dev/null 2>&1 &
"""


def test_options_of_sbatch_are_pairs() -> None:
    assert read_options("partition=gpu, mem-per-cpu=2G,gres=gpu:1") == {
        "partition": "gpu",
        "mem_per_cpu": "2G",
        "gres": "gpu:1",
    }
    assert read_options("") == {}
    for text in ("partition", "=gpu", "time="):
        with pytest.raises(UserError, match=f"--slurm has '{text}': give NAME=VALUE"):
            read_options(text)


@pytest.fixture
def fake_slurm(tmp_path: Path) -> dict[str, str]:
    """The environment in which the commands of Slurm are scripts."""
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {"sbatch": SBATCH, "fake-job": JOB, "srun": SRUN, "scontrol": SCONTROL}
    scripts |= {"sacct": "#!/bin/bash\n", "scancel": "#!/bin/bash\n"}
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "FAKE": str(tmp_path / "jobs"),
        "PYTHONPATH": str(ROOT),
    }


def start(folder: Path, environment: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    tiny = "--methods frozen_head --seeds 2 --weights random --image-size 64 --precision fp32"
    recipe = f"--steps {STEPS} --batch-size 2 --devices cpu --dataset"
    command = [sys.executable, "-m", "bench", *tiny.split(), *recipe.split(), str(folder), *words]
    return subprocess.Popen(
        command, env=environment, cwd=folder.parent, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_job_that_is_put_back_into_the_queue_ends_with_its_record(
    tmp_path: Path, fake_slurm: dict[str, str]
) -> None:
    mine = make_folder(tmp_path / "mine")
    plain = start(mine, fake_slurm, "--out", "plain")
    plain.communicate(timeout=600)  # reads its pipe to the end
    assert plain.returncode == 0
    options = ["--out", "results", "--executor", "slurm", "--save-every", "1s"]
    run = start(mine, fake_slurm, *options)
    starts = tmp_path / "jobs" / "1000_0.starts"
    job = _submitit_process(tmp_path, run)
    os.kill(job, signal.SIGUSR2)  # as Slurm does before the time limit
    out, _ = run.communicate(timeout=600)
    assert run.returncode == 0, out
    assert starts.read_text().count("start") == 2
    expected, records = (Store(tmp_path / name).read_all() for name in ("plain", "results"))
    assert [record.status for record in records] == ["ok", "ok"]
    assert [record.metrics for record in records] == [record.metrics for record in expected]
    assert [record.history for record in records] == [record.history for record in expected]
    (resumed,) = (record.env["resumed"] for record in records if "resumed" in record.env)
    (step,) = resumed["steps"]
    assert 0 < step < STEPS


def _submitit_process(folder: Path, run: "subprocess.Popen[str]") -> int:
    """The process of the first job, once the cells of both jobs train."""
    ends = time.monotonic() + 300
    while time.monotonic() < ends and run.poll() is None:
        if len(list(folder.glob("results/training/*/state.safetensors"))) == 2:
            processes = _processes_of_first_job(folder)
            (job,) = (
                number
                for number, words in processes.items()
                if b"submitit.core._submit" in words and b"bash" not in words
            )
            return job
        time.sleep(0.2)
    raise AssertionError("no job started")


def _processes_of_first_job(folder: Path) -> dict[int, bytes]:
    """Number and command line."""
    processes = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
        except OSError:
            continue  # it has just ended
        mine = f"FAKE={folder / 'jobs'}".encode() in environment
        if mine and b"SLURM_ARRAY_TASK_ID=0" in environment:
            processes[int(process.name)] = words
    return processes


@pytest.mark.slow
def test_a_job_of_submitit_itself_continues_after_its_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local executor starts a job again that asks for it, as Slurm's queue does."""
    submitit = pytest.importorskip("submitit", reason="the extra slurm is not installed")
    mine = make_folder(tmp_path / "mine")
    recipe = Recipe(lr=1e-3, steps=STEPS, batch_size=2, bank_views=12, precision="fp32")
    cell = Cell("frozen_head", str(mine), Task(2, 64, weights="random"), recipe)
    sent = SentCell(cell, "cpu", 1, None, None, predict=False, fitted=False)
    stores = [
        replace(Store.open(tmp_path / name), save_s=save_s)
        for name, save_s in (("plain", 0.0), ("results", 0.5))
    ]
    executor = submitit.LocalExecutor(tmp_path / "jobs", max_num_timeout=3)
    executor.update_parameters(timeout_min=20)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert executor.submit(SlurmCell(sent, stores[0])).result() == cell.id
    job = executor.submit(SlurmCell(sent, stores[1]))
    ends = time.monotonic() + 300
    while not stores[1].training(cell).exists():
        assert time.monotonic() < ends
        assert not job.done(), job.stderr()
        time.sleep(0.1)
    controller = job._process.pid
    (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
    os.kill(int(task), signal.SIGUSR2)  # as the controller does before the time limit
    assert job.result() == cell.id
    expected, record = (store.read(cell) for store in stores)
    assert expected is not None
    assert record is not None
    assert (record.metrics, record.history) == (expected.metrics, expected.history)
    (step,) = record.env["resumed"]["steps"]
    assert 0 < step < STEPS
    assert not list((tmp_path / "results" / "training").iterdir())
