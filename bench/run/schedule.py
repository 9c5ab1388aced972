"""The scheduler: run the cells of a grid that have no record yet.

Several runs may share one results folder on one machine: each cell is claimed before it runs, and
cells that another run holds are awaited. The scheduler prints nothing; it emits events.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.run.events import (
    CellFinished,
    CellProgress,
    CellProgressed,
    CellStarted,
    CostPredicted,
    Event,
    RunFinished,
    RunStarted,
    WaitingForOtherRun,
)
from bench.run.memory_words import explain
from bench.run.models import remove_worse_models, write_cards
from bench.run.process import ProcessDiedError, isolate, start_server
from bench.run.store import KEEP_RULES, Store
from bench.run.threads import choose_threads
from bench.spec import Cell, Record

if TYPE_CHECKING:
    from bench.run.predictor import CostPredictor

LONGEST_S = 1_000_000  # largest time limit of a cell; the system's own limit is near
SEARCH_S = 120  # most seconds that the search for a smaller training takes
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
        predict: predict the memory and time of each cell before its training, for its record.
        fit_memory: the cells are those of `bench.run.fit_memory.fit_memory`, which must be called
            before; their records say so.
    """

    device: str = "auto"
    threads: int | None = None
    timeout: float | None = None
    retry: bool = False
    keep: str = "best"
    predict: bool = True
    fit_memory: bool = False

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
    predictor = _new_predictor(settings)
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
                finished, predictor = _finish(cell, store, device, settings, emit, predictor)
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


def _new_predictor(settings: RunSettings) -> "CostPredictor | None":
    from bench.run.predictor import CostPredictor  # imports torch

    return CostPredictor(fitted=settings.fit_memory) if settings.predict else None


def _finish(
    cell: Cell,
    store: Store,
    device: str,
    settings: RunSettings,
    emit: Emit,
    predictor: "CostPredictor | None",
) -> "tuple[CellFinished, CostPredictor | None]":
    """Run a claimed cell, unless its record is to be kept; also return what has been predicted."""
    record = store.read(cell)
    if record is not None and not _runs_again(record, settings.retry):
        return CellFinished(record, None), predictor
    emit(CellStarted(cell))
    began = time.monotonic()
    record, prediction = _run_isolated(cell, store, device, settings, emit, predictor)
    if prediction is not None:
        predictor = prediction.predictor
    return CellFinished(record, time.monotonic() - began), predictor


def _runs_again(record: Record, retry: bool) -> bool:
    """Whether a cell with a record runs again; only `failed` may have an outside cause."""
    return record.status == "failed" or (retry and record.status != "ok")


def _run_isolated(
    cell: Cell,
    store: Store,
    device: str,
    settings: RunSettings,
    emit: Emit,
    predictor: "CostPredictor | None",
) -> tuple[Record, CostPredicted | None]:
    """Run a cell in a process of its own; it has a record afterwards, which is returned.

    Also return the prediction of the cell, if there is one.
    """
    from bench.run.cell import failure, work  # imports torch

    prediction: CostPredicted | None = None

    def emit_progress(progress: CellProgress) -> None:
        nonlocal prediction
        if isinstance(progress, CostPredicted):
            prediction = progress
        emit(CellProgressed(cell, progress))

    threads, limit_s, killed = settings.threads, settings.timeout, False
    assert threads is not None, "run_cells has chosen a number"
    body = partial(work, predictor=predictor)
    try:
        isolate(body, cell, device, threads, store, on_event=emit_progress, limit_s=limit_s)
    except TimeoutError as error:
        store.write(failure(cell, "timeout", str(error), device))
    except ProcessDiedError as error:
        killed = error.killed
        store.write(failure(cell, "failed", str(error), device))
    record = store.read(cell)
    assert record is not None, "a cell that ends without an error has written its record"
    if prediction is not None and record.status != "ok":
        record = _with_prediction(record, prediction, device, killed)
        store.write(record)
    return record, prediction


def _with_prediction(
    record: Record, prediction: CostPredicted, device: str, killed: bool
) -> Record:
    """The record of a failure with its prediction, and where memory ran out, with a way out."""
    from bench.run.predictor import send_smaller_change

    predicted = prediction.predicted
    if record.status != "oom" and not killed:
        return replace(record, predicted=predicted)
    smaller: list[str | None] = []
    if record.status == "oom" and predicted.fits == "fits":
        plain = replace(prediction, predictor=None)
        body = partial(send_smaller_change, record.cell, plain, device)
        try:
            isolate(body, on_event=smaller.append, limit_s=SEARCH_S)
        except (TimeoutError, ProcessDiedError):
            smaller.append(None)  # the failure is recorded without a way out
    return explain(record, predicted, *smaller)
