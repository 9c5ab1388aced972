"""The command line: arguments in, progress and tables out. The only package that prints.

Each command is a module with a `parser` and a `run`. Heavy imports stay inside functions, so that
`--help` answers at once.
"""

import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from bench.cli.output import Output, discard_output, take_any_text
from bench.cli.parsing import plain
from bench.errors import UserError, shorten
from bench.files import is_text, quote
from bench.plugins.folders import plugin_folders
from bench.run.stop import CODES, StopRequested, StopSignals
from bench.wording import PROJECT, project_address, project_version

CLOSED_PIPE = 141  # exit code of a process that SIGPIPE ends
LONGEST_WORD = 100_000  # bytes of an argument; a list of names may be long

# The main job has no word of its own.
COMMANDS = (
    *("suite", "report", "verify", "guard", "conventions", "cost", "backbones", "weights", "data"),
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
        Other errors are bugs: they are passed on with a note.

    Raises:
        SystemExit: after `--help`, `--version` or `--print-completion`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    take_any_text()
    console = Output(highlight=False, soft_wrap=False)
    errors = Output(stderr=True, highlight=False, soft_wrap=True)
    name = words.pop(0) if words[:1] and words[0] in COMMANDS else "run"
    command = command_module(name)
    _silence_readers()
    try:
        _check_words(words)
        plugin_folders()  # a wrong $SAM_BENCH_PLUGINS is an error, even where no plugin is used
        with StopSignals():
            exit_code = _run(command, words, console)
    except KeyboardInterrupt:
        _say_last(errors, "stopped; what is done is kept: run the same command again to go on")
        return 130
    except StopRequested as stop:
        text = "what is done is kept: run the same command again to go on"
        _say_last(errors, f"stopped by {stop.signal.name}; {text}")
        return CODES[stop.signal]
    except BrokenPipeError:  # of a plain `print`: its reader has seen enough
        discard_output()
        return CLOSED_PIPE
    except Exception as error:
        sentence = _sentence_of(error)
        if sentence is None:
            error.add_note(
                f"This is a bug of {PROJECT} {project_version()}, not a mistake of yours: please"
                f" report it to {project_address()} with the command and the lines above."
            )
            raise
        _say_last(errors, f"[bold red]error:[/] {plain(_one_line(sentence))}")
        return 2
    return exit_code


def _run(command: Any, words: Sequence[str], console: Output) -> int:
    """Run a command, and print all of its output now: at the exit nobody could report an error."""
    try:
        exit_code: int = command.run(command.parser().parse_args(words), console)
    except SystemExit:  # of --help and the like
        _flush_output()
        raise
    _flush_output()
    return exit_code


def _say_last(errors: Output, text: str) -> None:
    """Print why the command ends, if anything can still be printed."""
    with suppress(OSError):  # /dev/full is an output that takes nothing
        errors.print(text)
    discard_output()


def _flush_output() -> None:
    if sys.stdout is not None:  # as after `>&-`
        sys.stdout.flush()


def _one_line(sentence: str) -> str:
    """The sentence without line breaks, as names of files may have, and with its long words cut."""
    line = " ".join(sentence.splitlines())
    return re.sub(r"\S{400,}", lambda match: shorten(match[0]), line)


def _sentence_of(error: Exception) -> str | None:
    """What a user can mend, in one sentence; None for a bug."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        reason = str(error) or "no reason is known"
        return f"the memory is not enough ({reason}): give smaller images or batches"
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # of pathlib
        return f"cannot use a link that leads to itself ({error}): give another path"
    if isinstance(error, RuntimeError) and str(error).startswith("Could not determine home"):
        return "cannot use a path that begins with ~ (no such home folder): give the whole path"
    if isinstance(error, OSError) and error.errno is not None:
        what = "a file or the output" if error.filename is None else quote(str(error.filename))
        return f"cannot use {what} ({error.strerror}): check the path, its rights and the disk"
    return None


def _check_words(words: Sequence[str]) -> None:
    """Refuse words that no path, name or number can have.

    Raises:
        UserError: a word has a NUL character, or is not UTF-8.
    """
    for word in words:
        if "\0" in word or not is_text(word):
            reason = "a NUL character" if "\0" in word else "bytes that are not UTF-8"
            raise UserError(f"the argument {shorten(ascii(word))} has {reason}: give other text")
        value = word.partition("=")[2] if word.startswith("--") else word
        if len(os.fsencode(value)) > LONGEST_WORD:
            raise UserError(f"the argument {shorten(ascii(word))} is too long: give shorter text")


def _silence_readers() -> None:
    """Keep what libraries print about damaged files off the terminal; our sentence names them.

    Likewise what Matplotlib prints where it cannot keep a list of fonts, which costs time only.
    """
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    for module in ("PIL", "tifffile"):
        warnings.filterwarnings("ignore", module=rf"{module}(\..*)?$")
