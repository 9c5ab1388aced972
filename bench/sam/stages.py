"""A model as a sequence of stages; its frozen first stages need to run only once per image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """One step of a model.

    Attributes:
        run: function from the features of the previous stage (images for the first stage) to those
            of this stage.
        parameters: all parameters that `run` uses.
    """

    run: Callable[[Tensor], Tensor]
    parameters: tuple[nn.Parameter, ...]

    @classmethod
    def of(cls, *modules: nn.Module, run: Callable[[Any], Tensor] | None = None) -> "Stage":
        """Return the stage of one module, or of a function `run` that uses several modules.

        Without `run` only the first module is called.
        """
        parameters = tuple(p for module in modules for p in module.parameters())
        return cls(run or modules[0], parameters)
