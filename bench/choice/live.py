"""Hold a race: run the cells that the policy asks for, until it is decided or the time is up."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.choice.arms import Arm
from bench.choice.criterion import Criterion
from bench.choice.race import Measured
from bench.choice.verdict import Decision, decide
from bench.run.events import CellFinished, CellProgressed, Event
from bench.run.schedule import Emit, RunSettings, run_cells
from bench.run.store import Store
from bench.spec import Cell, Record

RESERVE = 0.05  # share of the time that is kept for the verdict, the figure and the page


class TimeIsUp(Exception):  # noqa: N818 - no error: the command goes on with its verdict
    """The time of the command is up; raised out of the scheduler, which stops the running cell."""


@dataclass
class Clock:
    """The time of a command, and the durations of its cells.

    Attributes:
        limit: seconds; None for no limit.
        now: the clock, in seconds.
        began: when the command began.
        operations: id of a cell to the operations of its training; 0 or missing if not known.
    """

    limit: float | None
    now: Callable[[], float] = time.monotonic
    operations: Mapping[str, float] = field(default_factory=dict)
    began: float = field(init=False)
    _done: list[tuple[Cell, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.now()

    @property
    def ends(self) -> float | None:
        """Seconds after which no cell runs; None for no limit."""
        return None if self.limit is None else (1 - RESERVE) * self.limit

    @property
    def elapsed(self) -> float:
        """Seconds since the command began."""
        return self.now() - self.began

    def watch(self, event: Event) -> None:
        """Take an event in.

        Raises:
            TimeIsUp: the time is over.
        """
        if isinstance(event, CellFinished) and event.seconds is not None:
            self._done.append((event.record.cell, event.seconds))
        if isinstance(event, CellProgressed) and self.ends is not None and self.elapsed > self.ends:
            raise TimeIsUp

    def has_time_for(self, cell: Cell) -> bool:
        """Whether a cell that starts now is likely to end in time."""
        return self.ends is None or self.elapsed + self.expected(cell) <= self.ends

    @contextmanager
    def alarm(self) -> Iterator[None]:
        """Raise TimeIsUp in the body when the time is over, whatever it waits for.

        Only the main thread can have an alarm; elsewhere the events of a cell have to do.
        """
        if self.ends is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(*_: object) -> None:
            raise TimeIsUp

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(0.001, self.ends - self.elapsed))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def expected(self, cell: Cell) -> float:
        """The seconds that a cell is likely to take; 0 before any cell has run.

        The mean of the cells of the same method; else the largest duration so far of a cell with
        no fewer operations; else the longest so far.
        """
        same = [s for other, s in self._done if _method(other) == _method(cell)]
        if same:
            return sum(same) / len(same)
        own = self.operations.get(cell.id, 0.0)
        larger = [s for other, s in self._done if self.operations.get(other.id, 0.0) >= own > 0]
        every = [seconds for _, seconds in self._done]
        return min(larger) if larger else max(every, default=0.0)


def _method(cell: Cell) -> tuple[str, str, int]:
    return cell.label, cell.task.backbone, cell.recipe.steps


def hold(
    arms: Sequence[Arm],
    store: Store,
    settings: RunSettings,
    comebacks: Mapping[str, float],
    criterion: Criterion,
    limits: Measured,
    clock: Clock,
    emit: Emit,
) -> Decision:
    """Run what the policy asks for; the records are in the store, so a killed race goes on.

    Cells with a record of status "failed" run once more in each command, as in other runs; with
    `settings.retry` all that are not "ok".

    Args:
        arms: the methods, in the order in which they should run.
        store: an open results folder.
        settings: how cells run.
        comebacks: of `bench.choice.comebacks.quantiles`.
        criterion: what methods are compared by.
        limits: on measured values.
        clock: stops the race when the time is up.
        emit: called with each event.

    Returns:
        The last decision. It has next cells if the time is up.

    Raises:
        UserError: as `bench.run.schedule.run_cells`.
    """
    again = {
        record.cell.id
        for record in _records(arms, store)
        if record.status == "failed" or (settings.retry and record.status != "ok")
    }

    def watch(event: Event) -> None:
        clock.watch(event)
        if isinstance(event, CellFinished):
            again.discard(event.record.cell.id)
        emit(event)

    while True:
        records = [record for record in _records(arms, store) if record.cell.id not in again]
        decision = decide(arms, records, comebacks, criterion, limits)
        if not decision.next_cells:
            return decision
        try:
            with clock.alarm():
                done = run_cells(decision.next_cells, store, settings, watch, clock.has_time_for)
                if len(done) == len(decision.next_cells):
                    continue
        except TimeIsUp:
            pass
        return decide(arms, _records(arms, store), comebacks, criterion, limits)


def _records(arms: Sequence[Arm], store: Store) -> list[Record]:
    records = (store.read(cell) for arm in arms for cell in arm.cells)
    return [record for record in records if record is not None]
