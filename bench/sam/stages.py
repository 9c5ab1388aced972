"""A model as a row of stages, of which a frozen prefix needs to run once an image only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """One step of a model: what it does to the features, and the parameters it does it with."""

    run: Callable[[Tensor], Tensor]
    parameters: tuple[nn.Parameter, ...]

    @classmethod
    def of(cls, *modules: nn.Module, run: Callable[[Any], Tensor] | None = None) -> "Stage":
        """The stage of one module, or of what `run` does with several."""
        parameters = tuple(p for module in modules for p in module.parameters())
        return cls(run or modules[0], parameters)
