"""The command line: arguments in, progress and tables out. The only package that prints.

Each command is a module with a `parser` and a `run`. Heavy imports stay inside functions, so that
`--help` answers at once.
"""

import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from bench.cli.parsing import plain
from bench.errors import UserError
from bench.plugins.folders import plugin_folders
from bench.run.stop import CODES, StopRequested, StopSignals

# The main job has no word of its own.
COMMANDS = (
    *("suite", "report", "verify", "guard", "conventions", "cost", "weights", "data"),
    *("choose", "models", "train", "predict", "export"),
    *("merge", "compare", "cells", "status"),
    *("check-method", "check-dataset"),
)

_OTHER_MODULES = {"cells": "grid_cells"}  # command to its module, where the names differ


def command_module(name: str) -> Any:
    """The module of a command, with its functions `parser` and `run`.

    Args:
        name: one of `COMMANDS`, or "run" for the main command.
    """
    module = _OTHER_MODULES.get(name, name.replace("-", "_"))
    return importlib.import_module(f"bench.cli.{module}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after the name of the program; None for those of this process.

    Returns:
        The exit code: 0 if all is well, 1 if a cell is not "ok", an image could not be predicted or
        a check found something, 2 for a UserError (its sentence is printed), 130 after Ctrl-C, 143
        after SIGTERM, and 75 ("try again later") after SIGUSR1, which Slurm sends if it is told to.
        Other errors are passed on.

    Raises:
        SystemExit: after `--help`, `--version` or `--print-completion`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(highlight=False, soft_wrap=False)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    name = words.pop(0) if words[:1] and words[0] in COMMANDS else "run"
    command = command_module(name)
    # tifffile prints what is wrong with a damaged file before it raises; our sentence names it.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        plugin_folders()  # a wrong $SAM_BENCH_PLUGINS is an error, even where no plugin is used
        with StopSignals():
            exit_code: int = command.run(command.parser().parse_args(words), console)
    except UserError as error:
        errors.print(f"[bold red]error:[/] {plain(error)}")
        return 2
    except KeyboardInterrupt:
        errors.print("stopped; what is done is kept: run the same command again to go on")
        return 130
    except StopRequested as stop:
        errors.print(
            f"stopped by {stop.signal.name}; what is done is kept: run the same command again to go"
            " on"
        )
        return CODES[stop.signal]
    return exit_code
