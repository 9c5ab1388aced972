"""Copy the records of several results folders into one."""

import argparse
import os

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, plain, read_path
from bench.wording import counted, program_name


def parser() -> argparse.ArgumentParser:
    """The parser of `merge`."""
    parser = ArgumentParser(
        command="merge",
        description="Copy records, class maps and models of several results folders into one. The"
        " same record is copied once; if two records of one cell differ, nothing is written."
        " Repeat an interrupted merge to finish it.",
    )
    add = AddOptions(parser)
    add("folders FOLDER  results folders; not changed", nargs="+", type=read_path)
    add(
        "--out FOLDER  results folder to copy into; what is in it stays",
        type=read_path,
        required=True,
    )
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Merge the folders and print what was copied; returns the exit code 0.

    Raises:
        UserError: as `merge_folders`.
    """
    from bench.run.merge import merge_folders

    merged = merge_folders(arguments.folders, arguments.out)
    os.sync()  # the sources may be deleted now
    for card in merged.cards_as_they_were:
        reason = "its method is not on this machine"
        console.print(f"[dim]note: {plain(card)} was not written again: {reason}[/]")
    words = (
        counted(merged.records, "record"),
        f"{merged.new_records} new",
        f"{counted(merged.new_files, 'other file')} new",
    )
    console.print(plain(f"{', '.join(words)}: {arguments.out}"), soft_wrap=True)
    console.print(
        plain(f"tables and plots: {program_name()} report --out {arguments.out}"), soft_wrap=True
    )
    return 0
