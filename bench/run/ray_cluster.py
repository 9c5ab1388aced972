"""Run cells on the machines of a Ray cluster."""

import os
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.files import write_atomic
from bench.run.cell import failure
from bench.run.events import PhaseStarted
from bench.run.executor import Place, Report
from bench.run.store import Store, read_record
from bench.spec import Cell, Record

if TYPE_CHECKING:
    from bench.run.far_side import SentCell

REACH_S = 5.0  # for the first answer of a cluster
RETRIES = 20  # of a cell whose worker or machine dies
FOLDERS = ("predictions", "models", "records")  # a record comes last


@dataclass(frozen=True)
class SharedFolder:
    """The results folder of the command, which other machines may see at the same path.

    Attributes:
        path: absolute.
        claim: content of the claim of the cell, by which a machine recognises the folder.
    """

    path: Path
    claim: str

    def is_here(self, cell: Cell) -> bool:
        """Whether this machine sees the folder of the command, and not another one."""
        try:
            here = (self.path / "claims" / cell.id).read_text()
        except (OSError, ValueError):
            return False
        return here == self.claim != ""  # on a full disk a claim does not say who holds it


def run_and_pack(
    sent: "SentCell", keep: str, save_s: float, shared: SharedFolder
) -> dict[str, bytes]:
    """Run a cell on this machine in a temporary results folder; the body of a task.

    Args:
        sent: the cell.
        keep: which models are kept, as of `Store`.
        save_s: how often the state of the training is saved, as of `Store`.
        shared: where the state is, if this machine sees it; otherwise none is saved.

    Returns:
        Path in the results folder to content, for all files of the cell.
    """
    from bench.run.far_side import run_here

    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder), keep)
        if shared.is_here(sent.cell):
            store = replace(store, save_s=save_s, trainings=shared.path / "training")
        run_here(sent, sent.executor(store), store)
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for part in FOLDERS
            for path in sorted((store.folder / part).rglob("*"))
            if path.is_file()
        }


class RayExecutor:
    """Sends cells to a Ray cluster, which runs them where there is room; writes what they return.

    A cell whose worker or machine dies is started again by Ray, on any machine. It continues from
    the state of its training where the machines share the results folder.

    Args:
        store: an open results folder.
        template: settings of the cells, with any cell.
        jobs: number of cells in the cluster at a time; None for as many as it has room for.
        cells: how many there are.

    Raises:
        UserError: Ray is not installed, cells could be sent by anyone (`RAY_AUTH_MODE` is not
            token), or there is no cluster.
    """

    def __init__(self, store: Store, template: "SentCell", jobs: int | None, cells: int) -> None:
        self._ray = _connect()
        self._store, self._template = store, template
        room = self._ray.cluster_resources()
        gpus = int(room.get("GPU", 0))
        device = template.device
        if device == "cuda" and not gpus:
            self._ray.shutdown()
            raise UserError("the Ray cluster has no GPU: give --devices cpu")
        self._device = device
        places = gpus if device == "cuda" else int(room.get("CPU", 1)) // template.threads
        self.jobs = max(1, min(jobs or places, cells))
        self._task = self._ray.remote(
            num_cpus=template.threads,
            num_gpus=int(device == "cuda"),
            max_retries=RETRIES,
        )(run_and_pack)
        self._running: dict[Any, Cell] = {}
        self._started: list[Cell] = []

    def __enter__(self) -> "RayExecutor":
        """Nothing more is needed."""
        return self

    def __exit__(self, *error: object) -> None:
        """Cancel what runs, and leave the cluster."""
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._ray.shutdown()

    def choose(self, cells: Sequence[Cell]) -> Cell | None:
        """The first cell, if fewer than `jobs` are in the cluster."""
        return cells[0] if len(self._running) < self.jobs else None

    def start(self, cell: Cell) -> Place:
        """Send a cell."""
        sent = replace(self._template, cell=cell, device=self._device)
        folder = self._store.folder.resolve()
        shared = SharedFolder(folder, (folder / "claims" / cell.id).read_text())
        task = self._task.remote(sent, self._store.keep, self._store.save_s, shared)
        self._running[task] = cell
        self._started.append(cell)
        return Place("ray")

    def wait(self, timeout_s: float) -> list[Report]:
        """As in `Executor`."""
        reports: list[Report] = [(cell, PhaseStarted("elsewhere")) for cell in self._started]
        self._started.clear()
        timeout_s = 0.0 if reports else timeout_s
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        for task in done:
            cell = self._running.pop(task)
            reports.append((cell, self._take_in(cell, task)))
        return reports

    def _take_in(self, cell: Cell, task: Any) -> Record:
        """Write the files of a cell that has ended, its record last."""
        try:
            files: dict[str, bytes] = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            sentence = str(error).strip().splitlines()[0]
            record = failure(cell, "failed", f"Ray lost the cell: {sentence}", self._device)
            self._store.write(record)
            return record
        for name, content in files.items():
            path = self._store.folder / name
            write_atomic(path, content, durable=path.parent.name == "records")
        return read_record(self._store.path(cell))


def _connect() -> Any:
    """The module `ray`, connected to a running cluster."""
    try:
        import ray
    except ImportError as error:
        raise UserError("--executor ray needs Ray: pip install 'sam-adapt-bench[ray]'") from error
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise UserError(
            "--executor ray needs a cluster that asks for a token: anyone could run code on an open"
            " one; set RAY_AUTH_MODE=token here and on all machines (docs/cluster.md)"
        )
    address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        _check_reachable(address)
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, ray.exceptions.RayError, RuntimeError, ValueError) as error:
        sentence = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"there is no Ray cluster at {address} ({sentence}): start one with 'ray start --head',"
            " or set RAY_ADDRESS"
        ) from error
    if ray.get(ray.remote(num_cpus=0)(_auth_mode).remote()) != "token":
        ray.shutdown()
        raise UserError(
            f"the Ray cluster at {address} does not ask for a token: start it again with"
            " RAY_AUTH_MODE=token (docs/cluster.md)"
        )
    return ray


def _check_reachable(address: str) -> None:
    """Try to reach the host and port of an address, since Ray itself tries for minutes.

    Raises:
        OSError: nobody answers there.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()


def _auth_mode() -> str | None:
    """How the machine of the cluster that runs this task checks who connects to it."""
    return os.environ.get("RAY_AUTH_MODE")
