"""Write the report of a results folder while its cells run."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.run.events import CellFinished, Event
from bench.run.speed_lock import SpeedLock

if TYPE_CHECKING:
    from bench.run.store import Store


class RunReport:
    """Writes the report of a results folder after cells, in a thread of its own.

    Cells that end while it writes share the next report. It gives way to cells that measure a
    speed. Use it in a `with` block; on leaving, a report that is being written is completed, after
    an error or an interrupt it is not awaited.

    Args:
        store: an open results folder.
        when: one of `bench.cli.cells.REPORTS`. "each": after each cell that ran. "end": tables and
            `index.md` after the first of them, if the folder has no `index.md` yet; the report at
            the end is for the caller. "none": never.
        say: called in the thread with a sentence if a report cannot be written; no other follows.
    """

    def __init__(self, store: "Store", when: str, say: Callable[[str], None]) -> None:
        self._store, self._when, self._say = store, when, say
        self._wanted, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write_reports, daemon=True)

    def __enter__(self) -> "RunReport":
        if self._when == "none":
            self._ended.set()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the thread."""
        self._ended.set()
        self._wanted.set()
        if error is None:
            self._thread.join()

    def update(self, event: Event) -> None:
        """Take an event in; returns at once."""
        if isinstance(event, CellFinished) and event.ran:
            self._wanted.set()

    def _write_reports(self) -> None:
        while not self._ended.is_set():
            self._wanted.wait()
            self._wanted.clear()
            if self._ended.is_set():
                return  # the caller writes the last report
            early = self._when == "end"
            if early and (self._store.folder / "index.md").exists():
                return
            try:
                write_between_cells(self._store, figures=not early)
            except (UserError, OSError, ValueError) as error:
                self._say(f"no report was written after this cell: {error}")
                return
            if early:
                return


def write_between_cells(store: "Store", *, figures: bool) -> None:
    """Write the report while cells may be running; nothing is printed.

    Args:
        store: the results folder; it has a record.
        figures: also draw the figures, otherwise only tables and `index.md` are written.

    Raises:
        UserError: a record cannot be read, or a file cannot be written.
        OSError, ValueError: as `bench.report.overview.write_report`.
    """
    from bench.cli.report_pictures import Pictures
    from bench.plugins.registry import load_collection
    from bench.report.compare.comparison import make_comparisons
    from bench.report.overview import write_overview, write_report
    from bench.report.records.digests import RecordDigests
    from bench.report.records.frame import to_frame
    from bench.run.record_images import NamedImages, RecordImages

    with SpeedLock() as lock:
        digests = RecordDigests()
        frame = to_frame(digests.note(store.stream()))
        comparisons = make_comparisons(frame)
        lock.give_way()
        if not figures:
            write_overview(frame, comparisons, store.folder)
            return
        pictures = Pictures(NamedImages(frame["cell"], RecordImages(load_collection)))
        write_report(frame, comparisons, store.folder, pictures, lock.give_way, digests)
