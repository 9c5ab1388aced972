"""How far a training is: the part of its state that is neither model nor optimiser."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bench.learn.images import TrainingImages
from bench.spec import Recipe


@dataclass
class Position:
    """How far a training is; changed by each step.

    Attributes:
        rng: draws the order of the batches and the training prompts.
        step: steps done.
        images: rows of the batches so far.
        seconds: duration of the steps so far, in all processes that worked on the training.
        order: images (or stacks) of the current pass that no batch has used yet, in their order.
        left: images of the current epoch that no batch has used yet, where the recipe sets the
            images of an epoch.
        losses: of the steps since the last point of the curve; scalars.
        curve: see `bench.learn.loop.fit`.
    """

    rng: np.random.Generator
    step: int = 0
    images: int = 0
    seconds: float = 0.0
    order: list[int] = field(default_factory=list)
    left: int = 0
    losses: list[Tensor] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)

    def next_batch(self, recipe: Recipe, bank: TrainingImages) -> list[int]:
        """Return the rows of the next batch: whole stacks, in a new random order in each pass."""
        size = recipe.batch_size
        if recipe.epoch_images is not None:
            self.left = self.left or recipe.epoch_images
            size = min(size, self.left)
            self.left -= size
        while len(self.order) < size:
            self.order += self.rng.permutation(len(bank) // bank.depth).tolist()
        batch, self.order = self.order[:size], self.order[size:]
        return [stack * bank.depth + row for stack in batch for row in range(bank.depth)]

    def mean_loss(self) -> float:
        """Return the mean loss since the last point of the curve, else that of the last point.

        It may be infinite or not a number. There must be a step.
        """
        if not self.losses:
            return self.curve[-1]["loss"]
        return torch.stack(self.losses).mean().item()
