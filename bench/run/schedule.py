"""The scheduler: run the cells of a grid that have no record yet.

Several runs may share one results folder on one machine: each cell is claimed before it runs, and
cells that another run holds are awaited. The scheduler prints nothing; it emits events.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from bench.errors import UserError, check_number
from bench.run.claims import Refresher
from bench.run.durations import read_seconds
from bench.run.event_log import EventLog
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
from bench.run.executor import Executor
from bench.run.models import remove_worse_models, write_cards
from bench.run.process import start_server
from bench.run.shard import shard_of
from bench.run.store import KEEP_RULES, Store
from bench.run.threads import choose_threads
from bench.run.trackers import Trackers, read_trackers
from bench.spec import Cell, Record

EXECUTORS = ("local", "slurm", "ray")
POLL_S = 1.0  # longest pause before claims of other runs are tried again

Emit = Callable[[Event], None]


@dataclass(frozen=True)
class RunSettings:
    """How cells are run; not part of their identity.

    Attributes:
        device: where cells run: "cpu", "cuda", "cuda:N", or several of the last, separated by
            commas; "all" for all CUDA devices, or the CPU if there are none; "auto" is the same.
        jobs: cells that run at a time, 1 or more, spread over the devices. None: one on each CUDA
            device; on the CPU as many as its cores suffice for, with `threads` for each cell.
        executor: where cells run: one of `EXECUTORS`; "slurm" and "ray" send them to the machines
            of a cluster.
        slurm: options of sbatch, as "partition=gpu,time=120", for the executor "slurm".
        shard: run only a part of the grid, see `bench.run.shard`; "" for all of it. Callers of
            `run_cells` apply it.
        threads: CPU threads of each cell, 1 or more; None for the number that the records in the
            results folder have, and 1 in a new folder (`bench.run.threads`).
        timeout: seconds after which a cell is stopped, in (0, 1,000,000]; None for no limit.
        stall: time without progress after which a cell is stopped, as "90s", "30min" or "1h"; "0"
            for never.
        retry: run cells again whose records have the status oom, diverged, timeout or unsupported.
            Cells with the status failed always run again, since the cause may be repaired.
        keep: which trained models are kept in the folder `models`: "none"; "best", of the cells
            that differ in seed and fold only the one with the highest Dice on its validation part;
            or "all".
        save_every: how often a cell saves the state of its training, as "90s", "5min" or "1h"; "0"
            for never. A cell that was killed or stopped continues from the state.
        predict: predict the memory and time of each cell before its training, for its record.
        log: trackers that get curves and scores, separated by commas: "tensorboard", "wandb",
            "mlflow" (`bench.run.trackers`). Every run also writes `bench.run.event_log`.
        fit_memory: the cells are those of `bench.run.fit_memory.fit_memory`, which must be called
            before; their records say so.
    """

    device: str = "auto"
    jobs: int | None = None
    executor: str = "local"
    slurm: str = ""
    shard: str = ""
    threads: int | None = None
    timeout: float | None = None
    stall: str = "30min"
    retry: bool = False
    keep: str = "best"
    save_every: str = "5min"
    predict: bool = True
    log: str = ""
    fit_memory: bool = False

    def check(self) -> None:
        """Check all values but the device.

        Raises:
            UserError: `jobs`, `threads`, `timeout`, `stall` or `save_every` is out of range, or
                `keep` is unknown.
        """
        for name in ("jobs", "threads", "timeout"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value)
        if self.executor not in EXECUTORS:
            names = ", ".join(EXECUTORS)
            raise UserError(f"--executor cannot be '{self.executor}': give one of {names}")
        if self.slurm and self.executor != "slurm":
            raise UserError("--slurm has options of Slurm: give --executor slurm as well")
        shard_of((), self.shard)
        read_trackers(self.log)
        if self.keep not in KEEP_RULES:
            raise UserError(f"--keep cannot be '{self.keep}': give one of {', '.join(KEEP_RULES)}")
        read_seconds(self.save_every, "--save-every")
        read_seconds(self.stall, "--stall")

    def find_device(self) -> str:
        """The name of the first of `find_devices`."""
        return self.find_devices()[0]

    def find_devices(self) -> tuple[str, ...]:
        """The names of the torch devices, each once. Imports torch.

        Raises:
            UserError: a device is not available, or the CPU is to be used next to CUDA devices.
        """
        if self.executor != "local":
            return (self.check_far_device(),)
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        numbered = [f"cuda:{index}" for index in range(count)]
        available = ["cpu", *["cuda"][:count], *numbered]
        if self.device in ("auto", "all"):
            return tuple(numbered if count > 1 else available[1:2] or available[:1])
        names = tuple(dict.fromkeys(name.strip() for name in self.device.split(",")))
        for name in names:
            if name not in available:
                listed = ", ".join(available)
                raise UserError(f"device '{name}' is not available: give all, {listed}")
        if len(names) > 1 and not {*names} <= {*numbered}:
            raise UserError(f"--devices is {self.device}: give one device, or several as cuda:N")
        return names

    def check_far_device(self) -> str:
        """The kind of device that a cell gets on a machine of a cluster: "cpu" or "cuda".

        Raises:
            UserError: it is neither, since this machine cannot know what the others have.
        """
        if self.device not in ("cpu", "cuda"):
            raise UserError(
                f"--devices is {self.device}: with --executor {self.executor} give cpu or cuda"
            )
        return self.device


def warm_up() -> None:
    """Start the server that forks the processes of cells; it imports torch in the background."""
    start_server("bench.run.cell")


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    settings: RunSettings,
    emit: Emit,
    may_start: Callable[[Cell], bool] = lambda cell: True,
) -> tuple[Record, ...]:
    """Run each cell without a record, in a process of its own, and return the records of the cells.

    As many cells run at a time as the settings say; the next one starts where a place is free.
    Cells with the status failed run again too, and with `retry` all that are not ok. Cells that
    another command runs in the same folder are awaited. Whatever happens to a cell, it has a record
    afterwards: a cell that dies or takes too long has one with the status failed or timeout. An
    interrupt (Ctrl-C) stops the running cells, which then have no new record, and is raised again,
    and so is `bench.run.stop.StopRequested`; they save the state of their training first, and
    finished cells keep their records. With `keep="best"` worse models are removed after each cell;
    the model cards of the folder are written again at the end unless `keep` is "none".

    Args:
        cells: the grid, each cell once.
        store: an open results folder.
        settings: devices, number of cells at a time, and limits.
        emit: called in this process with each event; its errors are passed on, the running cells
            are stopped, and no further cell runs.
        may_start: called once for each cell that would run now; if it returns False, the cell is
            left out, while others go on.

    Returns:
        The records in the order in which the cells finished, without cells that were left out.

    Raises:
        UserError: the settings are out of range, a device is not available, the folder holds a
            file that is not a record, or a record cannot be written.
    """
    settings.check()
    save_s = read_seconds(settings.save_every, "--save-every")
    store = replace(store, keep=settings.keep, save_s=save_s)
    store.remove_leftovers()
    # An unreadable record stops the run now, not hours later.
    threads, note = choose_threads(settings.threads, cells, store.stream())
    settings = replace(settings, threads=threads)
    log = EventLog(store.folder)
    trackers = Trackers(settings.log, store.folder, log)

    def emit_and_log(event: Event) -> None:
        log.update(event)
        trackers.update(event)
        emit(event)

    queue = _Queue(cells, store, settings.retry, may_start, emit_and_log)
    executor = _open(settings, cells, len(queue.waiting), store)
    log.start_run(len(cells), [cell.id for cell in queue.waiting], executor.jobs, threads)
    emit(RunStarted(tuple(cells), threads, note, executor.jobs))
    queue.report_done()
    with log, trackers, queue, executor:
        while queue.waiting or queue.running:
            queue.refresh_claims()
            _start_cells(queue, executor, log)
            if queue.running:
                for cell, report in executor.wait(POLL_S):
                    queue.take_in(cell, report, settings.keep == "best")
            elif queue.waiting:
                emit(WaitingForOtherRun(tuple(queue.waiting)))
                time.sleep(POLL_S)
    if settings.keep != "none":
        write_cards(store.models, store.stream())
    emit_and_log(RunFinished(tuple(queue.records)))
    return tuple(queue.records)


def _open(settings: RunSettings, cells: Sequence[Cell], to_do: int, store: Store) -> Executor:
    """What runs the cells; imports torch."""
    from bench.run.local import LocalExecutor, choose_places
    from bench.run.predictor import CostPredictor

    threads, limit_s, fitted = settings.threads, settings.timeout, settings.fit_memory
    stall_s = read_seconds(settings.stall, "--stall") or None
    assert threads is not None, "run_cells has chosen a number"
    if settings.executor == "local" or not to_do:
        places = choose_places(settings.find_devices(), settings.jobs, threads, to_do)
        predictor = CostPredictor(remembers=True, fitted=fitted) if settings.predict else None
        return LocalExecutor(places, threads, store, limit_s, predictor, stall_s)
    from bench.run.far_side import SentCell

    device = settings.check_far_device()
    template = SentCell(cells[0], device, threads, limit_s, stall_s, settings.predict, fitted)
    if settings.executor == "ray":
        from bench.run.ray_cluster import RayExecutor

        return RayExecutor(store, template, settings.jobs, to_do)
    from bench.run.slurm import SlurmExecutor, read_options

    return SlurmExecutor(store, template, settings.jobs, read_options(settings.slurm))


def _start_cells(queue: "_Queue", executor: Executor, log: EventLog) -> None:
    """Start cells while places are free, in the order of the queue; skip those of other runs."""
    candidates = list(queue.waiting)
    while candidates and (cell := executor.choose(candidates)) is not None:
        candidates.remove(cell)
        if queue.take_out(cell):
            queue.emit(CellStarted(cell))
            log.start_cell(cell, executor.start(cell))


class _Queue:
    """The cells of a run: those that wait, those that run, and the records of the others.

    In a `with` block, which releases the claims of cells that run.

    Attributes:
        waiting: have no record yet, or run again; some may be claimed by another run.
        running: id of a cell that runs to when it started.
        records: of the others, in the order in which they finished.
        emit: called with each event.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        store: Store,
        retry: bool,
        may_start: Callable[[Cell], bool],
        emit: Emit,
    ) -> None:
        self.running: dict[str, float] = {}
        self.records: list[Record] = []
        self.emit = emit
        self._store, self._retry, self._may_start = store, retry, may_start
        self._claims: dict[str, ExitStack] = {}
        self._refresher = Refresher(store.claims)
        records = ((cell, self._kept(cell)) for cell in cells)
        self._done = {cell.id: record for cell, record in records if record is not None}
        self.waiting = [cell for cell in cells if cell.id not in self._done]

    def __enter__(self) -> "_Queue":
        return self

    def __exit__(self, *error: object) -> None:
        for claim in self._claims.values():
            claim.close()

    def report_done(self) -> None:
        """Emit the end of the cells that had a record to begin with."""
        saved = self._store.saved_trainings()
        for record in self._done.values():
            if record.status == "ok" and record.cell.id in saved:
                self._store.remove_training(record.cell)  # killed just before it would be removed
            self._finish(CellFinished(record, None))

    def refresh_claims(self) -> None:
        """Keep the claims of the running cells fresh."""
        self._refresher.refresh(self._claims)

    def take_out(self, cell: Cell) -> bool:
        """Claim a waiting cell that is to start now; whether it starts."""
        with ExitStack() as claim:
            if not claim.enter_context(self._store.claim(cell)):
                return False
            self.waiting.remove(cell)
            record = self._kept(cell)  # another run may have ended it
            if record is not None:
                self._finish(CellFinished(record, None))
                return False
            if not self._may_start(cell):
                return False
            self._claims[cell.id] = claim.pop_all()
        self.running[cell.id] = time.monotonic()
        return True

    def take_in(self, cell: Cell, report: CellProgress | Record, best_only: bool) -> None:
        """Emit what a running cell reports; at its end, release its claim."""
        if not isinstance(report, Record):
            self.emit(CellProgressed(cell, report))
            return
        seconds = time.monotonic() - self.running.pop(cell.id)
        self._claims.pop(cell.id).close()
        if best_only:
            remove_worse_models(self._store.models)
        self._finish(CellFinished(report, seconds))

    def _finish(self, event: CellFinished) -> None:
        self.records.append(event.record)
        self.emit(event)

    def _kept(self, cell: Cell) -> Record | None:
        """The record of a cell, unless it has none or runs again."""
        record = self._store.read(cell)
        return None if record is None or runs_again(record, self._retry) else record


def runs_again(record: Record, retry: bool) -> bool:
    """Whether a cell with a record runs again; only `failed` may have an outside cause."""
    return record.status == "failed" or (retry and record.status != "ok")
