"""The far side of a cluster: run one cell on the machine that it was sent to."""

import platform
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data.fingerprint import fingerprint
from bench.errors import UserError
from bench.files import file_sha256
from bench.plugins.registry import load_collection
from bench.run.cell import failure
from bench.run.event_log import EventLog
from bench.run.local import LocalExecutor
from bench.run.predictor import CostPredictor
from bench.run.process import start_server
from bench.run.record_images import selection_of
from bench.run.stop import ignored
from bench.run.store import Store
from bench.spec import Cell, Record

POLL_S = 60.0  # of a loop that only waits for the end of a cell


@dataclass(frozen=True)
class SentCell:
    """A cell with what its machine must know to run it.

    Attributes:
        cell: what to run; its dataset and weights must be on that machine, at the same path.
        device: "cpu" or "cuda".
        threads: CPU threads.
        limit_s: seconds after which it is stopped; None for no limit.
        stall_s: seconds without progress after which it is stopped; None for no limit.
        predict: predict memory and time for its record.
        fitted: as of `CostPredictor`.
    """

    cell: Cell
    device: str
    threads: int
    limit_s: float | None
    stall_s: float | None
    predict: bool
    fitted: bool

    def executor(self, store: Store) -> LocalExecutor:
        """What runs the cell on this machine."""
        predictor = CostPredictor(remembers=True, fitted=self.fitted) if self.predict else None
        limits = self.limit_s, predictor, self.stall_s
        return LocalExecutor((self.device,), self.threads, store, *limits)


def run_here(sent: SentCell, executor: LocalExecutor, store: Store) -> Record:
    """Run a cell on this machine, if it has the same images and weights; write its record.

    Args:
        sent: the cell.
        executor: of `SentCell.executor`; it is entered and left.
        store: an open results folder, that of the executor.

    Returns:
        The record; its `env` has the name of this machine as "node". It has the status failed if
        images or weights are missing here or differ.
    """
    ignore_preemption_signal()
    cell = sent.cell
    try:
        check_inputs(cell)
    except UserError as error:
        record = failure(cell, "failed", str(error), sent.device)
    else:
        record = _run(cell, executor, EventLog(store.folder))
    record = replace(record, env={**record.env, "node": platform.node()})
    store.write(record)
    return record


def _run(cell: Cell, executor: LocalExecutor, log: EventLog) -> Record:
    with executor:
        log.start_cell(cell, executor.start(cell))
        while True:
            for _, report in executor.wait(POLL_S):
                if isinstance(report, Record):
                    return report


def check_inputs(cell: Cell) -> None:
    """Check that the images and weights of a cell on this machine are those it was made for.

    Raises:
        UserError: they are missing, or their contents differ.
    """
    selection = selection_of(cell)
    for dataset, sha in ((cell.dataset, cell.dataset_sha), (cell.test_dataset, cell.test_sha)):
        if sha and fingerprint(load_collection(dataset, selection)) != sha:
            raise UserError(
                f"the images of {dataset} on {platform.node()} differ from those of the machine "
                "that sent the cell: copy the same files to both"
            )
    weights = Path(cell.task.weights)
    if cell.task.weights in ("pretrained", "random") or not cell.weights_sha:
        return
    if not weights.is_file():
        raise UserError(f"weights {weights} are not on {platform.node()}: copy the file there")
    if file_sha256(weights) != cell.weights_sha:
        raise UserError(
            f"weights {weights} on {platform.node()} differ from those of the machine that sent the"
            " cell: copy the same file to both"
        )


def ignore_preemption_signal() -> None:
    """Start the server of processes so that it, and they, ignore SIGUSR2.

    Slurm sends this signal to all processes of a job, but only the first one is to act on it.
    """
    with ignored(signal.SIGUSR2):
        start_server("bench.run.cell")
