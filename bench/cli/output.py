"""Output to terminals, files and pipes that may not take everything."""

import os
import sys
from typing import Any

from rich.console import Console


class Output(Console):
    """A console whose reader may go away: what is being done then goes on, without output.

    `| head -1` closes the pipe after one line. A run has work to finish, and its results are in
    files, so it does not end there.
    """

    def on_broken_pipe(self) -> None:
        """Print nothing more."""
        self.quiet = True
        discard_output()


def discard_output() -> None:
    """Let what is still printed go nowhere, so that the end of the process does not fail on it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None after `>&-`
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
        except ValueError:  # it is closed: nothing can be printed to it
            continue
    os.close(nowhere)


def take_any_text() -> None:
    """Print what the encoding of the terminal does not have, such as ± in ASCII, as escapes."""
    stream: Any
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
