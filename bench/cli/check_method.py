"""Check that a method keeps its contract."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, plain

if TYPE_CHECKING:
    from bench.contract.promise import Outcome


def parser() -> argparse.ArgumentParser:
    """The parser of `check-method`."""
    parser = ArgumentParser(
        command="check-method",
        description="Check the contract of a method (methods/README.md) on random weights and"
        " noise, in about a minute: shape of the logits, gradients, frozen parameters, seeds,"
        " options, saving, and one tiny run. One line per promise; exit code 1 if one is broken.",
    )
    add = AddOptions(parser)
    add("name NAME  method, as in --list")
    add("--backbone NAME  [%(default)s]", default="sam_nano")
    add("--image-size PX  side of the images [%(default)s]", default=64)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print one line per promise; returns the exit code, 1 if one is broken.

    If no model can be built, the promises after this one are not checked.

    Raises:
        UserError: the method or backbone is unknown.
    """
    from bench.contract.methods import check_method
    from bench.plugins.registry import get_method
    from bench.sam.backbone import get_backbone
    from bench.spec import Task

    get_backbone(arguments.backbone)
    method = get_method(arguments.name)
    task = Task(3, arguments.image_size, arguments.backbone, "random")
    return show_outcomes(check_method(method, task), console)


def show_outcomes(outcomes: "Iterable[Outcome]", console: Console) -> int:
    """Print each result as soon as it is known; returns the exit code, 1 if a promise is broken.

    Errors of `outcomes` are passed on.
    """
    broken = 0
    for outcome in outcomes:
        if outcome.failure is None:
            console.print(f"[green]ok[/]      {plain(outcome.promise)}", soft_wrap=True)
        else:
            broken += 1
            failure = plain(outcome.failure)
            console.print(f"[red]broken[/]  {plain(outcome.promise)}: {failure}", soft_wrap=True)
    return 1 if broken else 0
