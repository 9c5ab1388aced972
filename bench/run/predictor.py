"""What a run will need, predicted before it: memory, whether it fits, and seconds of training."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench.ask.proposer import proposer_cell
from bench.cost.predict.fit import Plan, change_below
from bench.cost.predict.memory import MemoryPrediction
from bench.cost.predict.time import Speed, cell_hours, probe_speed
from bench.cost.predict.views import kept_views
from bench.cost.predict.work import CellWork, Work
from bench.cost.remember import remembered
from bench.data.split import Split
from bench.data.stacks import stacks
from bench.errors import UnsupportedError
from bench.plugins.registry import get_method
from bench.record_values import PredictedCost
from bench.run.device_memory import largest_run_peak, verdict_of
from bench.run.events import CostPredicted
from bench.spec import Cell

PROBE_S = 0.5  # of the speed of the device, once in a command
SMALLER = 0.75  # of the predicted peak, where it fits and the memory does not suffice all the same


@dataclass
class CostPredictor:
    """The predictions of a command so far: equal configurations are predicted once.

    Attributes:
        known: configuration to what was predicted for it.
        speeds: precision to the speed of the device, which is measured when it is first needed.
        limits: configuration to the limit in bytes below which its change was searched.
        with_time: predict seconds, too.
        remembers: what follows from shapes is taken from earlier commands, and kept for later ones.
        fitted: the parts of batches are those that `--fit-memory` chose.
        free: device to the bytes that were free on it before several cells began to run side by
            side; a device that is not named is asked for each cell.
    """

    known: dict[Any, PredictedCost] = field(default_factory=dict)
    speeds: dict[str, Speed] = field(default_factory=dict)
    limits: dict[Any, int] = field(default_factory=dict)
    with_time: bool = True
    remembers: bool = False
    fitted: bool = False
    free: Mapping[str, int] = field(default_factory=dict)

    def predict(
        self, cell: Cell, training_images: int, device: str, available: int | None
    ) -> PredictedCost:
        """Predict a run on this machine.

        A method whose model cannot be built or predicted has a prediction with a `reason`: the run
        itself tells what is wrong.

        Args:
            cell: the run. Runs that differ in seed, fold and dataset only have one configuration.
            training_images: images, or stacks of slices, of the training part.
            device: name of a torch device. Its speed depends on the number of threads of this
                process.
            available: of `available_bytes`.
        """
        if cell.recipe.proposer:
            alone = replace(cell, recipe=replace(cell.recipe, proposer=""))
            parts = [
                self.predict(one, training_images, device, available)
                for one in (alone, proposer_cell(cell))
            ]
            return _of_both(parts[0], parts[1], device)
        plan = plan_of(cell, training_images, device)
        key = _key(plan)
        speeds = self.speeds if self.with_time else None
        before = self.known.get(key) or _predict(plan, device, speeds, self.remembers)
        accumulate = cell.recipe.accumulate if self.fitted else None
        predicted = replace(before, available_bytes=available, fitted_accumulate=accumulate)
        if predicted.run_peak_bytes is not None and available is not None:
            fits = verdict_of(device, predicted.run_peak_bytes, available)
            limit = largest_run_peak(device, available, "largest")
            # A change that was found for more free memory may not be enough now.
            stale = predicted.change is not None and limit < self.limits.get(key, limit)
            if fits != predicted.fits or stale:
                self.limits[key] = limit
                predicted = _with_change(plan, replace(predicted, fits=fits), limit)
        self.known[key] = predicted
        return predicted

    def learn(self, other: "CostPredictor") -> None:
        """Take over what a copy of this predictor has predicted in another process."""
        self.known |= other.known
        self.speeds |= other.speeds
        self.limits |= other.limits

    def knows(self, cell: Cell, training_images: int, device: str) -> bool:
        """Whether the configuration of a run has been predicted before; see `predict`."""
        if cell.recipe.proposer and not self.knows(proposer_cell(cell), training_images, device):
            return False
        cell = replace(cell, recipe=replace(cell.recipe, proposer=""))
        return _key(plan_of(cell, training_images, device)) in self.known


def _of_both(own: PredictedCost, other: PredictedCost, device: str) -> PredictedCost:
    """The prediction of a run with a proposer: the models are trained one after the other.

    The larger peak counts, with the weights of the other model, and the times are summed.
    """
    if own.run_peak_bytes is None or other.run_peak_bytes is None:
        return own if own.run_peak_bytes is None else other
    larger, smaller = own, other
    if other.run_peak_bytes > own.run_peak_bytes:
        larger, smaller = other, own
    peak = max(own.run_peak_bytes, other.run_peak_bytes) + (smaller.weights_bytes or 0)
    available = own.available_bytes
    fits = None if available is None else verdict_of(device, peak, available)
    seconds: dict[str, Any] = {
        name: sum(getattr(one, name) or 0.0 for one in (own, other)) or None
        for name in ("train_wall_s", "train_wall_s_low", "train_wall_s_high")
    }
    return replace(larger, run_peak_bytes=peak, fits=fits, **seconds)


def _with_change(plan: Plan, predicted: PredictedCost, limit: int) -> PredictedCost:
    """The prediction with the change that makes it fit; an error of the search is its `reason`."""
    change, reason = None, ""
    if predicted.fits != "fits" and plan.method.lr:
        try:
            change = change_below(plan, limit)
        except Exception as error:  # a method's bug, which must not end a run that may do
            reason = _named(error)
    return replace(predicted, change=change, reason=reason)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _key(plan: Plan) -> tuple[Any, ...]:
    """What the prediction of a plan depends on."""
    options = tuple(sorted(plan.options.items()))
    recipe = replace(plan.recipe, lr=0.0)
    return plan.method.name, options, plan.task, recipe, plan.views, plan.device


def send_smaller_change(
    cell: Cell, prediction: CostPredicted, device: str, send: Callable[[str | None], None]
) -> None:
    """Send the first change whose predicted peak is at most `SMALLER` of that of the cell, or None.

    Predictions need memory of their own: call it in a process that has some left.

    Args:
        cell: a run that ran out of memory although its prediction fits.
        prediction: of the cell, with a predicted peak.
        device: name of a torch device.
        send: called once.
    """
    peak = prediction.predicted.run_peak_bytes
    plan = plan_of(cell, prediction.training_images, device)
    send(change_below(plan, int(SMALLER * peak)) if peak and plan.method.lr else None)


def training_size(cell: Cell, parts: Split) -> int:
    """The number of images, or stacks of slices, of the training part of a cell."""
    return len(stacks(parts.train, cell.task.depth, step=1))


def plan_of(cell: Cell, training_images: int, device: str) -> Plan:
    """The training of a cell, as `bench.cost.predict` takes it.

    Args:
        cell: the run.
        training_images: of `training_size`.
        device: name of a torch device.
    """
    method, recipe = get_method(cell.method), cell.recipe
    kind = "cuda" if device.startswith("cuda") else "cpu"
    task = replace(cell.task, weights="random")  # no weights are read
    views = kept_views(method, task, recipe, training_images, kind)
    return Plan(method, cell.options, task, recipe, views, kind)


def _predict(
    plan: Plan, device: str, speeds: dict[str, Speed] | None, remembers: bool
) -> PredictedCost:
    """Predict memory, and with `speeds` time, without the available memory."""
    kind: Any = plan.device
    seconds = None
    try:
        run, step = _remembered_memory(plan) if remembers else _memory(plan)
        if speeds is not None and plan.method.lr:
            work = _remembered_work(plan) if remembers else plan.work()
            seconds = _seconds(plan, work, device, speeds)
    except UnsupportedError as error:
        return PredictedCost(kind, reason=str(error))
    except Exception as error:  # a method's bug: its cell runs into it and records it
        return PredictedCost(kind, reason=_named(error))
    predicted = PredictedCost(kind, run_peak_bytes=run.cell_peak, kept_bytes=run.kept)
    if step is None:
        return predicted
    # At the end, a copy of the model is measured; on a CPU, the model itself stays in memory.
    measured = step.peak + (step.weights if kind == "cpu" else 0)
    likely, low, high = seconds or (None, None, None)
    return replace(
        predicted,
        run_peak_bytes=max(run.cell_peak, measured),
        train_peak_bytes=step.peak,
        weights_bytes=step.weights,
        gradients_bytes=step.gradients,
        optimizer_bytes=step.optimizer,
        activations_bytes=step.activations,
        train_wall_s=likely,
        train_wall_s_low=low,
        train_wall_s_high=high,
    )


def _memory(plan: Plan) -> tuple[MemoryPrediction, MemoryPrediction | None]:
    """The memory of the run, and that of the step that records measure; None without training."""
    run = plan.memory()
    if not plan.method.lr:
        return run, None
    if run.kept == plan.image_bytes:
        return run, replace(run, kept=0)  # no embeddings are kept: it is the same step
    return run, replace(replace(plan, views=0).memory(inference=False), kept=0)


def _remembered_memory(plan: Plan) -> tuple[MemoryPrediction, MemoryPrediction | None]:
    """As `_memory`."""

    def compute() -> list[dict[str, int]]:
        return [asdict(part) for part in _memory(plan) if part is not None]

    parts = remembered("memory", plan.method, _key(plan), compute)
    run, *steps = (MemoryPrediction(**part) for part in parts)
    return run, steps[0] if steps else None


def _remembered_work(plan: Plan) -> CellWork:
    """As `Plan.work`."""
    parts = remembered("work", plan.method, _key(plan), lambda: asdict(plan.work()))
    return CellWork(**{name: Work(**part) for name, part in parts.items()})


def _seconds(
    plan: Plan, work: CellWork, device: str, speeds: dict[str, Speed]
) -> tuple[float, float, float]:
    """Likely, least and most seconds of the training, without its validation."""
    recipe = plan.recipe
    if recipe.precision not in speeds:
        speeds[recipe.precision] = probe_speed(device, recipe.precision, PROBE_S)
    hours = cell_hours(
        work,
        speeds[recipe.precision],
        steps=recipe.steps,
        views=plan.made_views,
        evaluated=0,
        side=plan.task.image_size,
    )
    return hours.likely * 3600, hours.low * 3600, hours.high * 3600
