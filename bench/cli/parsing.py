"""What the parsers of all commands have in common."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from rich_argparse import RawDescriptionRichHelpFormatter

from bench.errors import UserError


class Help(RawDescriptionRichHelpFormatter):
    """Help as it is written: brackets are no markup, headings keep their case."""

    help_markup = False
    text_markup = False
    group_name_formatter = str


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose complaints end like every other one: one sentence and exit code 2."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, formatter_class=Help, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise what the user is told."""
        raise UserError(f"{message} (--help shows how to ask)")


def add_out(parser: Any) -> None:
    """The option for the results folder."""
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=Path("results/local"),
        help="results folder [%(default)s]",
    )


def plain(text: object) -> str:
    """Text that rich shows as it is, brackets included."""
    from rich.markup import escape

    return escape(str(text))
