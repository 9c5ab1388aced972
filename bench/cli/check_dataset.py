"""Check that a dataset keeps its contract."""

import argparse

from rich.console import Console

from bench.cli.check_method import show_outcomes
from bench.cli.parsing import AddOptions, ArgumentParser


def parser() -> argparse.ArgumentParser:
    """The parser of `check-dataset`."""
    parser = ArgumentParser(
        command="check-dataset",
        description="Check the contract of a dataset (datasets/README.md): names, groups, masks,"
        " classes, order. One line per promise; exit code 1 if one is broken.",
    )
    add = AddOptions(parser)
    add("name NAME  dataset, as in --list")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print one line per promise; returns the exit code, 1 if one is broken.

    Raises:
        UserError: no registered dataset has this name (a folder is none), or it cannot be loaded.
    """
    from bench.contract.datasets import check_dataset
    from bench.plugins.registry import get_dataset

    return show_outcomes(check_dataset(get_dataset(arguments.name)), console)
