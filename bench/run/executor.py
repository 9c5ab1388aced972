"""What the scheduler asks of the place where cells run: this machine, or others."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.run.events import CellProgress
from bench.spec import Cell, Record

Report = tuple[Cell, CellProgress | Record]  # a record is the end of its cell


@dataclass(frozen=True)
class Place:
    """Where a cell runs.

    Attributes:
        device: name of a torch device; for a cell that was sent to a cluster, the name of the
            executor.
        pid: number of its process on the host; None if it is not known here.
        host: name of the machine.
    """

    device: str
    pid: int | None = None
    host: str = ""

    @classmethod
    def here(cls, device: str, pid: int | None) -> "Place":
        """A place on this machine."""
        return cls(device, pid, platform.node())


class Executor(Protocol):
    """Runs cells, several at a time. Use it in a `with` block, which stops what still runs.

    Attributes:
        jobs: the largest number of cells at a time.
    """

    jobs: int

    def __enter__(self) -> "Executor":
        """Get ready."""

    def __exit__(self, *error: object) -> None:
        """Stop the cells that still run; there are none unless the block raised an error."""

    def choose(self, cells: Sequence[Cell]) -> Cell | None:
        """The first of the cells that could start now; None while no place is free for any.

        Args:
            cells: that wait, at least one.
        """

    def start(self, cell: Cell) -> Place:
        """Start a cell that `choose` returned; returns where."""

    def wait(self, timeout_s: float) -> Sequence[Report]:
        """Reports of running cells, in the order in which they came.

        Whatever happens to a cell, it ends with a record, which is in the results folder by then.

        Args:
            timeout_s: longest wait for the first of them; none may have come by then.
        """
