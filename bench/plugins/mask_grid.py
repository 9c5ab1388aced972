"""The grid of masks of a task, for methods that know nothing of it."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from bench.errors import UnsupportedError
from bench.spec import OptionValue, Task

if TYPE_CHECKING:
    from torch import nn


@runtime_checkable
class RefinesMasks(Protocol):
    """A model whose decoder can get a further stage."""

    def refine_masks(self, outputs: int) -> None:
        """Add the stage, whose parameters are trainable whatever the method froze.

        Args:
            outputs: K, number of logits of each pixel.

        Raises:
            UnsupportedError: its decoder cannot have one.
        """


def on_mask_grid(build: "Callable[..., nn.Module]") -> "Callable[..., nn.Module]":
    """The build function of a method with what the grid of masks of the task needs beyond it.

    Args:
        build: of the method; it need not know of grids of masks. What is returned raises
            UnsupportedError where the model has no decoder that could have a further stage.
    """

    @functools.wraps(build)
    def build_for(task: Task, **options: OptionValue) -> "nn.Module":
        module = build(task, **options)
        if task.mask_grid == Task.mask_grid:
            return module
        if not isinstance(module, RefinesMasks):
            raise UnsupportedError(
                f"--mask-grid {task.mask_grid} is a further stage of SAM's decoder, and this method"
                " has none: leave it out"
            )
        module.refine_masks(task.num_classes)
        return module

    return build_for
