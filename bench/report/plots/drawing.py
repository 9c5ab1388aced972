"""Draw figures, many of them in several processes."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bench.errors import UserError
from bench.report.compare.comparison import Comparison
from bench.report.plots.style import Series, release, save, style
from bench.report.records.rows import Row

FEWEST = 12  # figures for which fresh processes are started: each needs seconds for its imports
FEWEST_FORKED = 2  # figures for which this process is forked


Draw = Callable[..., Figure | None]  # subject, looks and perhaps a `Sheet` to a figure


@dataclass(frozen=True)
class Drawing:
    """A figure that may have to be drawn.

    Attributes:
        slug: of the table, or of what several tables share.
        kind: such as "pareto".
        draw: function of a module that draws `subject` with `looks`; None for nothing to show.
        subject: what is drawn, a `Comparison` or several.
        looks: look of each row.
        contents: all that it shows, as JSON can hold it, for the cache.
    """

    slug: str
    kind: str
    draw: Draw
    subject: Any
    looks: Mapping[Row, Series]
    contents: Any = None

    @property
    def name(self) -> str:
        """The name of its files, without suffix."""
        return f"{self.slug}_{self.kind}"

    def write(self, folder: Path) -> list[Path]:
        """Draw it and write its files; there are none if there is nothing to show.

        Raises:
            UserError: a file cannot be written.
        """
        with style():
            figure = self.draw(self.subject, self.looks)
            files = [] if figure is None else save(figure, folder / self.name)
        release(figure)
        return files


def draw_all(
    drawings: Sequence[Drawing], folder: Path, pause: Callable[[], None], processes: int
) -> Iterator[tuple[Drawing, list[Path]]]:
    """Draw figures, and yield each with its files as soon as it is there.

    Args:
        drawings: the figures.
        folder: of the files.
        pause: called before each figure that this process draws.
        processes: that draw comparisons at a time, if there are at least `FEWEST` figures of
            comparisons, or `FEWEST_FORKED` where this process can be forked; 1 to draw all in this
            process.

    Raises:
        UserError: a file cannot be written, or a process was stopped.
    """
    here: list[Drawing] = []
    apart: list[Drawing] = []
    for drawing in drawings:
        (apart if isinstance(drawing.subject, Comparison) else here).append(drawing)
    if processes == 1 or len(apart) < (FEWEST_FORKED if _can_fork() else FEWEST):
        here, apart = list(drawings), []
    if apart:
        yield from _draw_apart(apart, folder, processes)
    for drawing in here:
        pause()
        yield drawing, drawing.write(folder)


def _can_fork() -> bool:
    """Whether a copy of this process works: it has one thread, and libraries without their own."""
    alone = threading.active_count() == 1 and "torch" not in sys.modules
    return sys.platform == "linux" and alone


def _draw_apart(
    drawings: Sequence[Drawing], folder: Path, processes: int
) -> Iterator[tuple[Drawing, list[Path]]]:
    """Draw figures of comparisons in other processes; of many, those of one in the same."""
    parts: dict[str, list[Drawing]] = {}
    for drawing in drawings:
        many = len(drawings) >= FEWEST
        parts.setdefault(drawing.subject.slug if many else drawing.name, []).append(drawing)
    # The largest come first, so that no process is left with one at the end.
    ordered = sorted(parts.values(), key=lambda part: -len(part[0].subject.rows))
    pool = ProcessPoolExecutor(
        min(processes, len(ordered)),
        mp_context=multiprocessing.get_context("fork" if _can_fork() else "spawn"),
        initializer=_begin,
    )
    try:
        running: dict[Future[list[list[Path]]], list[Drawing]] = {}
        while ordered or running:
            while ordered and len(running) < 2 * processes:  # each has a copy of its records
                part = ordered.pop(0)
                running[pool.submit(_write_all, _alone(part), folder)] = part
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield from zip(running.pop(future), future.result(), strict=True)
    except BrokenProcessPool as error:
        raise UserError(
            "a process that drew figures was stopped, perhaps because the memory was full: run"
            " `report` again, finished figures are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(drawings: Sequence[Drawing]) -> list[Drawing]:
    """Figures of one comparison, without the records and rows of others."""
    whole: Comparison = drawings[0].subject
    own, looks = whole.alone(), drawings[0].looks
    of_rows = {row: looks[old] for row, old in zip(own.rows, whole.rows, strict=True)}
    return [replace(one, subject=own, looks=of_rows, contents=None) for one in drawings]


def _write_all(drawings: Sequence[Drawing], folder: Path) -> list[list[Path]]:
    return [drawing.write(folder) for drawing in drawings]


def _begin() -> None:
    """Leave Ctrl-C to the process that started this one, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a process of a pool"

    def end_with_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
