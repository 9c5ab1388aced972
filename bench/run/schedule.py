"""The scheduler: run the cells of a grid that have no record yet.

Several runs may share one results folder on one machine: each cell is claimed before it runs, and
cells that another run holds are awaited. The scheduler prints nothing; it emits events.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.errors import UserError
from bench.run.events import (
    CellFinished,
    CellProgress,
    CellProgressed,
    CellStarted,
    Event,
    RunFinished,
    RunStarted,
    WaitingForOtherRun,
)
from bench.run.models import remove_worse_models, write_cards
from bench.run.process import ProcessDiedError, isolate, start_server
from bench.run.store import KEEP_RULES, Store
from bench.run.threads import choose_threads
from bench.spec import Cell, Record

LONGEST_S = 1_000_000  # largest time limit of a cell; the system's own limit is near
POLL_S = 1  # pause before claims of other runs are tried again

Emit = Callable[[Event], None]


@dataclass(frozen=True)
class RunSettings:
    """How cells are run; not part of their identity.

    Attributes:
        device: "auto" (CUDA where available), "cpu", "cuda" or "cuda:N".
        threads: CPU threads of each cell, 1 or more; None for the number that the records in the
            results folder have, and 1 in a new folder (`bench.run.threads`).
        timeout: seconds after which a cell is stopped, in (0, `LONGEST_S`]; None for no limit.
        retry: run cells again whose records have the status oom, diverged, timeout or unsupported.
            Cells with the status failed always run again, since the cause may be repaired.
        keep: which trained models are kept in the folder `models`: "none"; "best", of the cells
            that differ in seed and fold only the one with the highest Dice on its validation part;
            or "all".
    """

    device: str = "auto"
    threads: int | None = None
    timeout: float | None = None
    retry: bool = False
    keep: str = "best"

    def check(self) -> None:
        """Check all values but the device.

        Raises:
            UserError: `threads` or `timeout` is out of range, or `keep` is unknown.
        """
        if self.threads is not None and self.threads < 1:
            raise UserError(f"--threads is {self.threads}: give 1 or more")
        if self.keep not in KEEP_RULES:
            raise UserError(f"--keep cannot be '{self.keep}': give one of {', '.join(KEEP_RULES)}")
        if self.timeout is not None and not 0 < self.timeout <= LONGEST_S:
            raise UserError(f"--timeout is {self.timeout:g}: give seconds, up to {LONGEST_S}")

    def find_device(self) -> str:
        """The name of the torch device. Imports torch.

        Raises:
            UserError: the device is not available.
        """
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        available = ["cpu", *["cuda"][:count], *(f"cuda:{index}" for index in range(count))]
        if self.device == "auto":
            return "cuda" if count else "cpu"
        if self.device not in available:
            names = ", ".join(available)
            raise UserError(f"device '{self.device}' is not available: give auto, {names}")
        return self.device


def warm_up() -> None:
    """Start the server that forks the processes of cells; it imports torch in the background."""
    start_server("bench.run.cell")


def run_cells(
    cells: Sequence[Cell], store: Store, settings: RunSettings, emit: Emit
) -> tuple[Record, ...]:
    """Run each cell without a record, in a process of its own, and return the records of all cells.

    Cells with the status failed run again too, and with `retry` all that are not ok. Cells that
    another command runs in the same folder are awaited. Whatever happens to a cell, it has a record
    afterwards: a cell that dies or takes too long has one with the status failed or timeout. An
    interrupt (Ctrl-C) stops the running cell, which then has no new record, and is raised again;
    finished cells keep their records. With `keep="best"` worse models are removed after each cell;
    the model cards of the folder are written again at the end unless `keep` is "none".

    Args:
        cells: the grid, each cell once.
        store: an open results folder.
        settings: device and limits.
        emit: called in this process with each event; its errors are passed on, and no further cell
            runs.

    Returns:
        The records in the order in which the cells finished.

    Raises:
        UserError: the settings are out of range, the device is not available, the folder holds a
            file that is not a record, or a record cannot be written.
    """
    settings.check()
    store = replace(store, keep=settings.keep)
    device = settings.find_device()
    # An unreadable record stops the run now, not hours later.
    threads, note = choose_threads(settings.threads, cells, store.stream())
    settings = replace(settings, threads=threads)
    emit(RunStarted(tuple(cells), threads, note))
    records: list[Record] = []
    pending = list(cells)
    while pending:
        held = []  # by other runs
        for cell in pending:
            with store.claim(cell) as claimed:
                if not claimed:
                    held.append(cell)
                    continue
                finished = _finish(cell, store, device, settings, emit)
            records.append(finished.record)
            if finished.ran and settings.keep == "best":
                remove_worse_models(store.models)
            emit(finished)
        if len(held) == len(pending):
            emit(WaitingForOtherRun(tuple(held)))
            time.sleep(POLL_S)
        pending = held
    if settings.keep != "none":
        write_cards(store.models, store.stream())
    emit(RunFinished(tuple(records)))
    return tuple(records)


def _finish(
    cell: Cell, store: Store, device: str, settings: RunSettings, emit: Emit
) -> CellFinished:
    """Run a claimed cell, unless its record is to be kept."""
    record = store.read(cell)
    if record is not None and not _runs_again(record, settings.retry):
        return CellFinished(record, None)
    emit(CellStarted(cell))
    began = time.monotonic()
    record = _run_isolated(cell, store, device, settings, emit)
    return CellFinished(record, time.monotonic() - began)


def _runs_again(record: Record, retry: bool) -> bool:
    """Whether a cell with a record runs again; only `failed` may have an outside cause."""
    return record.status == "failed" or (retry and record.status != "ok")


def _run_isolated(
    cell: Cell, store: Store, device: str, settings: RunSettings, emit: Emit
) -> Record:
    """Run a cell in a process of its own; it has a record afterwards."""
    from bench.run.cell import failure, work  # imports torch

    def emit_progress(progress: CellProgress) -> None:
        emit(CellProgressed(cell, progress))

    threads, limit_s = settings.threads, settings.timeout
    assert threads is not None, "run_cells has chosen a number"
    try:
        isolate(work, cell, device, threads, store, on_event=emit_progress, limit_s=limit_s)
    except TimeoutError as error:
        store.write(failure(cell, "timeout", str(error), device))
    except ProcessDiedError as error:
        store.write(failure(cell, "failed", str(error), device))
    record = store.read(cell)
    assert record is not None, "a cell that ends without an error has written its record"
    return record
