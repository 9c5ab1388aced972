"""The second model of a cell, which finds the objects that the first one segments.

It is the model of a cell of its own (`bench.ask.proposer.proposer_cell`). Where the results folder
has kept that model, it is taken over; otherwise it is trained here, with equal settings.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from bench.ask.proposer import proposer_cell
from bench.cost.measure import measure_cost, measure_speed
from bench.data.decode import decode
from bench.data.items import Collection, Item
from bench.data.split import Split
from bench.evaluate.proposals import find_objects
from bench.learn.model import Model
from bench.record_values import Cost
from bench.run.events import CellProgress, Say, TrainingProgress
from bench.run.same_training import kept_model, take_over, trained_before
from bench.run.saved_training import SavedTraining, state_key
from bench.run.stop import StopSignals
from bench.run.store import Store
from bench.run.training import Training, train_model
from bench.spec import Cell

MEASURED_IMAGES = 4  # whose prediction is timed

Alone = Callable[[], AbstractContextManager[object]]


@dataclass
class Proposer:
    """A proposer of a cell.

    Attributes:
        cell: the proposer alone.
        model: of this cell.
        training: of the model; empty before `train`.
        facts: for the record.
    """

    cell: Cell
    model: Model
    training: Training
    facts: dict[str, Any]
    _random: "_RandomState"

    @classmethod
    def of(cls, cell: Cell, build: Callable[[Cell], Model]) -> "Proposer | None":
        """The proposer of a cell, built but not trained; None if the cell has none.

        Args:
            cell: its recipe names the proposer.
            build: builds the model of a cell, and sets the seed of torch's generator.

        Raises:
            UserError, UnsupportedError: the model cannot be built.
        """
        if not cell.recipe.proposer:
            return None
        own = proposer_cell(cell)
        model = build(own)
        return cls(own, model, Training(), {}, _RandomState(model.device))

    def train(
        self,
        cell: Cell,
        collection: Collection,
        parts: Split,
        store: Store,
        say: Say,
        stop: StopSignals | None,
    ) -> None:
        """Train the model, or take over the kept one of its own cell.

        The training is that of its own cell, step for step.

        Args:
            cell: that the proposer belongs to; the state of the training is saved in its folder.
            collection: the dataset.
            parts: of the cell.
            store: with the kept models.
            say: called with the progress.
            stop: the signals that end the process; None: no state is saved.

        Raises:
            DivergedError, UserError, bench.run.stop.StopRequested: as `train_model`, and as
                `take_over`.
        """
        device = self.model.device
        self.facts = {"cell": self.cell.id}
        path = kept_model(self.cell, store, str(device))
        path = path or trained_before(self.cell, store, str(device))
        if path is not None:
            self.training = take_over(self.model, path)
            self.facts["trained_as"] = path.stem
            return
        saved = None
        if stop is not None and store.save_s:
            file, key = store.proposer_training(cell), state_key(self.cell, device)
            saved = SavedTraining(file, key, store.save_s, say, stop)
        self._random.restore()

        def tell(progress: CellProgress) -> None:
            if isinstance(progress, TrainingProgress):
                progress = replace(progress, of_proposer=True)
            say(progress)

        self.training = train_model(self.model, self.cell, collection, parts, tell, saved)
        self.facts |= {} if saved is None else saved.facts

    def add_cost(
        self,
        own: Cost,
        model: Model,
        items: Sequence[Item],
        collection: Collection,
        alone: Alone = nullcontext,
    ) -> Cost:
        """The cost of both models, see docs/protocol/costs.md.

        Args:
            own: cost of the model that segments, with the time of its training.
            model: that segments.
            items: test images, at least one.
            collection: of the items.
            alone: as for `measure_cost`.
        """
        images = [decode(item, collection)[0] for item in items[:MEASURED_IMAGES]]

        def predict() -> None:
            for image in images:
                find_objects(model, self.model, image)

        speed = measure_speed(predict, len(images), model.device, alone)
        other = replace(
            measure_cost(self.model, alone),
            train_wall_s=self.training.wall_s,
            data_bytes=self.training.data_bytes,
        )
        return add_costs(own, other, speed.median, speed.iqr)


def add_costs(own: Cost, other: Cost, infer: float, infer_iqr: float | None) -> Cost:
    """The cost of two models that are trained one after the other and predict together.

    Args:
        own: of the model that segments.
        other: of the proposer.
        infer: images per second of both together.
        infer_iqr: its interquartile range.
    """
    sums: dict[str, Any] = {
        name: _sum(getattr(own, name), getattr(other, name))
        for name in (
            *("trainable_params", "total_params", "checkpoint_bytes", "train_step_flops"),
            *("forward_flops", "forward_macs_fvcore", "train_wall_s"),
        )
    }
    larger = max(own, other, key=lambda cost: cost.train_peak_bytes or 0)
    seconds = [1 / cost.train_images_per_s for cost in (own, other) if cost.train_images_per_s]
    return replace(
        larger,
        **sums,
        train_images_per_s=1 / sum(seconds) if seconds else None,
        train_images_per_s_iqr=None,
        infer_images_per_s=infer,
        infer_images_per_s_iqr=infer_iqr,
        data_bytes=max((cost.data_bytes or 0 for cost in (own, other)), default=0) or None,
    )


class _RandomState:
    """The state of torch's generators after a model was built, before its training.

    In between, the other model of the cell is built and trained.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        on_cuda = device.type == "cuda"
        self._cuda = torch.cuda.get_rng_state(device) if on_cuda else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


def _sum(one: float | None, other: float | None) -> float | None:
    """The sum of what is known; None if neither is."""
    return one if other is None else other if one is None else one + other
