"""The progress of reading many images, and files that mend a folder whose parts overlap."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.data.parallel import listening
from bench.errors import UserError

FIRST_S = 2.0  # what is read faster needs no bar
LINE_S = 30.0  # between two lines in a log


@contextmanager
def showing_reading(console: Console) -> Iterator[None]:
    """Inside this block, show a bar of what is read; in a log, a line at least every 30 s.

    Args:
        console: to print on.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TimeRemainingColumn,
    )

    began, last = time.monotonic(), time.monotonic()
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    tasks: dict[str, TaskID] = {}
    starts: dict[str, float] = {}

    def listen(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if not done:
            starts[what] = now
        if not console.is_terminal:
            long = now - starts.get(what, began) >= LINE_S
            if (done and now - last >= LINE_S) or (done == total and long):
                of_all = f" of {total}" if total else ""
                console.print(f"{what}: {done}{of_all}", soft_wrap=True)
                last = now
        elif now - began >= FIRST_S or what in tasks:
            if what not in tasks:
                bar.start()
                tasks[what] = bar.add_task(what, total=total or None)
            bar.update(tasks[what], completed=done, total=total or None)

    try:
        with listening(listen):
            yield
    finally:
        bar.stop()


@contextmanager
def proposing_groups(out: Path) -> Iterator[None]:
    """Where images of different parts stop the block, write all pairs and a proposal, and say so.

    Args:
        out: results folder; the files are in `overlaps/NAME` of it.

    Raises:
        UserError: images of different parts overlap; the message names the files.
    """
    from bench.data.leakage.gate import LeakageError
    from bench.data.leakage.proposal import write_proposal

    try:
        yield
    except LeakageError as error:
        files = write_proposal(error, out / "overlaps" / error.collection.name)
        proposed = [f"'{files[name]}'" for name in ("groups", "split") if name in files]
        message = f"{error}; all pairs are in '{files['pairs']}'"
        if proposed:
            several = "these files" if len(proposed) > 1 else "this file"
            lost = error.collection.official and "split" not in files
            also = ", remove its split file," if lost else ""
            message += (
                f"; to keep overlapping images together, copy {several} into the folder of the"
                f" images{also} and run again: {', '.join(proposed)}"
            )
        raise UserError(message) from error
