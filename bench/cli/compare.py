"""Compare two results folders: before and after a change, or mine and theirs."""

import argparse
import json

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, plain, read_path


def parser() -> argparse.ArgumentParser:
    """The parser of `compare`."""
    parser = ArgumentParser(
        command="compare",
        description="Compare the scores of two results folders. Runs are paired by what was"
        " requested, also where versions of the code give them other ids.",
    )
    add = AddOptions(parser)
    add("before BEFORE  results folder", type=read_path)
    add("after AFTER  results folder", type=read_path)
    add(
        "--metric NAME  dice, iou, boundary_iou, hd95, pq, aji, ap, s_alpha, e_phi_mean,"
        " weighted_f, mae or ber [%(default)s]",
        default="dice",
    )
    add("--all  show all rows of the table")
    add("--json  an object instead of a table")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the comparison as a table with notes, or as JSON; returns the exit code 0.

    Raises:
        UserError: there is no such metric, a folder has no records, or a file is not a record.
    """
    from bench.report.compare.before_after import compare_records, get_metric
    from bench.report.tables.before_after import (
        SHOWN_ROWS,
        before_after_notes,
        before_after_table,
    )
    from bench.run.folders import find_records, stream_records

    column = get_metric(arguments.metric)
    earlier, later = (find_records([one]) for one in (arguments.before, arguments.after))
    comparison = compare_records(stream_records(earlier), stream_records(later), column)
    if arguments.json:
        print(json.dumps(comparison.to_dict(), indent=1, allow_nan=False))
        return 0
    most = len(comparison.rows) if arguments.all else SHOWN_ROWS
    if comparison.rows:
        console.print(before_after_table(comparison, most))
    for note in before_after_notes(comparison, most):
        console.print(plain(note), soft_wrap=True)
    return 0
