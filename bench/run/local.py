"""Run cells on this machine, side by side, each in a process of its own."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from bench.plugins.drawn import Drawn, drawn_so_far, keep_drawn
from bench.run.device_memory import available_bytes, fit_together
from bench.run.events import (
    CellProgress,
    CostPredicted,
    PhaseStarted,
    TrainingProgress,
    WorkDone,
)
from bench.run.executor import Place, Report
from bench.run.memory_words import explain
from bench.run.process import (
    ChildProcess,
    Ended,
    ProcessDiedError,
    StalledError,
    isolate,
    receive,
)
from bench.run.store import Store
from bench.run.threads import usable_cores
from bench.spec import Cell, Record

if TYPE_CHECKING:
    from bench.run.predictor import CostPredictor

SEARCH_S = 120  # most seconds that the search for a smaller training takes
PATIENCE_S = 20  # for processes that are asked to end
BYTES_PER_JOB = 2**30  # that must be free for one more cell at a time, where no number is given


def choose_places(
    devices: Sequence[str], jobs: int | None, threads: int, cells: int
) -> tuple[str, ...]:
    """The device of each cell that runs at a time.

    Args:
        devices: names of torch devices, at least one.
        jobs: number of places. None: one on each GPU; on a CPU, as many as share out its cores
            with `threads` for each, and as there is memory for (`BYTES_PER_JOB`).
        threads: CPU threads of each cell.
        cells: how many there are; there are no more places, but at least one.
    """
    if jobs is None:
        jobs = len(devices)
        if devices == ("cpu",):
            free = available_bytes("cpu")
            most = cells if free is None else free // BYTES_PER_JOB
            jobs = min(usable_cores() // threads, most)
    jobs = max(1, min(jobs, cells))
    return tuple(devices[number % len(devices)] for number in range(jobs))


def work_when_admitted(
    cell: Cell,
    device: str,
    threads: int,
    store: Store,
    say: Callable[[CellProgress], None],
    predictor: "CostPredictor | None",
    jobs: int,
    gate: "Connection[Any, Any] | None",
    drawn: Drawn,
) -> None:
    """Run a cell as `bench.run.cell.work` does; the body of a process of `LocalExecutor`.

    Args:
        cell: what to run.
        device: name of a torch device.
        threads: number of CPU threads.
        store: an open results folder.
        say: called with each event of progress.
        predictor: of the cells so far; None for no predictions.
        jobs: number of places.
        gate: once the memory is predicted, the cell waits until something comes out of it. None:
            the cell does not wait.
        drawn: images that need not be drawn again.
    """
    from bench.run.cell import work

    keep_drawn(drawn)

    def say_and_wait(progress: CellProgress) -> None:
        say(progress)
        if gate is not None and isinstance(progress, CostPredicted):
            gate.recv()

    work(cell, device, threads, store, say_and_wait, predictor, jobs)


@dataclass
class _Running:
    """A cell that runs.

    Attributes:
        cell: the cell.
        device: where.
        child: its process.
        admit: lets the cell go on after its prediction; None once it may.
        prediction: the last one; None before.
        last: what it did last, in words.
    """

    cell: Cell
    device: str
    child: ChildProcess
    admit: "Connection[Any, Any] | None"
    prediction: CostPredicted | None = None
    last: str = "starting"


class LocalExecutor:
    """Runs each cell in a process on a device of this machine.

    Two cells share a device only if their predicted memory fits into what was free on it before the
    first of them. A cell whose memory cannot be predicted does not share its device.

    Args:
        places: of `choose_places`.
        threads: CPU threads of each cell.
        store: an open results folder.
        limit_s: seconds after which a cell is stopped, without the time that it waits for memory;
            None for no limit.
        predictor: of memory and time; None: nothing is predicted, nothing is kept apart.
        stall_s: seconds without progress after which a cell is stopped; None for no limit.
    """

    def __init__(
        self,
        places: Sequence[str],
        threads: int,
        store: Store,
        limit_s: float | None,
        predictor: "CostPredictor | None",
        stall_s: float | None = None,
    ) -> None:
        self.jobs = len(places)
        self._places = Counter(places)
        self._threads, self._store, self._limit_s = threads, store, limit_s
        self._predictor, self._stall_s = predictor, stall_s
        self._running: dict[ChildProcess, _Running] = {}
        self._peaks: dict[str, int | None] = {}  # a cell's settings to its predicted peak

    def __enter__(self) -> "LocalExecutor":
        """Ask for the free memory of devices with several places."""
        if self._predictor is not None:
            free = {name: free_bytes(name) for name, count in self._places.items() if count > 1}
            known = {name: size for name, size in free.items() if size is not None}
            self._predictor = replace(self._predictor, free=known)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the cells that still run."""
        self.stop()

    def stop(self) -> None:
        """Ask the processes to end, and kill those that do not in time."""
        ends = time.monotonic() + PATIENCE_S
        for child in self._running:
            child.terminate(0)
        for child in self._running:
            child.terminate(max(0.0, ends - time.monotonic()))
            child.kill()
        self._running.clear()

    def choose(self, cells: Sequence[Cell]) -> Cell | None:
        """The first cell for which a place is free, on a device that has memory for it."""
        return next((cell for cell in cells if self._device_for(cell) is not None), None)

    def start(self, cell: Cell) -> Place:
        """Start the process of a cell."""
        device = self._device_for(cell)
        assert device is not None, "choose returned the cell"
        admit = gate = None
        if self._predictor is not None and device in self._predictor.free:
            gate, admit = multiprocessing.Pipe(duplex=False)
        body = partial(
            work_when_admitted,
            predictor=self._predictor,
            jobs=self.jobs,
            gate=gate,
            drawn=drawn_so_far((cell.dataset, cell.test_dataset)),
        )
        arguments = (cell, device, self._threads, self._store)
        child = ChildProcess(body, *arguments, limit_s=self._limit_s, stall_s=self._stall_s)
        if gate is not None:
            gate.close()
        self._running[child] = _Running(cell, device, child, admit)
        return Place.here(device, child.pid)

    def wait(self, timeout_s: float) -> list[Report]:
        """As in `Executor`."""
        reports: list[Report] = []
        for child, event in receive(list(self._running), timeout_s):
            running = self._running[child]
            if isinstance(event, Ended):
                del self._running[child]
                child.kill()
                self._admit_waiting()
                reports.append((running.cell, self._record(running, event)))
                continue
            running.last = _describe(event, running.cell) or running.last
            if isinstance(event, WorkDone):
                continue
            if isinstance(event, CostPredicted):
                self._take_in(running, event)
            reports.append((running.cell, event))
        return reports

    def _device_for(self, cell: Cell) -> str | None:
        used = Counter(running.device for running in self._running.values())
        peak = self._peaks.get(_settings(cell), 0)  # unknown: it waits after its prediction
        for device, count in self._places.items():
            if used[device] < count and self._has_room(device, peak):
                return device
        return None

    def _has_room(self, device: str, peak: int | None) -> bool:
        """Whether a peak fits next to those that run on a device; one alone always does."""
        free = self._predictor.free.get(device) if self._predictor is not None else None
        others = [
            self._peaks.get(_settings(running.cell), 0)
            for running in self._running.values()
            if running.device == device and running.admit is None
        ]
        if free is None or not others:
            return True
        peaks = [size for size in (peak, *others) if size is not None]
        return len(peaks) > len(others) and fit_together(device, peaks, free)

    def _take_in(self, running: _Running, prediction: CostPredicted) -> None:
        """Keep a prediction for the cells to come, and let its cell go on if there is room."""
        assert self._predictor is not None, "nothing predicts without one"
        if prediction.predictor is not None:
            self._predictor.learn(prediction.predictor)
        self._peaks[_settings(running.cell)] = prediction.predicted.run_peak_bytes
        running.prediction = prediction
        if running.admit is not None:
            running.child.stop_clock()
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        """Let cells go on for which there is room now, in the order in which they started."""
        for running in self._running.values():
            if running.admit is None or running.prediction is None:
                continue
            if self._has_room(running.device, running.prediction.predicted.run_peak_bytes):
                running.child.start_clock()
                with suppress(BrokenPipeError):  # it has died, which it tells by itself
                    running.admit.send(None)
                running.admit.close()
                running.admit = None

    def _record(self, running: _Running, ended: Ended) -> Record:
        """The record of a cell that has ended; a failure of its process is written first."""
        from bench.run.cell import failure  # imports torch

        cell, device, error = running.cell, running.device, ended.error
        if error is not None:
            status: Any = "timeout" if isinstance(error, TimeoutError) else "failed"
            stalled, reason = isinstance(error, StalledError), str(error)
            if stalled:
                reason = f"{error} (last: {running.last}); --stall sets this limit"
            elif status == "timeout":
                self._store.remove_training(cell)  # the others continue when they run again
            self._store.write(failure(cell, status, reason, device))
        record = self._store.read(cell)
        assert record is not None, "a cell that ends without an error has written its record"
        if running.prediction is not None and record.status != "ok":
            killed = isinstance(error, ProcessDiedError) and error.killed
            record = _with_prediction(record, running.prediction, device, killed)
            self._store.write(record)
        return record


def _describe(event: CellProgress, cell: Cell) -> str:
    """What a cell did last, for a cell that does nothing more; "" for other events."""
    match event:
        case PhaseStarted(phase):
            return f"phase {phase}"
        case TrainingProgress(step):
            return f"step {step} of {cell.recipe.steps}"
        case WorkDone(what, done, total):
            return f"{what}, {done} of {total}" if total else f"{what}, {done}"
    return ""


def free_bytes(device: str) -> int | None:
    """As `available_bytes`, for a process that must not use the CUDA device itself."""
    if not device.startswith("cuda"):
        return available_bytes(device)
    sizes: list[int | None] = []
    isolate(send_available_bytes, device, on_event=sizes.append)
    return sizes[0]


def send_available_bytes(device: str, send: Callable[[int | None], None]) -> None:
    """Send the result of `available_bytes`; the body of a process."""
    send(available_bytes(device))


def _settings(cell: Cell) -> str:
    """What the predicted memory of a cell depends on, and its dataset."""
    return replace(cell, seed=0, fold=0).id


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
