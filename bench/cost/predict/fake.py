"""Models whose tensors have shapes, types and a device, but no values."""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.errors import UnsupportedError, UserError
from bench.learn.model import Model
from bench.objects.rules import get_rule
from bench.plugins.registry import Method
from bench.sam.encoder import attention_as_on_cuda, checkpoint_blocks
from bench.spec import OptionValue, Recipe, Task

DEVICES = ("cpu", "cuda")


class NotPredictedError(UnsupportedError):
    """The memory of this model cannot be predicted; the message says why."""


@contextmanager
def fake_model(
    method: Method,
    options: Mapping[str, OptionValue],
    task: Task,
    recipe: Recipe,
    device: str,
) -> Iterator[Model]:
    """Build a model of fake tensors, and run the body so that new tensors are fake too.

    The model is built on the meta device, because constructors that draw random numbers or change
    the memory format fail on fake tensors; then its tensors are replaced. Fake tensors are on the
    CPU for every `device`, since PyTorch runs no backward pass of fake CUDA tensors without a GPU.

    Args:
        method: what to build.
        options: options of the method that differ from its defaults.
        task: no weights are read.
        recipe: gives precision, loss, optimiser, batch size and checkpointing.
        device: "cpu" or "cuda"; on "cuda" attention always uses the fused kernel until the body
            ends. Any other word counts as "cpu".

    Yields:
        The model; its tensors have shapes and types, but no values.

    Raises:
        UserError: an option is out of range, or the loss of the recipe is unknown.
        UnsupportedError: the method cannot do this task, or has no blocks to checkpoint.
        NotPredictedError: an operator of the model does not run on fake tensors, or refuses a
            batch, as BatchNorm refuses one value per channel. Every RuntimeError,
            NotImplementedError and other ValueError of the body becomes this error.
    """
    with torch.device("meta"):
        built = get_rule(recipe.objects).built_task(task)
        module = method.build(built, **options).to("meta")
    fakes = FakeTensorMode(allow_non_fake_inputs=True)
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        if device == "cuda":
            stack.enter_context(attention_as_on_cuda())
        try:
            module = _with_fake_tensors(module, fakes)
            if recipe.checkpointing:
                checkpoint_blocks(module)
            with fakes:
                yield Model(module, task, recipe)
        except UserError:  # it is a ValueError
            raise
        except (RuntimeError, NotImplementedError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            what = "an operator does not run on tensors without values"
            if isinstance(error, ValueError):
                what = "the model refuses the batch"
            raise NotPredictedError(
                f"the memory of {method.name} is not predicted: {what} ({reason:.120})"
            ) from error


def _with_fake_tensors(module: nn.Module, fakes: FakeTensorMode) -> nn.Module:
    """A copy of a module on the meta device, with fake parameters and buffers on the CPU."""
    tensors = [*module.parameters(), *module.buffers()]
    with fakes:  # but not for the copy: a fake tensor cannot be copied from one on meta
        empty = [
            torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cpu") for t in tensors
        ]
        moved: dict[int, object] = {
            id(t): nn.Parameter(fake, t.requires_grad) if isinstance(t, nn.Parameter) else fake
            for t, fake in zip(tensors, empty, strict=True)
        }
    return copy.deepcopy(module, memo=moved)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch from logging the traceback of an operator that fails; it is raised anyway."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
