"""A planted slowdown is found, and unchanged code raises no alarm."""

import dataclasses
import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import regress
import versions
from pairing import Ratio, ratio, take_turns
from versions import NotComparableError, Version, checkout, compare


def times(seed: int, slower: float = 1.0, pairs: int = 40) -> tuple[list[float], list[float]]:
    """A machine that wanders by a third, with 5 % of noise from block to block and rare stalls."""
    rng = np.random.default_rng(seed)
    machine = np.exp(np.cumsum(rng.normal(0, 0.05, pairs)))
    blocks = [machine * np.exp(rng.normal(0, 0.05, pairs)) for _ in range(2)]
    for block in blocks:
        block[rng.random(pairs) < 0.05] *= 4
    return list(slower * blocks[0]), list(blocks[1])


def test_the_same_speed_raises_no_alarm() -> None:
    verdicts = [ratio(*times(seed)).against(1.05) for seed in range(50)]
    assert "above" not in verdicts


def test_a_tenth_slower_is_found() -> None:
    found = [ratio(*times(seed, slower=1.10, pairs=100)) for seed in range(50)]
    assert sum(one.against(1.05) == "above" for one in found) >= 49
    assert sum(one.low <= 1.10 <= one.high for one in found) >= 43


def test_a_tenth_faster_is_no_alarm() -> None:
    assert ratio(*times(0, slower=0.9)).against(1.05) == "within"


def test_an_interval_around_the_limit_is_unclear() -> None:
    assert Ratio(1.06, 1.02, 1.10, 40).against(1.05) == "unclear"


def test_turns_alternate_and_take_a_drift_out() -> None:
    called = []
    speed = itertools.count(100)  # every call is slower than the one before

    def block(name: str, cost: float) -> Callable[[], float]:
        def run() -> float:
            called.append(name)
            return cost * next(speed)

        return run

    first, second = take_turns(block("a", 1.1), block("b", 1.0), 40)
    assert "".join(called[:8]) == "abbaabba"
    assert ratio(first, second).median == pytest.approx(1.1, rel=1e-3)


# Two versions


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    commands = [
        ["init", "--quiet"],
        ["add", "file"],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "-m", "First"],
    ]
    (folder / "file").write_text("old")
    for words in commands:
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    (folder / "file").write_text("new")
    return folder


def test_a_revision_is_checked_out_and_removed_again(repository: Path) -> None:
    trees = []

    def interrupted() -> None:
        with checkout("HEAD", repository) as tree:
            assert (tree / "file").read_text() == "old"
            trees.append(tree)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not trees[0].parent.exists()
    assert not (repository / ".git" / "worktrees").exists()
    assert (repository / "file").read_text() == "new"


@pytest.mark.parametrize("revision", ["nowhere", "--help"])
def test_an_unknown_revision_is_refused(repository: Path, revision: str) -> None:
    with (
        pytest.raises(ValueError, match=f"no revision '{revision}' here"),
        checkout(revision, repository),
    ):
        pass


def test_a_wrong_revision_ends_the_command_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        regress.main(["--against", "nowhere"])
    assert refused.value.code == 2
    assert "no revision 'nowhere' here" in capsys.readouterr().err


ECHO = """
import json, sys
print(json.dumps({"bench": %r}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    slow = 1.2 if "base" not in %r else 1.0
    known = {"seconds": slow * asked["calls"]}
    print(json.dumps(known if asked["work"] == "known" else {"error": "unknown"}), flush=True)
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Version, Version]]:
    """Two processes that only say how long work took; the first is 20 % slower."""
    found = []
    for name in ("now", "base"):
        root = tmp_path / name
        root.mkdir()
        script = root / "worker.py"
        script.write_text(ECHO % (str(root / "bench.py"), name))
        found.append(Version(root, script))
    with found[0], found[1]:
        yield found[0], found[1]


def test_two_versions_are_compared(pair: tuple[Version, Version]) -> None:
    found = compare(*pair, "known", pairs=4, clock="wall")
    assert dataclasses.astuple(found) == pytest.approx((1.2, 1.2, 1.2, 4))
    with pytest.raises(NotComparableError, match="unknown"):
        compare(*pair, "other", pairs=4, clock="wall")


def test_a_version_that_dies_or_imports_something_else_is_no_result(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="ended with 3"):
        Version(tmp_path, script)
    script.write_text(ECHO % ("/elsewhere/bench.py", "now"))
    with pytest.raises(RuntimeError, match="found /elsewhere/bench"):
        Version(tmp_path, script)


@pytest.mark.slow
def test_this_checkout_against_itself_raises_no_alarm() -> None:
    with Version(versions.ROOT) as now, Version(versions.ROOT) as base:
        for work in ("train frozen_head", "loop"):
            found = compare(now, base, work, pairs=30, clock="cpu")
            assert found.against(1.05) != "above"
