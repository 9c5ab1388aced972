"""Check that tables and figures match the records."""

import argparse
from pathlib import Path

from rich.console import Console

from bench.cli.parsing import ArgumentParser, plain
from bench.wording import counted


def parser() -> argparse.ArgumentParser:
    """The parser of `verify`."""
    parser = ArgumentParser(
        command="verify",
        description="Work out a results folder again, from its records and stored predictions, and"
        " name everything that differs.",
    )
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        type=Path,
        default=Path("results/reference"),
        help="[%(default)s]",
    )
    return parser


def run(asked: argparse.Namespace, console: Console) -> int:
    """Name what differs; 1 if anything does."""
    from bench.plugins.registry import load_collection
    from bench.verify import verify

    verdict = verify(asked.results, load_collection)
    compared = ", ".join(counted(count, what) for what, count in verdict.compared.items())
    console.print(f"compared: {compared}", soft_wrap=True)
    for reason in verdict.skipped:
        console.print(f"[dim]not compared: {plain(reason)}[/]", soft_wrap=True)
    for finding in verdict.findings:
        console.print(f"[red]{plain(finding.path)}[/]: {plain(finding.message)}", soft_wrap=True)
    count = len(verdict.findings)
    console.print("nothing differs" if not count else counted(count, "finding"))
    return 1 if count else 0
