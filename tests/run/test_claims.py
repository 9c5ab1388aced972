"""Claims of cells: one holder, which may be killed, or go away with its machine."""

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.files import boot_id
from bench.run import claims
from bench.run.claims import STALE_S, Refresher, claim, is_claimed

ROOT = Path(__file__).parents[2]


@contextmanager
def held(folder: Path, boot: str, age_s: float) -> Iterator[Path]:
    """A claim that is locked by someone else, who touched it some time ago."""
    path = folder / "cell"
    with path.open("w") as file:
        file.write(json.dumps({"host": "far", "boot": boot, "pid": 7}))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        touched = time.time() - age_s
        os.utime(path, (touched, touched))
        yield path


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    with claim(tmp_path, "a") as first, claim(tmp_path, "a") as second:
        assert first
        assert not second
        assert is_claimed(tmp_path, "a")
        assert json.loads((tmp_path / "a").read_text())["pid"] == os.getpid()
        with claim(tmp_path, "b") as other:
            assert other
    assert not is_claimed(tmp_path, "a")
    with claim(tmp_path, "a") as again:
        assert again
    assert list(tmp_path.iterdir()) == []


def test_a_claim_ends_with_its_process_even_if_killed(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom bench.run.claims import claim\n"
        "with claim(Path(sys.argv[1]), 'a') as free:\n    print(free, flush=True)\n    input()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with claim(tmp_path, "a") as free:
        assert not free
    holder.kill()
    holder.communicate()
    assert (tmp_path / "a").exists()
    assert not is_claimed(tmp_path, "a")
    with claim(tmp_path, "a") as free:
        assert free


@pytest.mark.parametrize(
    ("boot", "age_s", "taken"),
    [
        ("another machine", STALE_S + 60, True),
        ("another machine", STALE_S - 60, False),
        ("this machine", STALE_S + 60, False),
        ("", STALE_S + 60, True),
    ],
)
def test_only_a_machine_that_went_away_loses_its_claim(
    tmp_path: Path, boot: str, age_s: float, taken: bool
) -> None:
    boot = boot_id() if boot == "this machine" else boot
    with held(tmp_path, boot, age_s):
        assert is_claimed(tmp_path, "cell") != taken
        with claim(tmp_path, "cell") as mine, claim(tmp_path, "cell") as other:
            assert (mine, other) == (taken, False)
            if taken:
                assert json.loads((tmp_path / "cell").read_text())["pid"] == os.getpid()


def test_the_first_of_several_takes_a_claim_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(tmp_path, "gone", STALE_S + 60):
        stale, inside = claims._is_stale, list[Any]()

        def another_one_is_faster(path: Path, now: float) -> bool:
            answer = stale(path, now)
            if answer and not inside:
                inside.append(True)
                rival = claim(tmp_path, "cell")
                inside.append(rival.__enter__())
                inside.append(rival)
            return answer

        monkeypatch.setattr(claims, "_is_stale", another_one_is_faster)
        with claim(tmp_path, "cell") as mine:
            assert (inside[1], mine) == (True, False)
        inside[2].__exit__(None, None, None)


def test_a_holder_that_was_thought_gone_leaves_the_claim_of_the_other(tmp_path: Path) -> None:
    mine = claim(tmp_path, "cell")
    assert mine.__enter__()
    values = json.loads((tmp_path / "cell").read_text())
    (tmp_path / "cell").write_text(json.dumps({**values, "boot": "slept"}))
    touched = time.time() - STALE_S - 60
    os.utime(tmp_path / "cell", (touched, touched))
    with claim(tmp_path, "cell") as other:
        assert other
        mine.__exit__(None, None, None)
        assert is_claimed(tmp_path, "cell")


def test_a_command_touches_its_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    refresher = Refresher(tmp_path)
    with held(tmp_path, "other", STALE_S + 60):
        for wait_s, fresh in ((1.0, False), (claims.REFRESH_S, True)):
            clock += wait_s
            refresher.refresh(["cell", "removed"])
            assert is_claimed(tmp_path, "cell") == fresh


def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    sentence = f"the disk of '{tmp_path}/cell' cannot lock files (No locks available)"
    with pytest.raises(UserError, match=re.escape(sentence)), claim(tmp_path, "cell"):
        pass


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    sentence = "cannot write .* [(]No such file or directory[)]"
    with pytest.raises(UserError, match=sentence), claim(tmp_path / "claims", "cell"):
        pass
