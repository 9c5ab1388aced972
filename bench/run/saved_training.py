"""Keep the state of a cell's training in the results folder, and continue from it."""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import bench
from bench.errors import WriteError
from bench.files import code_hash
from bench.learn.model import Model
from bench.learn.position import Position
from bench.learn.training_state import (
    StateError,
    TrainingState,
    read_state,
    write_state,
)
from bench.plugins.registry import get_method
from bench.run.events import Say, TrainingNote
from bench.run.stop import StopSignals
from bench.spec import Cell
from bench.wording import project_version

WORTH_IT = 0.1  # part of the time between saves that a training takes to be saved at its end


class SavedTraining:
    """The state of a cell's training, a `bench.learn.training_state.StateKeeper`.

    The state is written every `every_s` seconds, before the process ends because of a signal, and
    after the last step if the training took long.

    Args:
        path: of the file, which need not exist, in a folder of its own.
        key: of `state_key`.
        every_s: seconds between saves, above 0.
        say: called when the training continues from a state, or a state cannot be read or written.
        stop: of the process.

    Attributes:
        resumed: the steps at which the training was continued, in the processes so far.
        problem: why a state could not be read or written, a sentence; "" if all could.
    """

    def __init__(
        self, path: Path, key: dict[str, str], every_s: float, say: Say, stop: StopSignals
    ) -> None:
        self._path, self._key, self._every_s = path, key, every_s
        self._say, self._stop = say, stop
        self.resumed: list[int] = []
        self.problem = ""
        self._earlier_s = 0.0
        self._began = self._saved = time.perf_counter()

    def begin(self) -> None:
        """Begin to count the time; remove what a process that was killed in a save has left."""
        self._began = self._saved = time.perf_counter()
        for file in self._path.parent.glob("*"):
            if file != self._path:
                file.unlink()

    @property
    def seconds(self) -> float:
        """Duration of the training since `begin`, and in earlier processes up to their states."""
        return self._earlier_s + time.perf_counter() - self._began

    @property
    def facts(self) -> dict[str, Any]:
        """For the record: where the training was continued; empty if it was not interrupted."""
        facts = {"steps": list(self.resumed), "problem": self.problem}
        known = {name: fact for name, fact in facts.items() if fact}
        return {"resumed": known} if known else {}

    def restore(self, model: Model, optimizer: torch.optim.Optimizer) -> Position | None:
        """As `StateKeeper.restore`: None without a file, or if it cannot be used, which is said."""
        if not self._path.exists():
            return None
        try:
            state = read_state(self._path, self._key)
            try:
                position = state.restore(model, optimizer)
            except ValueError as error:
                raise StateError(self._path, str(error)) from error
        except StateError as error:
            self._tell_problem(str(error))
            return None
        self._earlier_s = state.values["run"]["seconds"]
        self.resumed = [*state.values["run"]["resumed"], position.step]
        self._say(TrainingNote(f"continues at step {position.step} of {model.recipe.steps}"))
        return position

    def after_step(self, take: Callable[[], TrainingState], last: bool) -> None:
        """As `StateKeeper.after_step`.

        Raises:
            StopRequested: a signal asked the process to end; the state is written if it can be.
        """
        self._stop.held = True  # from now on there is something to save
        waited = time.perf_counter() - self._saved
        due = waited >= self._every_s * (WORTH_IT if last else 1.0)
        if due or self._stop.noted is not None:
            self._write(take())
        self._stop.raise_noted()

    def end(self) -> float:
        """From now on a signal ends the process at once again.

        Returns:
            `seconds`.

        Raises:
            StopRequested: a signal has come since the last step.
        """
        self._stop.held = False
        self._stop.raise_noted()
        return self.seconds

    def _write(self, state: TrainingState) -> None:
        run = {"seconds": self.seconds, "resumed": self.resumed}
        whole = TrainingState(state.tensors, {**state.values, "run": run})
        try:
            write_state(self._path, whole, self._key)
        except WriteError as error:  # the cell can still end well
            self._tell_problem(str(error))
        self._saved = time.perf_counter()

    def _tell_problem(self, sentence: str) -> None:
        if sentence != self.problem:
            self._say(TrainingNote(sentence))
        self.problem = sentence


def state_key(cell: Cell, device: torch.device) -> dict[str, str]:
    """What must be the same for a training to be continued, with names for messages.

    Args:
        cell: of the training.
        device: its type matters.

    Raises:
        UserError: the method is unknown.
    """
    return {
        "cell": cell.id,
        "version of sam-adapt-bench": project_version(),
        "version of PyTorch": torch.__version__,
        "version of Python": platform.python_version(),
        "kind of device": device.type,
        "number of threads": str(torch.get_num_threads()),
        "code of the training": _code(get_method(cell.method).file),
    }


def _code(method_file: str) -> str:
    """A hash of all code that a training may depend on: the package, and the method's folder."""
    folders = [Path(bench.__file__).parent, *([Path(method_file).parent] if method_file else [])]
    return " ".join(code_hash(folder, sorted(folder.rglob("*.py")), ()) for folder in folders)
