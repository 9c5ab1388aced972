"""Events: what a running cell and the scheduler report, one dataclass for each kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bench.record_values import PredictedCost
from bench.spec import Cell, Record

Phase = Literal["elsewhere", "data", "predict", "evaluate", "measure"]


@dataclass(frozen=True)
class PhaseStarted:
    """A running cell begins a phase other than training.

    Attributes:
        phase: "elsewhere" (sent to another machine, which does not report progress), "data"
            (read the images), "predict" (predict memory and time), "evaluate" (predict and score
            the test images) or "measure" (measure the cost).
    """

    phase: Phase


@dataclass(frozen=True)
class TrainingProgress:
    """A running cell has trained for some steps.

    Reported about twice per second, and at each point of the training curve.

    Attributes:
        step: optimiser steps done, from 1 to `recipe.steps`.
        epoch: passes over the augmentation bank (or over `recipe.epoch_images` images), with a
            fraction.
        loss: mean since the last point of the training curve.
        images_per_s: mean since the first step.
        data_bytes: images for training and validation that are in memory, with the output of frozen
            stages; not the model.
        of_proposer: it is the training of the second model of the cell (`Recipe.proposer`).
    """

    step: int
    epoch: float
    loss: float
    images_per_s: float
    data_bytes: int = 0
    of_proposer: bool = False


@dataclass(frozen=True)
class CostPredicted:
    """What a running cell will need, before its training.

    Attributes:
        predicted: memory and time; `predicted.fits` says whether the memory suffices.
        training_images: images, or stacks of slices, of the training part.
        predictor: the `bench.run.predictor.CostPredictor` that made it, for the next cell.
    """

    predicted: PredictedCost
    training_images: int
    predictor: Any = None


@dataclass(frozen=True)
class WorkDone:
    """A running cell has done a part of some work, at most once every few seconds.

    It only tells the executor that the cell makes progress; no command shows it.

    Attributes:
        what: the work in a few words, such as "reading masks".
        done: its parts so far.
        total: of all parts; 0 where it is not known.
    """

    what: str
    done: int
    total: int = 0


@dataclass(frozen=True)
class TrainingNote:
    """What a running cell says about the saved state of its training.

    Attributes:
        sentence: that it continues from the state, or that this cannot be read or written.
    """

    sentence: str


CellProgress = PhaseStarted | TrainingProgress | CostPredicted | TrainingNote | WorkDone
Say = Callable[[CellProgress], None]  # takes the progress of a running cell


@dataclass(frozen=True)
class RunStarted:
    """The first event of a command, before its first cell.

    Attributes:
        cells: all cells of the command, also those that have a record already.
        threads: CPU threads of each cell.
        note: a sentence on the number of threads, where stored records matter; otherwise "".
        jobs: the largest number of cells that run at a time.
    """

    cells: tuple[Cell, ...]
    threads: int = 1
    note: str = ""
    jobs: int = 1


@dataclass(frozen=True)
class CellStarted:
    """The scheduler starts a process for a cell.

    Attributes:
        cell: the cell.
    """

    cell: Cell


@dataclass(frozen=True)
class CellProgressed:
    """A running cell reports progress.

    Attributes:
        cell: the cell.
        progress: its phase, or the state of its training.
    """

    cell: Cell
    progress: CellProgress


@dataclass(frozen=True)
class CellFinished:
    """A cell has a record: of this command, of an earlier one, or of another one that runs now.

    Attributes:
        record: the result, whatever its status.
        seconds: duration of the cell in this command; None where it did not run it.
    """

    record: Record
    seconds: float | None

    @property
    def ran(self) -> bool:
        """Whether this command ran the cell."""
        return self.seconds is not None


@dataclass(frozen=True)
class WaitingForOtherRun:
    """Only cells that another command works on are left; reported about once per second.

    Attributes:
        cells: the cells whose records are awaited.
    """

    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class RunFinished:
    """Every cell has a record; the last event of a command.

    Attributes:
        records: of all cells, in the order in which they finished.
    """

    records: tuple[Record, ...]


Event = RunStarted | CellStarted | CellProgressed | CellFinished | WaitingForOtherRun | RunFinished
