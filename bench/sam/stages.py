"""A model as a sequence of stages; its frozen first stages need to run only once per image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from bench.sam.prompts import Prompts


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


@runtime_checkable
class Staged(Protocol):
    """A model that runs in stages, so that the trainer can reuse the output of frozen stages."""

    def stages(self) -> list[Stage]:
        """Return the stages from images (B, 3, S, S) in [0, 1] to features, in order."""

    def decode(self, features: Tensor, prompts: Prompts | None = None, low: bool = False) -> Tensor:
        """Return class logits (B, K, S, S) of the last features; with `low`, at SAM's mask size.

        That is four times the side of the embeddings.
        """


@runtime_checkable
class Refined(Protocol):
    """A model that can decode with the images, too; `refiner` is None where it does not."""

    refiner: nn.Module | None

    def decode(
        self, features: Tensor, prompts: Prompts | None, low: bool, images: Tensor | None
    ) -> Tensor:
        """As of `Staged`, with the images (B, 3, S, S) in [0, 1] that the features are of."""
