"""What training and evaluation make a device do: operations, bytes, operators; from shapes alone.

The training step is the suite's own, on tensors without values (see `bench.cost.predict.fake`), so
nothing of it is left out or counted twice: frozen stages whose embeddings are kept are not part of
the step, and what checkpointing computes again is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.cost.flops import flops_of_operator
from bench.cost.predict.fake import fake_model
from bench.cost.predict.memory import VALIDATION_BATCH, kept_bytes, random_batch
from bench.learn.loop import make_optimizer, train_step
from bench.learn.model import Model, ModelInput
from bench.plugins.registry import Method
from bench.spec import OptionValue, Recipe, Task


@dataclass(frozen=True)
class Work:
    """What a call makes the device do.

    Attributes:
        flops: 2 x multiply-adds of matrix products, convolutions and attention.
        moved_bytes: sizes of all tensors that operators read and write, without views.
        operators: number of operators, without views.
    """

    flops: float = 0
    moved_bytes: float = 0
    operators: float = 0

    def __add__(self, other: "Work") -> "Work":
        """Both together."""
        return Work(
            self.flops + other.flops,
            self.moved_bytes + other.moved_bytes,
            self.operators + other.operators,
        )

    def __mul__(self, times: float) -> "Work":
        """The work of many calls."""
        return Work(self.flops * times, self.moved_bytes * times, self.operators * times)


@dataclass(frozen=True)
class CellWork:
    """The work of the parts of a cell, in the forms that a run uses.

    Attributes:
        step: one training step of a whole batch; none if nothing is trainable.
        frozen: frozen stages of one view (or stack), which run once if embeddings are kept; none if
            no stage is frozen, or embeddings are not kept.
        forward: one image (or stack) of an evaluation.
    """

    step: Work
    frozen: Work
    forward: Work


class WorkMeter(TorchDispatchMode):
    """Adds up the work of all operators within a `with` block, in `work`."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator and add its work."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.namespace != "prim" and not func.is_view:
            moved = _bytes(args) + _bytes(tuple(kwargs.values())) + _bytes(result)
            self.work += Work(flops_of_operator(func, args, kwargs, result), moved, 1)
        return result


def _bytes(values: Any) -> int:
    if isinstance(values, Tensor):
        return values.nbytes
    if isinstance(values, tuple | list):
        return sum(map(_bytes, values))
    return 0


def predict_work(
    method: Method,
    options: Mapping[str, OptionValue],
    task: Task,
    recipe: Recipe,
    *,
    device: str = "cpu",
    views: int = 1,
) -> CellWork:
    """Count the work of a training step and of an evaluation; errors as `predict_memory`.

    Args:
        method: what to build.
        options: options of the method that differ from its defaults.
        task: no weights are read.
        recipe: gives precision, loss, optimiser, batch size and checkpointing.
        device: "cpu" or "cuda"; on "cuda" attention uses the fused kernel.
        views: number of augmented images, or stacks, whose embeddings training would keep.
    """
    with fake_model(method, options, task, recipe, device) as model:
        samples = max(1, VALIDATION_BATCH // task.depth)
        images, _, prompts = random_batch(model, samples)
        model.module.eval()
        with torch.no_grad():
            forward = _work(lambda: model.forward(images, prompts)) * (1 / samples)
        if not model.trainable:
            return CellWork(Work(), Work(), forward)
        model.module.train()
        encoded = kept_bytes(model, views)[1]
        frozen = Work()
        if encoded:
            frozen = _work(lambda: model.encode_frozen(images)) * (1 / samples)
        return CellWork(_step(model, encoded), frozen, forward)


def _step(model: Model, encoded: bool) -> Work:
    optimizer = make_optimizer(model)
    for group in optimizer.param_groups:
        group["foreach"] = True  # the same work in fewer operators
    images, masks, prompts = random_batch(model, model.recipe.batch_size)
    inputs = ModelInput(images)
    if encoded:
        inputs = model.encoded(model.encode_frozen(images), images)
    return _work(lambda: train_step(model, optimizer, inputs, masks, prompts))


def _work(call: Callable[[], object]) -> Work:
    with WorkMeter() as meter:
        call()
    return meter.work
