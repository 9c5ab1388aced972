"""Spoiled files of every kind that a command reads: a result, or one sentence and exit code 2."""

import warnings
from collections import Counter
from pathlib import Path

import pytest
from bad_files import BAD
from bad_files_of_commands import Bad, commands

from bench.cli import main

CASES = {name: (words, bad) for name, words, bad in commands()}


@pytest.mark.parametrize("name", CASES)
def test_spoiled_files_end_in_a_result_or_one_sentence(
    name: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAM_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    words, bad = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries warn of such files, and of writing them
        _make(bad)
        code = main(words)
    printed = capfd.readouterr().err
    assert code in (0, 1, 2)  # `verify` ends with 1 if it has findings
    if code == 2:
        assert printed.startswith("error: ")
        assert printed.count("\n") == 1, printed
        assert len(printed) < 1500
    if words[0] == "predict":
        assert code == 2 or name in ALLOWED


ALLOWED = {
    "predict header: trained_on is {}",  # nothing is known of its images
    *(f"predict picture of {kind}" for kind in ("float64", "int32", "uint64", "bool")),
}


def _make(bad: Bad) -> None:
    bad(Path.cwd())


def test_there_are_250_spoiled_files() -> None:
    """Of data folders, foreign layouts, records, models, weights and pictures."""
    kinds = Counter(words[0] for words, _ in CASES.values())
    print(f"{len(BAD)} files of data folders, {len(CASES)} of commands: {kinds}")  # noqa: T201
    assert len(CASES.keys() | BAD.keys()) == len(CASES) + len(BAD) > 400
