"""Say what is read of a folder or dataset: the command `data check` for what is not downloaded."""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.numbers import NumbersInText
from bench.cli.parsing import AddOptions, plain_line

if TYPE_CHECKING:
    from bench.data.facts import CollectionFacts


def add_selection_options(add: AddOptions) -> None:
    """Add `--channels` and `--crop`."""
    add(
        "--channels LIST  channels to read as red, green and blue (or one as grey), by number"
        " from 0 or name, as 0,2,1 or DAPI [the first three]",
        type=NumbersInText("bench.data.selection:Selection.parse", None),
    )
    add(
        "--crop EDGES  pixels to cut off, as bottom=60 or top=10,bottom=60; masks of the size"
        " that is left stay as they are",
        type=NumbersInText(_read_crop),
    )


def _read_crop(text: str) -> None:
    from bench.data.selection import Selection

    Selection.parse(None, text)


def check_folders(names: list[str], arguments: argparse.Namespace, console: Console) -> None:
    """Print what is read of datasets and folders.

    Args:
        names: registered names, or paths of folders.
        arguments: with `channels` and `crop`.
        console: to print on.

    Raises:
        UserError: one cannot be read.
    """
    from bench.data.facts import CollectionFacts
    from bench.data.selection import Selection
    from bench.plugins.registry import load_collection

    selection = Selection.parse(arguments.channels, arguments.crop)
    for name in names:
        show_facts(CollectionFacts.of(load_collection(name, selection)), console)


def show_facts(facts: "CollectionFacts", console: Console) -> None:
    """Print all facts about a collection, what was assumed, and what is left out."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=plain_line(facts.name), box=None, show_header=False, title_justify="left")
    for fact, text in facts.rows():
        table.add_row(fact, plain_line(text))
    console.print(table)
    classes = Table("Class", "Share of labelled pixels", "Images", box=SIMPLE_HEAD)
    for one in facts.classes:
        classes.add_row(plain_line(one.name), f"{one.share:.3%}", str(one.images))
    console.print(classes)
    for title, lines in (("assumed", facts.assumed), ("left out", facts.left_out)):
        for line in lines or ["nothing"]:
            console.print(plain_line(f"{title}: {line}"), soft_wrap=True)
