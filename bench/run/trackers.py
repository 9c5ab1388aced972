"""Programs that show trainings while they run: TensorBoard, Weights & Biases, MLflow.

Each gets one run for each cell, by its own library. They are told in the process of the command, so
cells on other machines appear there too, with their curves at the end.
"""

import importlib.util
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from bench.errors import UserError
from bench.run.event_log import EventLog
from bench.run.events import CellFinished, CellProgressed, CellStarted, Event, TrainingProgress
from bench.spec import Cell, Record
from bench.wording import PROJECT, code_block

EVERY_S = 2.0  # shortest time between two points of a curve
LIBRARIES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
_ODD = re.compile(r"[^\w\-./ ]")  # MLflow refuses these in names

Values = Mapping[str, float]


class Tracker(Protocol):
    """One of these programs."""

    def start(self, cell: Cell) -> None:
        """Begin the run of a cell, with its settings."""

    def log(self, cell_id: str, step: int, values: Values) -> None:
        """Add points to curves.

        Args:
            cell_id: of a cell that was started and has not ended.
            step: of the training.
            values: name of a curve to its value.
        """

    def finish(self, cell_id: str, status: str | None, error: str | None) -> None:
        """End the run of a cell; a status of None if the cell was interrupted."""


def read_trackers(text: str) -> list[str]:
    """The names in the option `--log`, each once.

    Args:
        text: names separated by commas; "" for none.

    Raises:
        UserError: a name is unknown, or its library is not installed.
    """
    names = list(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    for name in names:
        if name not in LIBRARIES:
            raise UserError(f"--log cannot be '{name}': give some of {', '.join(LIBRARIES)}")
        spec = importlib.util.find_spec(LIBRARIES[name])
        if spec is None or spec.origin is None:  # without origin: only a folder of that name
            raise UserError(
                f"--log {name} needs the library {LIBRARIES[name]}: pip install '{PROJECT}[log]'"
            )
    return names


class Trackers:
    """Passes the events of a run on to the trackers of `--log`. Use it in a `with` block.

    A tracker that fails is left out from then on, with a warning and a line in the log of the
    results folder: the cells are worth more than their curves.

    Args:
        text: as of `read_trackers`.
        folder: results folder, in which trackers without a server store their files.
        log: of the results folder.
    """

    def __init__(self, text: str, folder: Path, log: EventLog) -> None:
        opened = {name: _OPENERS[name](folder) for name in read_trackers(text)}
        self._trackers: dict[str, Tracker] = opened
        self._log = log
        self._open: dict[str, float | None] = {}  # id of a cell to the time of its last point

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, *error: object) -> None:
        """End the runs of cells that were interrupted."""
        for cell_id in list(self._open):
            self._finish(cell_id, None, None)

    def update(self, event: Event) -> None:
        """Take in an event of the run."""
        match event:
            case CellStarted(cell):
                self._open[cell.id] = None
                self._each(lambda tracker: tracker.start(cell))
            case CellProgressed(cell, TrainingProgress(of_proposer=False) as training):
                self._take_training(cell.id, training)
            case CellFinished(record, seconds) if seconds is not None:
                self._take_record(record)

    def _take_training(self, cell_id: str, training: TrainingProgress) -> None:
        now, last = time.monotonic(), self._open.get(cell_id)
        if last is not None and now - last < EVERY_S:
            return
        self._open[cell_id] = now
        values = {"train/loss": training.loss, "train/images_per_s": training.images_per_s}
        self._each(lambda tracker: tracker.log(cell_id, training.step, values))

    def _take_record(self, record: Record) -> None:
        cell_id = record.cell.id
        followed = self._open.get(cell_id) is not None
        for point in record.history:
            values = {} if followed else {"train/loss": point["loss"]}
            if "val_dice" in point:
                values["val/dice"] = point["val_dice"]
            if values:
                self._log_values(cell_id, int(point["step"]), values)
        results = {f"test/{name}": value for name, value in record.metrics.items()}
        if record.cost is not None:
            results |= {f"cost/{name}": value for name, value in vars(record.cost).items()}
        numbers = {
            _ODD.sub("_", name): float(value)
            for name, value in results.items()
            if isinstance(value, int | float)
        }
        if numbers:
            self._log_values(cell_id, record.cell.recipe.steps, numbers)
        self._finish(cell_id, record.status, record.error)

    def _log_values(self, cell_id: str, step: int, values: Values) -> None:
        self._each(lambda tracker: tracker.log(cell_id, step, values))

    def _finish(self, cell_id: str, status: str | None, error: str | None) -> None:
        self._open.pop(cell_id, None)
        self._each(lambda tracker: tracker.finish(cell_id, status, error))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            except Exception as error:  # of any kind: these libraries talk to servers
                del self._trackers[name]
                reason = f"{type(error).__name__}: {error}"
                self._log.write("tracker_failed", tracker=name, error=reason)
                sentence = f"--log {name} failed and gets nothing more of this run ({reason})"
                warnings.warn(sentence, RuntimeWarning, stacklevel=2)


class _TensorBoard:
    """Event files in `tensorboard/<id>/` of the results folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tensorboard"
        self._writers: dict[str, Any] = {}

    def start(self, cell: Cell) -> None:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(self._folder / cell.id))
        writer.add_text("cell", code_block(json.dumps(cell.to_dict(), indent=1)))
        self._writers[cell.id] = writer

    def log(self, cell_id: str, step: int, values: Values) -> None:
        for name, value in values.items():
            self._writers[cell_id].add_scalar(name, value, step)

    def finish(self, cell_id: str, status: str | None, error: str | None) -> None:
        writer = self._writers.pop(cell_id)
        writer.add_text("status", ": ".join(filter(None, (status or "interrupted", error))))
        writer.close()


class _WeightsAndBiases:
    """Runs of the project in $WANDB_PROJECT; $WANDB_MODE is "online" or "offline"."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[str, Any] = {}

    def start(self, cell: Cell) -> None:
        import wandb

        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(self._folder),
            name=cell.id,
            group=cell.label,
            config=cell.to_dict(),
            reinit="create_new",  # several cells run at a time
            settings=wandb.Settings(silent=True, console="off"),
        )
        run.define_metric("*", step_metric="step")  # points of a curve may come late
        self._runs[cell.id] = run

    def log(self, cell_id: str, step: int, values: Values) -> None:
        self._runs[cell_id].log({**values, "step": step})

    def finish(self, cell_id: str, status: str | None, error: str | None) -> None:
        run = self._runs.pop(cell_id)
        run.summary.update({"status": status or "interrupted", "error": error or ""})
        run.finish(exit_code=0 if status == "ok" else 1)


class _MLflow:
    """Runs at $MLFLOW_TRACKING_URI; without it in the file `mlflow.db` of the results folder."""

    def __init__(self, folder: Path) -> None:
        from mlflow import MlflowClient

        file = (folder / "mlflow.db").resolve()
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{file}"))
        self._experiment = ""
        self._runs: dict[str, str] = {}

    def start(self, cell: Cell) -> None:
        if not self._experiment:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            known = self._client.get_experiment_by_name(name)
            self._experiment = (
                known.experiment_id if known else self._client.create_experiment(name)
            )
        run = self._client.create_run(self._experiment, run_name=cell.id).info.run_id
        self._runs[cell.id] = run
        settings = cell.to_dict()
        parts = {name: settings.pop(name) for name in ("task", "recipe", "options")}
        flat = settings | {f"{part}.{k}": v for part in parts for k, v in parts[part].items()}
        for name, value in flat.items():
            self._client.log_param(run, _ODD.sub("_", name), str(value)[:500])

    def log(self, cell_id: str, step: int, values: Values) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        points = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._runs[cell_id], metrics=points)

    def finish(self, cell_id: str, status: str | None, error: str | None) -> None:
        run = self._runs.pop(cell_id)
        self._client.set_tag(run, "status", status or "interrupted")
        self._client.set_tag(run, "error", (error or "")[:500])
        ended = "KILLED" if status is None else "FINISHED" if status == "ok" else "FAILED"
        self._client.set_terminated(run, ended)


_OPENERS: dict[str, Callable[[Path], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WeightsAndBiases,
    "mlflow": _MLflow,
}
