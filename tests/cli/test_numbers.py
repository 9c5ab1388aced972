"""Every number of the command line has two bounds, checked before anything starts."""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import COMMANDS, command_module, main
from bench.cli.numbers import Number, NumbersInText
from bench.errors import BOUNDS, UserError, check_number, read_number, shorten
from bench.plugins.registry import get_method, list_methods

# What is not a number at all, in every place of one.
NO_NUMBERS = ("nan", "inf", "1e400", "abc", "", " ", "٣", "1_000", "0x10", "9" * 5000, "--", "1;2")
# Text options that hold no number of this program; a new option is in none of the tables.
WORDS = {
    *("--methods", "--dataset", "--backbone", "--test-dataset", "--weights", "--protocol", "--fit"),
    *("--precision", "--loss", "--augmentation", "--evaluation", "--devices", "--executor"),
    *("--slurm", "--keep", "--list", "--print-completion", "--plugins", "--by", "--memory-for"),
    "--metric",
    "--mask-grid",
    "--log",
    *("--device", "--maps", "--format", "--to", "--layout", "--masks", "--images", "--groups"),
    *("--objects", "--runs", "--remove", "names", "name", "images", "records", "action"),
    "--proposer",
    *("--against", "--columns", "--datasets", "--figure"),
}
# Where the number stands in the text of an option, and wrong texts without one.
TEXTS = {
    "--seeds": ("{}", "0,{}"),
    "--labels": ("{}", "5,{}"),
    "--split": ("{}:1:1", "7:2:{}", "7:{}"),
    "--lr": ("{}", "1e-3|{}"),
    "--shard": ("{}/3", "1/{}", "{}"),
    "--crop": ("bottom={}", "top=1,left={}"),
    "--channels": ("{}",),
    "--gpu": ("{}GB",),
    "--max-memory": ("{}GB",),
    "--max-time": ("{}h",),
    "--save-every": ("{}h",),
    "--stall": ("{}h",),
    "--zoom": ("{}",),
    "--max-params": ("{}M",),
    "--levels": ("{},9", "{}"),
    "--pixel-size": ("{}",),
    "--width": ("{}mm", "{}"),
}
OUT_OF_BOUNDS = {
    "--channels": ("-1", "70000", "1,-1", "0,1,2,3"),
    "--crop": ("bottom=-1", "top=1e3"),
}
START = {
    "run": ["--methods", "lora", "--dataset", "shapes_x"],
    "cells": ["--methods", "lora", "--dataset", "shapes_x"],
    "choose": ["--dataset", "shapes_x"],
    "cost": ["--methods", "lora"],
    "predict": ["--model", "m.safetensors", "x.png"],
    "train": ["--methods", "lora", "--dataset", "shapes_x", "--model", "m.safetensors"],
    "check-method": ["lora"],
    "report": ["--figure", "pareto"],
    "suite run": ["lora_rank"],
    "suite ledger": ["lora_rank"],
    "data preview": ["steel"],
    "data import": ["source"],
    "data check": ["folder"],
}


def _parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every parser, of actions of commands too, with the words that choose it."""
    for name in ("run", *COMMANDS):
        parser = command_module(name).parser()
        yield name, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from ((f"{name} {word}", part) for word, part in action.choices.items())


def _options() -> list[tuple[str, argparse.Action]]:
    return [(words, action) for words, parser in _parsers() for action in parser._actions]


def _name(action: argparse.Action) -> str:
    return action.option_strings[0] if action.option_strings else action.dest


NUMERIC = [
    (words, action)
    for words, action in _options()
    if isinstance(action.type, Number | NumbersInText)
]


def _wrong(action: argparse.Action) -> list[str]:
    """About a dozen wrong values of an option."""
    if isinstance(action.type, Number):
        bound = BOUNDS[action.type.name]
        below = f"{bound.low:g}" if bound.above else f"{bound.low - 1:g}"
        outside = [below, "-5", f"{bound.high * 10:.0f}", "1000000000000000000000000000000"]
        return [*NO_NUMBERS, *outside, *(["1.5"] if bound.kind is int else [])]
    option = _name(action)
    allows_zero = option in ("--levels", "--seeds", "--save-every", "--stall")
    numbers = ("-1e99", "-0.5x", *([] if allows_zero else ["0"]), *NO_NUMBERS)
    if option in ("--channels", "--crop"):
        return [*OUT_OF_BOUNDS[option], "٣" if option == "--channels" else "top=٣", "9" * 5000, ""]
    texts = (text.format(word) for text, word in itertools.product(TEXTS[option], numbers))
    return [text for text in texts if not text.strip().endswith(",")]  # "0," is the seed 0


@pytest.mark.parametrize(
    ("words", "action"), NUMERIC, ids=[f"{words} {_name(action)}" for words, action in NUMERIC]
)
def test_wrong_numbers_end_in_one_sentence(
    words: str,
    action: argparse.Action,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [] if words == "run" else words.split()
    for value in _wrong(action):
        option = _name(action)
        arguments = [*command, *START[words], f"{option}={value}"]
        assert main(arguments) == 2, (option, shorten(value))
        printed = capsys.readouterr()
        assert printed.out == "", (option, shorten(value))
        assert printed.err.startswith("error: "), (option, shorten(value))
        assert printed.err.count("\n") == 1, printed.err
        assert option.lstrip("-") in printed.err or "GPU" in printed.err or "memory" in printed.err
        assert len(printed.err) < 600, (option, shorten(value))
        assert not list(tmp_path.iterdir()), (option, shorten(value))


def test_no_option_is_forgotten() -> None:
    """An option of a plain number or of text says what numbers it takes, or that it has none."""
    bare = {_name(action) for _, action in _options() if action.type in (int, float)}
    text = {
        _name(action)
        for _, action in _options()
        if action.type is None and action.nargs != 0 and action.choices is None
    }
    assert not bare
    assert text <= WORDS
    assert {_name(action) for _, action in NUMERIC} - set(TEXTS) - {"--channels", "--crop"} == {
        _name(action) for _, action in NUMERIC if isinstance(action.type, Number)
    }


def test_numbers_of_a_network_have_bounds_of_their_own() -> None:
    """A network is built in memory before it is counted: no number of it may be huge."""
    names = {
        name
        for method in list_methods(built_in_only=True)
        for name, default in method.options.items()
        if type(default) is int
    }
    assert names - {"rank", "reduction"} <= set(BOUNDS)  # these two are checked by the layers


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_hold_in_text_and_in_python(name: str) -> None:
    bound = BOUNDS[name]
    for value in (bound.high, bound.low if not bound.above else bound.high / 2):
        number = bound.kind(value)
        check_number(name, number)
        assert read_number(name, f" {number!r} ") == number
    below = bound.low if bound.above else bound.low - max(1, abs(bound.low))
    for wrong in (below, bound.high * 2 + 1, float("nan"), float("inf"), True, "1", None, [1]):
        with pytest.raises(UserError, match=f"--{name} is .*: give a.* number"):
            check_number(name, wrong)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("lora[rank=1537]", "rank 1537 is too large for a layer of width 96: give 1,536 or less"),
        ("lora[rank=99999999]", "option 'rank' of lora is 99999999: give a number from"),
        ("lora[alpha=1e30]", "option 'alpha' of lora is 1e30: give a number from"),
        ("lora[alpha=inf]", "option 'alpha' of lora is inf"),
        ("lora[rank=٣]", "option 'rank' of lora must be a whole number, not '٣'"),
        ("unet[width=900000]", "option 'width' of unet is 900000: give a whole number from 0 to"),
        ("zero_shot[clicks=1001]", "option 'clicks' of zero_shot is 1001"),
        (f"lora[rank={'9' * 5000}]", "option 'rank' of lora is 9999"),
    ],
)
def test_options_of_methods_have_bounds(
    methods: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", "--methods", methods]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_ranks_of_published_ablations_are_allowed() -> None:
    assert get_method("lora").options["rank"] == 4
    assert main(["cost", "--methods", "lora[rank=1024]", "--image-size", "64"]) == 0
