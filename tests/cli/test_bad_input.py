"""Whatever a file or an argument causes ends in one sentence; a bug shows its traceback."""

import argparse
import os
import pwd
import shutil
import warnings
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from bad_files import BAD
from folders import make_folder

from bench.cli import command_module, main
from bench.cli.parsing import read_path
from bench.data.remember import Remembered, State
from bench.errors import UserError
from bench.files import cache_folder
from bench.wording import project_address

COMMANDS = {
    "report": [],
    "verify": [],
    "models": [],
    "merge": ["a", "--out", "b"],
    "data": ["import", "source"],
    "status": [],
    "compare": ["a"],
    "export": ["--model", "m.safetensors", "--to", "merged"],
    "predict": ["--model", "m.safetensors", "x.png"],
    "train": ["--methods", "lora", "--dataset", "nowhere", "--model", "m.safetensors"],
    "choose": ["--methods", "lora", "--dataset", "nowhere"],
    "cells": ["--methods", "lora", "--dataset", "nowhere"],
}
PATHS = (
    "~nobody-here/x",
    "",
    " ",
    "a\0b",
    "a\udcffb",
    "x" * 5000,
    "x/" * 3000,
    "fifo",
    "loop",
    "file/x",
    "a\nb",
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("good") / "mine", count=4)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", BAD)
def test_bad_files_end_in_one_sentence(
    name: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(good, tmp_path / "mine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries that write such files warn
        BAD[name](folder)
    code = main(["data", "check", str(folder)])
    printed = capfd.readouterr().err
    if code == 0:  # what is bad here is allowed elsewhere, such as a strange name
        assert printed == ""
        return
    assert code == 2
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1, printed
    assert len(printed) < 1500


def _path_options() -> list[tuple[str, str]]:
    """Command and option of every path that the commands above take."""

    def of(parser: argparse.ArgumentParser) -> Iterator[str]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from of(action.choices["import"])
            elif action.type is read_path:
                yield (*action.option_strings, "")[0]

    return [(name, option) for name in COMMANDS for option in of(command_module(name).parser())]


@pytest.mark.parametrize(("command", "option"), _path_options())
def test_bad_paths_end_in_one_sentence(
    command: str,
    option: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("loop").symlink_to("loop")
    Path("file").write_text("x")
    for path in PATHS:
        words = [command, *COMMANDS[command]]
        words.append(f"{option}={path}" if option else path)
        code = main(words)
        printed = capsys.readouterr().err
        assert code in (0, 1, 2)  # `merge` of nothing, or a new folder, may be right
        assert printed.count("\n") == (code == 2), (words, printed)
        assert len(printed) < 1500


def test_errors_of_the_system_are_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, words in (
        (
            PermissionError(13, "Permission denied", "there"),
            "cannot use 'there' (Permission denied)",
        ),
        (OSError(28, "No space left on device"), "cannot use a file or the output (No space left"),
        (MemoryError(), "the memory is not enough"),
    ):
        _raise_in_report(error, monkeypatch)
        assert main(["report"]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), OSError("odd")])
def test_a_bug_shows_its_traceback_and_says_so(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    _raise_in_report(error, monkeypatch)
    with pytest.raises(type(error)) as raised:
        main(["report"])
    assert "This is a bug of sam-adapt-bench" in raised.value.__notes__[0]
    assert "report it" in raised.value.__notes__[0]


def test_a_bug_is_reported_to_the_address_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    assert project_address() == "the maintainers of this project"
    message = Message()
    message["Project-URL"] = "Homepage, https://example.org"
    message["Project-URL"] = "Issues, https://example.org/issues"
    monkeypatch.setattr("importlib.metadata.metadata", lambda name: message)
    assert project_address() == "https://example.org/issues"


def test_a_path_of_an_unknown_user_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "~nobody-here/mine"]) == 2
    assert "begins with ~ (no such home folder)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("home", "xdg", "folder"),
    [
        ("/home/me", None, "/home/me/.cache"),
        ("/home/me", "/scratch", "/scratch"),
        ("/home/me", "relative", "/home/me/.cache"),
        ("/home/me", "~/mine", "/home/me/mine"),
        ("relative", None, None),
        (None, None, None),
        (None, "/scratch", "/scratch"),
    ],
)
def test_a_cache_is_in_an_absolute_folder(
    home: str | None, xdg: str | None, folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_: int) -> None:
        raise KeyError("no entry among the users")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    values = {"HOME": home, "XDG_CACHE_HOME": xdg, "SAM_BENCH_CACHE": None}
    for name, value in values.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    if folder is not None:
        assert cache_folder() == Path(folder, "sam-adapt-bench")
        return
    with pytest.raises(UserError, match="set SAM_BENCH_CACHE to a folder"):
        cache_folder()
    kept = Remembered("x", Path("/nowhere"))  # what is only kept to save time needs no folder
    kept.keep("a", State("b", settled=True), [1])
    kept.save()
    assert kept.recall("a", State("b", settled=True)) == [1]


def test_a_line_break_in_a_name_does_not_break_a_line(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(good, tmp_path / "mine")
    (folder / "images" / "a\nleft out: nothing.png").write_bytes(b"")
    code = main(["data", "check", str(folder)])
    printed = capsys.readouterr()
    assert r"a\nleft out: nothing.png" in printed.out or code == 2
    assert not any(line == "left out: nothing.png" for line in printed.out.splitlines())


def _raise_in_report(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: Any, console: Any) -> int:
        raise error

    monkeypatch.setattr(command_module("report"), "run", run)
