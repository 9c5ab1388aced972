"""Two versions of the code side by side: a checkout of one revision, and a process for each."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pairing import Ratio, ratio, take_turns

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")


class NotComparableError(RuntimeError):
    """One version cannot do the work."""


@contextmanager
def checkout(revision: str, repository: Path = ROOT) -> Iterator[Path]:
    """The files of a revision in a temporary git worktree, which is removed afterwards.

    Raises:
        ValueError: there is no such revision.
    """
    commit = f"{revision}^{{commit}}"
    known = _git(repository, "rev-parse", "--verify", "--quiet", commit)
    if known.returncode:
        raise ValueError(f"no revision '{revision}' here: give a commit, branch or tag")
    with tempfile.TemporaryDirectory(prefix="sam-adapt-bench-") as folder:
        tree = Path(folder) / "tree"
        added = _git(
            repository, "worktree", "add", "--detach", "--quiet", str(tree), known.stdout.strip()
        )
        try:
            added.check_returncode()
            yield tree
        finally:
            _git(repository, "worktree", "remove", "--force", str(tree))


class Version:
    """One version of the code in a process of its own, idle until it is told to work.

    Args:
        root: the checkout whose `bench` is imported.
        script: what answers; the same file for both versions, so that only `bench` differs.

    Raises:
        RuntimeError: the process ended, or imported another `bench`.
    """

    def __init__(self, root: Path, script: Path = WORKER) -> None:
        path = os.pathsep.join(p for p in (str(root), os.environ.get("PYTHONPATH")) if p)
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **one_thread, "PYTHONPATH": path},
            text=True,
        )
        imported = Path(self._answer()["bench"]).resolve()
        if not imported.is_relative_to(root.resolve()):
            self.close()
            raise RuntimeError(f"{root} was to be timed, but 'import bench' found {imported}")

    def seconds(self, work: str, calls: int, clock: str) -> float:
        """How long `calls` calls of a piece of work take.

        Raises:
            NotComparableError: this version cannot do it.
        """
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"work": work, "calls": calls, "clock": clock}) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise NotComparableError(answer["error"])
        return float(answer["seconds"])

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> "Version":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.process.communicate()
            raise RuntimeError(f"the process of one version ended with {code}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def compare(
    now: Version, base: Version, work: str, *, pairs: int, clock: str, block_s: float = 0.2
) -> Ratio:
    """Time of the version `now` over that of `base` for the same work.

    Args:
        now: the version in question.
        base: what it is compared with.
        work: as `workload.make` takes it.
        pairs: number of blocks of each version.
        clock: a key of `CLOCKS`.
        block_s: a block makes as many calls as the faster version does in about this time.

    Raises:
        NotComparableError: one of the versions cannot do the work.
    """
    warmup = [version.seconds(work, 1, "wall") for version in (now, base) for _ in range(3)]
    calls = max(1, round(block_s / min(warmup)))
    return ratio(
        *take_turns(
            lambda: now.seconds(work, calls, clock),
            lambda: base.seconds(work, calls, clock),
            pairs,
        )
    )


def _git(repository: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    asked = ["git", "-C", str(repository), *words]
    return subprocess.run(asked, capture_output=True, text=True, check=False)
