"""Score stored predictions by the conventions of other projects."""

import argparse

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, read_path


def parser() -> argparse.ArgumentParser:
    """The parser of `conventions`."""
    parser = ArgumentParser(
        command="conventions",
        description="Score stored predictions as SAMed, finetune-SAM, Med-SA, SAM-Adapter and"
        " nnU-Net do, and show where the ranking of methods changes.",
    )
    add = AddOptions(parser)
    add("records RECORD  records, or results folders", nargs="+", type=read_path)
    add("--dataset NAME  only the records of this dataset")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print one table for each comparison; returns the exit code 0.

    Raises:
        UserError: there are no records, they are of several datasets or of a run that failed, or no
            stored predictions or images exist for them.
    """
    from bench.plugins.registry import load_collection
    from bench.report.conventions.scores import compare_conventions, find_records
    from bench.report.conventions.terminal import conventions_tables

    records, predictions = find_records(arguments.records, arguments.dataset)
    for table in conventions_tables(compare_conventions(records, predictions, load_collection)):
        console.print(table)
    return 0
