"""Check that tables and figures match the records."""

import argparse
from pathlib import Path

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, plain, plain_line, read_path
from bench.wording import counted


def parser() -> argparse.ArgumentParser:
    """The parser of `verify`."""
    parser = ArgumentParser(
        command="verify",
        description="Check that tables and figures match the records: compute them again from the"
        " records and stored predictions, and list each difference.",
    )
    add = AddOptions(parser)
    add(
        "--results FOLDER  results folder [%(default)s]",
        type=read_path,
        default=Path("results/reference"),
    )
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """List the differences, and what was not compared; returns 1 if there are differences, else 0.

    Raises:
        UserError, UnsupportedError: as `bench.verify.verify`; the results folder has no records.
    """
    from bench.plugins.registry import load_collection
    from bench.verify import verify

    verdict = verify(arguments.results, load_collection)
    compared = ", ".join(counted(count, what) for what, count in verdict.compared.items())
    console.print(f"compared: {compared}", soft_wrap=True)
    for reason in verdict.skipped:
        console.print(f"[dim]not compared: {plain(reason)}[/]", soft_wrap=True)
    for finding in verdict.findings:
        message = plain_line(finding.message)
        console.print(f"[red]{plain_line(finding.path)}[/]: {message}", soft_wrap=True)
    count = len(verdict.findings)
    console.print("nothing differs" if not count else counted(count, "finding"))
    return 1 if count else 0
