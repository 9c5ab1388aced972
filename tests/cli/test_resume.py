"""Whole runs from the command line, ended in every way a run can end."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import MIXED, make_folder

from bench.data.masks import read_mask
from bench.run.store import Store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PATIENCE_S = 1800  # of a busy machine
STEPS = 600  # enough to be seen

# Dies at the first record that is written, in the cell's process and in the run's own.
KILLER = """
import os, signal

def fsync(file):
    os.kill(os.getpid(), signal.SIGKILL)

os.fsync = fsync
"""


class Run:
    """A run of two tiny cells, in processes that can be told from all others."""

    def __init__(self, folder: Path, *first_imports: Path, options: str = "") -> None:
        self.mark = f"RUN_OF_THIS_TEST={uuid.uuid4()}"
        name, value = self.mark.split("=")
        tiny = "--methods frozen_head --seeds 2 --weights random --image-size 64 --threads 1"
        recipe = f"--steps {STEPS} --batch-size 2 --out results --dataset"
        # A shell that starts tests in the background makes them ignore Ctrl-C.
        code = (
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from bench.cli import main; sys.exit(main())"
        )
        words = [*tiny.split(), *options.split(), *recipe.split(), str(folder)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            cwd=folder.parent,
            env={
                **os.environ,
                **{"FORCE_COLOR": "1", "COLUMNS": "100", name: value},
                "PYTHONPATH": os.pathsep.join(map(str, [*first_imports, ROOT])),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, text: str) -> None:
        """Read what is shown until `text` is."""
        assert self.process.stdout is not None
        shown = ""
        while text not in plain(shown):
            letter = self.process.stdout.read(1)
            assert letter, f"ended before '{text}' was shown: {shown}"
            shown += letter

    def end(self) -> tuple[int, str, str]:
        """Exit code, output and errors, once the run and all its processes have ended."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        deadline = time.monotonic() + 30
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert self.left() == []
        return self.process.returncode, plain(out), err

    def left(self) -> list[int]:
        """Processes of this run that are still there."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue  # it has just ended
        return found


def plain(shown: str) -> str:
    """What a terminal was sent, without colours and moves of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "mine", formats=MIXED)


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Store]:
    """The results folder; at the end it holds one whole record of each cell and nothing else."""
    store = Store(tmp_path / "results")
    yield store
    records = store.read_all()
    assert [record.status for record in records] == ["ok", "ok"]
    assert {record.cell.seed for record in records} == {0, 1}
    assert len(list((store.folder / "records").glob("*.json"))) == 2


def times(store: Store) -> dict[str, int]:
    return {
        path.name: path.stat().st_mtime_ns for path in (store.folder / "records").glob("*.json")
    }


def test_a_folder_of_mixed_formats_runs_once(mine: Path, results: Store) -> None:
    code, out, err = Run(mine).end()
    assert (code, err) == (0, "")
    assert "done before" not in out
    for record in results.read_all():
        assert record.classes == ("background", "object")
        assert 0 <= (record.metrics["dice_dataset"] or -1) <= 1
        assert len(record.per_image) == record.env["split"]["test"] == 2
        assert record.history[-1]["step"] == STEPS
        assert record.cost is not None
        assert record.cost.train_images_per_s
        for image in record.per_image:
            predicted = read_mask(results.predictions(record.cell) / f"{image['name']}.png")
            assert predicted.shape == (40, 48)
            assert set(predicted.ravel().tolist()) <= {0, 1}
    assert (results.folder / "index.md").is_file()
    before = times(results)
    code, out, err = Run(mine).end()
    assert (code, err) == (0, "")
    assert out.count("done before") == 2
    assert times(results) == before


def test_a_killed_run_is_completed_by_the_next(mine: Path, results: Store) -> None:
    first = Run(mine)
    first.wait_for("[1/2] ok")
    first.wait_for("loss ")  # in the second cell
    first.process.kill()
    code, _, _ = first.end()  # and so do its processes
    assert code == -signal.SIGKILL
    before = times(results)
    assert len(before) == 1
    code, out, err = Run(mine).end()
    assert (code, err) == (0, "")
    assert out.count("done before") == 1
    assert before.items() <= times(results).items()


def test_a_kill_while_a_record_is_written_leaves_none(
    mine: Path, results: Store, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLER)
    code, _, _ = Run(mine, tmp_path / "site").end()
    assert code == -signal.SIGKILL
    assert times(results) == {}
    code, out, _ = Run(mine).end()
    assert code == 0
    assert "done before" not in out


def test_two_runs_at_once_share_the_cells(mine: Path, results: Store) -> None:
    runs = [Run(mine), Run(mine)]
    ends = [run.end() for run in runs]
    assert [code for code, _, _ in ends] == [0, 0]
    kept = [line for _, out, _ in ends for line in re.findall(r"\[\d/2\] ok .*", out)]
    assert len(kept) == 4
    assert sum("done before" in line for line in kept) == 2  # so each cell ran once


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
@pytest.mark.parametrize("everyone", [False, True], ids=["the run only", "all its processes"])
def test_a_signal_saves_the_training_and_the_next_run_continues(
    mine: Path, results: Store, number: signal.Signals, code: int, everyone: bool
) -> None:
    quick = "--no-predict --keep none --report none"  # nothing that this test does not need
    run = Run(mine, options=f"{quick} --save-every 0.2s")
    ends = time.monotonic() + PATIENCE_S
    while not list(results.folder.glob("training/*/state.safetensors")) and time.monotonic() < ends:
        time.sleep(0.02)
    (os.killpg if everyone else os.kill)(run.process.pid, number)
    ended, out, err = run.end()
    assert ended == code, (out, err)
    assert err == (
        f"stopped by {number.name}; what is done is kept: run the same command again to go on\n"
    )
    assert "Traceback" not in out
    assert times(results) == {}
    saved = [path.name for path in results.folder.glob("training/*/state.safetensors")]
    assert saved
    code, out, err = Run(mine, options=quick).end()
    assert (code, err) == (0, "")
    assert out.count("continues at step") == len(saved)
    assert list((results.folder / "training").iterdir()) == []
    steps = [record.env.get("resumed", {}).get("steps") for record in results.read_all()]
    assert sum(step is not None for step in steps) == len(saved)


def test_ctrl_c_ends_the_run_and_its_processes(mine: Path, results: Store) -> None:
    run = Run(mine)
    run.wait_for("loss ")
    os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
    code, out, err = run.end()
    assert code == 130
    assert err == "stopped; what is done is kept: run the same command again to go on\n"
    assert "Traceback" not in out
    assert times(results) == {}
    assert Run(mine).end()[0] == 0
