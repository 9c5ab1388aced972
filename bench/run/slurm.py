"""Run cells as jobs of Slurm, by submitit; the results folder is on a disk that all nodes share."""

import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import write_atomic
from bench.run.cell import failure
from bench.run.device_memory import CPU_EXTRA_BYTES, CPU_FACTOR
from bench.run.events import PhaseStarted
from bench.run.executor import Place, Report
from bench.run.far_side import SentCell, run_here
from bench.run.local import LocalExecutor
from bench.run.predictor import CostPredictor
from bench.run.store import Store
from bench.run.training_sizes import TrainingSizes
from bench.spec import Cell, Record, Status

MOST_JOBS = 500  # in the queue of Slurm at a time; each keeps a file of this process open
REQUEUES = 100  # of a job that reaches its time limit
PROCESS_BYTES = 2**30  # Python, PyTorch and images, in addition to the predicted peak
TIME_FACTOR, OTHER_MIN = 2.0, 15  # of the longest predicted training; minutes for everything else
_STATUS: dict[str, Status] = {"OUT_OF_MEMORY": "oom", "TIMEOUT": "timeout"}


class SlurmCell:
    """The work of a job: one cell.

    Args:
        sent: the cell.
        store: an open results folder that this machine and that of the job share.
    """

    def __init__(self, sent: SentCell, store: Store) -> None:
        self.sent, self.store = sent, store
        self._executor: LocalExecutor | None = None

    def __call__(self) -> str:
        """Run the cell, write its record, and return the id of the cell."""
        self._executor = self.sent.executor(self.store)
        return run_here(self.sent, self._executor, self.store).cell.id

    def checkpoint(self) -> Any:
        """What the job does when it is started again; called at its time limit or pre-emption.

        The process of the cell is asked to end first, so that it may save its training.
        """
        from submitit.helpers import DelayedSubmission

        if self._executor is not None:
            self._executor.stop()
        return DelayedSubmission(SlurmCell(self.sent, self.store))


class SlurmExecutor:
    """Submits cells with equal requirements as arrays of jobs, and waits for their records.

    Jobs of an earlier command that was killed are taken over. An error stops the jobs.

    Args:
        store: an open results folder.
        template: settings of the cells, with any cell.
        jobs: number of cells in Slurm's queue at a time; None for `MOST_JOBS`.
        options: of sbatch, as submitit names them ("partition", "time", "account", ...); others
            are passed on as they are.

    Raises:
        UserError: submitit is not installed, or the command sbatch is not found.
    """

    def __init__(
        self, store: Store, template: SentCell, jobs: int | None, options: Mapping[str, str]
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise UserError(
                "--executor slurm needs submitit: pip install 'sam-adapt-bench[slurm]'"
            ) from error
        if shutil.which("sbatch") is None:
            raise UserError(
                "--executor slurm needs the command sbatch: run it on a login node of the cluster"
            )
        self.jobs = jobs or MOST_JOBS
        self._submitit = submitit
        # Jobs start in another folder, so all paths are absolute.
        self._store = replace(store, folder=store.folder.resolve())
        self._template, self._options = template, options
        self._folder = self._store.folder / "slurm"
        self._new: list[Cell] = []
        self._jobs: dict[str, tuple[Cell, Any]] = {}
        self._predictor = CostPredictor(
            with_time=template.device == "cpu", remembers=True, fitted=template.fitted
        )
        self._sizes = TrainingSizes()

    def __enter__(self) -> "SlurmExecutor":
        """Create the folder of scripts and logs."""
        (self._folder / "jobs").mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        """Cancel the jobs that are left."""
        for cell, job in self._jobs.values():
            job.cancel(check=False)
            self._job_file(cell).unlink(missing_ok=True)

    def choose(self, cells: Sequence[Cell]) -> Cell | None:
        """The first cell, if fewer than `jobs` are in the queue."""
        return cells[0] if len(self._jobs) + len(self._new) < self.jobs else None

    def start(self, cell: Cell) -> Place:
        """Take a cell over from an earlier command, or submit it with the next array."""
        file = self._job_file(cell)
        if file.is_file():
            job: Any = self._submitit.SlurmJob(folder=self._folder, job_id=file.read_text().strip())
            if not job.done(force_check=True):
                self._jobs[cell.id] = cell, job
                return Place("slurm")
        self._new.append(cell)
        return Place("slurm")

    def wait(self, timeout_s: float) -> list[Report]:
        """As in `Executor`."""
        reports: list[Report] = [(cell, PhaseStarted("elsewhere")) for cell in self._new]
        self._submit()
        if not reports:
            time.sleep(timeout_s)
        for cell, job in list(self._jobs.values()):
            if job.done():
                del self._jobs[cell.id]
                reports.append((cell, self._record(cell, job)))
                self._job_file(cell).unlink(missing_ok=True)
        return reports

    def _submit(self) -> None:
        arrays: dict[tuple[tuple[str, Any], ...], list[Cell]] = defaultdict(list)
        for cell in self._new:
            arrays[tuple(sorted(self._request(cell).items()))].append(cell)
        self._new.clear()
        for request, cells in arrays.items():
            executor = self._submitit.SlurmExecutor(self._folder, max_num_timeout=REQUEUES)
            executor.update_parameters(**_parameters(executor, dict(request)))
            sent = [SlurmCell(replace(self._template, cell=cell), self._store) for cell in cells]
            for cell, job in zip(cells, _submit_array(executor, sent), strict=True):
                write_atomic(self._job_file(cell), job.job_id + "\n")
                self._jobs[cell.id] = cell, job

    def _request(self, cell: Cell) -> dict[str, Any]:
        """What a cell asks of Slurm: by its prediction, unless the user says otherwise."""
        sent = self._template
        request: dict[str, Any] = {"cpus_per_task": sent.threads, "job_name": "sam-adapt-bench"}
        if sent.device == "cuda":
            request["gpus_per_node"] = 1
        if sent.limit_s is not None:
            request["time"] = int(sent.limit_s / 60) + OTHER_MIN
        if sent.predict:
            predicted = self._predictor.predict(cell, self._sizes.of(cell), sent.device, None)
            if sent.device == "cpu" and predicted.run_peak_bytes is not None:
                need = predicted.run_peak_bytes * CPU_FACTOR[1] + CPU_EXTRA_BYTES[1] + PROCESS_BYTES
                request["mem"] = f"{int(need / 2**30) + 1}GB"
            if predicted.train_wall_s_high is not None and "time" not in request:
                minutes = TIME_FACTOR * predicted.train_wall_s_high / 60
                request["time"] = int(minutes) + OTHER_MIN
        return request | dict(self._options)

    def _record(self, cell: Cell, job: Any) -> Record:
        """The record that a job wrote; if it wrote none, the failure of the job."""
        error = job.exception()
        record = self._store.read(cell)
        if error is None and record is not None:
            return record
        state = job.state
        reason = f"Slurm's job {job.job_id} ended ({state}): see {job.paths.stderr}"
        record = failure(cell, _STATUS.get(state, "failed"), reason, self._template.device)
        self._store.write(record)
        return record

    def _job_file(self, cell: Cell) -> Path:
        return self._folder / "jobs" / cell.id


def _submit_array(executor: Any, cells: Sequence[SlurmCell]) -> list[Any]:
    """Submit one array with a job for each cell."""
    with executor.batch():
        return [executor.submit(cell) for cell in cells]


def _parameters(executor: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """The request as submitit takes it: what it does not know goes to sbatch as it is."""
    known = executor._valid_parameters()
    own = {name: value for name, value in request.items() if name in known}
    others = {name: value for name, value in request.items() if name not in known}
    return own | ({"additional_parameters": others} if others else {})


def read_options(text: str) -> dict[str, str]:
    """Options of sbatch from text as "partition=gpu,time=120".

    Raises:
        UserError: a part is not NAME=VALUE.
    """
    options = {}
    for part in filter(None, text.split(",")):
        name, sign, value = part.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise UserError(f"--slurm has '{part}': give NAME=VALUE, as partition=gpu,time=120")
        options[name.strip().replace("-", "_")] = value.strip()
    return options
