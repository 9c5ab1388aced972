"""Which methods run on which backbones."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, plain

if TYPE_CHECKING:
    from bench.cost.families import Pair


def parser() -> argparse.ArgumentParser:
    """The parser of `backbones`."""
    parser = ArgumentParser(
        command="backbones",
        description="Show which methods run on which backbones: each pair is built without data or"
        " weights. Where a method does not run, the reason is below the table.",
    )
    add = AddOptions(parser)
    add("names NAME  backbones [the smallest of each family]", nargs="*")
    add("--methods LIST  comma-separated [all]", default="")
    form = AddOptions(parser.add_mutually_exclusive_group())
    form("--markdown  print the table as Markdown")
    form("--json  print the pairs as JSON")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the table; returns the exit code 0.

    Raises:
        UserError: a method or backbone is unknown.
    """
    from bench.cost.families import smallest_of_families, try_pairs
    from bench.plugins.registry import get_method, list_methods
    from bench.sam.backbone import get_backbone, list_backbones

    names = [name.strip() for name in arguments.methods.split(",") if name.strip()]
    methods = [get_method(name) for name in names] if names else list_methods(built_in_only=True)
    chosen = [get_backbone(name) for name in arguments.names]
    pairs = try_pairs(methods, chosen or smallest_of_families(list_backbones()))
    if arguments.json:
        print(json.dumps([asdict(pair) for pair in pairs], indent=1))
    elif arguments.markdown:
        print("\n".join(markdown(pairs)))
    else:
        _show(pairs, console)
    return 0


def markdown(pairs: "Sequence[Pair]") -> list[str]:
    """Lines of a Markdown table of pairs, and of the reasons below it."""
    rows, reasons = _table(pairs)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return [*lines, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))]


def _table(pairs: "Sequence[Pair]") -> tuple[list[list[str]], list[str]]:
    """The rows, the first with the names of the backbones, and the reasons that they number."""
    backbones = list(dict.fromkeys(pair.backbone for pair in pairs))
    reasons = list(dict.fromkeys(pair.refusal for pair in pairs if pair.refusal))
    words = {
        (pair.method, pair.backbone): f"no ({reasons.index(pair.refusal) + 1})"
        if pair.refusal
        else f"{pair.trainable:,}"
        for pair in pairs
    }
    methods = dict.fromkeys(pair.method for pair in pairs)
    rows = [[method, *(words[method, name] for name in backbones)] for method in methods]
    return [["method", *backbones], *rows], reasons


def _show(pairs: "Sequence[Pair]", console: Console) -> None:
    """Print as many tables, one below the other, as names and numbers need to be whole."""
    from rich.table import Table

    rows, reasons = _table(pairs)
    for number, places in enumerate(_sheets(rows, console.width)):
        table = Table(title="Trainable parameters" if number == 0 else None)
        for place in places:
            name = plain(rows[0][place])
            table.add_column(name, no_wrap=True, justify="right" if place else "left")
        for row in rows[1:]:
            table.add_row(*(plain(row[place]) for place in places))
        console.print(table)
    for number, reason in enumerate(reasons, 1):
        console.print(plain(f"({number}) {reason}"), soft_wrap=True)


def _sheets(rows: list[list[str]], width: int) -> list[list[int]]:
    """Positions of the columns of each table; each begins with that of the methods."""
    widths = [3 + max(map(len, column)) for column in zip(*rows, strict=True)]
    sheets: list[list[int]] = [[0]]
    room = width - 1 - widths[0]
    left = room
    for place, needed in enumerate(widths[1:], 1):
        if needed > left and len(sheets[-1]) > 1:
            sheets.append([0])
            left = room
        sheets[-1].append(place)
        left -= needed
    return sheets
