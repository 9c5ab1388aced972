"""What the parsers of all commands have in common."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from rich_argparse import RawDescriptionRichHelpFormatter

from bench.cli.numbers import Number
from bench.errors import UserError
from bench.plugins.folders import add_plugin_folder
from bench.wording import program_name

NUMBERS = ("N", "K", "S", "X", "PX")  # names of values


class Help(RawDescriptionRichHelpFormatter):
    """Help as it is written: brackets are no markup, headings keep their case."""

    help_markup = False
    text_markup = False
    group_name_formatter = str


class _AddPlugins(argparse.Action):
    """Add a plugin folder to the environment, where look-ups and cells' processes find it."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        add_plugin_folder(Path(values))


class ArgumentParser(argparse.ArgumentParser):
    """A parser that reports errors as `UserError`: one sentence and exit code 2.

    It has the option `--plugins`, which adds a folder to the environment of this process.

    Args:
        command: word after the program's name; "" for the main command, None for a parser that
            argparse makes itself, with the `prog` of its parent.
        settings: of `argparse.ArgumentParser`.
    """

    def __init__(self, command: str | None = None, **settings: Any) -> None:
        if command is not None:
            settings["prog"] = f"{program_name()} {command}".strip()
        super().__init__(**settings, formatter_class=Help, allow_abbrev=False)
        self.add_argument(
            "--plugins",
            metavar="FOLDER",
            action=_AddPlugins,
            default=argparse.SUPPRESS,
            help="folder with methods/*.py or datasets/*.py of your own; may be repeated"
            " [$SAM_BENCH_PLUGINS]",
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but `--option=--`, which argparse reads as no value, is an error."""
        for word in sys.argv[1:] if args is None else args:
            if re.fullmatch("--[a-z-]+=--", word):
                self.error(f"{word[:-3]} is '--': give a value")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise a UserError instead of printing the usage and exiting."""
        message = re.sub("^argument [^:]+: (?=--)", "", message)  # the option is named once
        raise UserError(f"{message}; see {self.prog} --help")


def read_path(text: str) -> Path:
    """The `type` of an option that is a path; ArgumentTypeError if it is empty.

    An empty path would silently mean the working folder.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty: give a file or a folder")
    return Path(text)


class AddOptions:
    """Adds options to a parser, or to a group of its options, each by a line as `--help` shows it.

    Args:
        group: the parser or group.
    """

    def __init__(self, group: Any) -> None:
        self._group = group

    def __call__(self, line: str, **settings: Any) -> None:
        """Add an option, or a positional argument.

        Args:
            line: "--jobs N  cells that run at a time": names of the option and of its value, two
                spaces, and the help. Without a value it is a switch; a value called as one of
                `NUMBERS` is a number, whose bounds are those of the option's name.
            settings: of `argparse.ArgumentParser.add_argument`; they have precedence.
        """
        words, _, text = line.partition("  ")
        names = [word for word in words.split() if word.startswith("-")] or words.split()[:1]
        value = words.split()[len(names) :]
        if value:
            settings["metavar"] = value[0]
        elif names[0].startswith("-") and not {"action", "type", "choices"} & settings.keys():
            settings["action"] = "store_true"
        if value and value[0] in NUMBERS:
            settings.setdefault("type", Number(names[0].lstrip("-")))
        if text:
            settings["help"] = text
        self._group.add_argument(*names, **settings)


def add_out(add: AddOptions) -> None:
    """Add the option `--out`, the results folder."""
    out = Path("results/local")
    add("--out FOLDER  results folder [%(default)s]", type=read_path, default=out)


def plain(text: object) -> str:
    """Text that rich shows as it is, brackets included; control characters as escapes.

    A name of a file could otherwise change the colours or the title of the terminal, or the
    direction in which the rest of its line is shown.
    """
    from rich.markup import escape

    control = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
    shown = re.sub(control, lambda m: ascii(m[0])[1:-1], str(text))
    return escape(shown)


def plain_line(text: object) -> str:
    """As `plain`, with line breaks as escapes: text with names of files stays in its line."""
    return plain(re.sub(r"[\t\n]", lambda m: {"\t": "\\t", "\n": "\\n"}[m[0]], str(text)))
