"""Losses, schedule and loop, on worked examples and against torch."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bench.data.bank import Bank
from bench.data.items import IGNORE
from bench.errors import UserError
from bench.losses import (
    LOSSES,
    balanced_ce_dice,
    balanced_cross_entropy,
    ce_dice,
    cross_entropy,
    get_loss,
    soft_dice,
)
from bench.spec import Recipe
from bench.train import DivergedError, Views, fit, learning_rate


def test_cross_entropy_skips_ignored_pixels() -> None:
    logits = torch.randn(2, 3, 4, 4)
    masks = torch.randint(3, (2, 4, 4), dtype=torch.uint8)
    masks[0, :2] = IGNORE
    kept = masks != IGNORE
    expected = nn.functional.cross_entropy(logits.permute(0, 2, 3, 1)[kept], masks[kept].long())
    torch.testing.assert_close(cross_entropy(logits, masks), expected)
    everything = torch.full((2, 4, 4), IGNORE, dtype=torch.uint8)
    assert cross_entropy(logits, everything) == 0


def test_soft_dice_of_a_worked_example() -> None:
    """Two classes, two pixels; p(class 1) is 1/2 at both, one of them is class 1.

    Each class: overlap 1/2, sizes 1 + 1, so Dice = (2 * 1/2 + 1) / (2 + 1) = 2/3.
    """
    masks = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    assert soft_dice(torch.zeros(1, 2, 1, 2), masks) == pytest.approx(1 / 3)


def test_soft_dice_ignores_and_rewards() -> None:
    masks = torch.tensor([[[0, 1, IGNORE]]], dtype=torch.uint8)
    sure = torch.tensor([[[[50.0, -50.0, 50.0]], [[-50.0, 50.0, -50.0]]]])
    assert soft_dice(sure, masks) == pytest.approx(0, abs=1e-6)
    other = sure.clone()
    other[..., 2] *= -1
    assert soft_dice(other, masks) == soft_dice(sure, masks)
    assert ce_dice(sure, masks) == cross_entropy(sure, masks) + soft_dice(sure, masks)
    with pytest.raises(UserError, match=r"no loss 'dicce'\. Did you mean 'dice'"):
        get_loss("dicce")


def test_balanced_cross_entropy_of_a_worked_example() -> None:
    """Three pixels of class 0, one of class 1: weights 1/sqrt(3) and 1, scaled to a mean of 1."""
    logits = torch.randn(1, 2, 2, 2)
    masks = torch.tensor([[[0, 0], [0, 1]]], dtype=torch.uint8)
    each = nn.functional.cross_entropy(logits, masks.long(), reduction="none")
    weights = torch.tensor([[[1, 1], [1, math.sqrt(3)]]])
    expected = (weights * each).sum() / weights.sum()
    torch.testing.assert_close(balanced_cross_entropy(logits, masks), expected)
    one_class = torch.zeros(1, 2, 2, dtype=torch.uint8)
    plain = cross_entropy(logits, one_class)
    torch.testing.assert_close(balanced_cross_entropy(logits, one_class), plain)
    nothing = torch.full((1, 2, 2), IGNORE, dtype=torch.uint8)
    assert balanced_cross_entropy(logits, nothing) == 0
    torch.testing.assert_close(balanced_ce_dice(logits, masks), expected + soft_dice(logits, masks))


def test_losses_run_on_the_meta_device() -> None:
    """Where the operations of a training step are counted."""
    logits = torch.zeros(1, 2, 4, 4, device="meta")
    masks = torch.zeros(1, 4, 4, dtype=torch.uint8, device="meta")
    for loss in LOSSES.values():
        assert loss(logits, masks).is_meta


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe(lr=1.0, steps=110, warmup_steps=10)
    assert learning_rate(recipe, 0) == pytest.approx(0.1)
    assert learning_rate(recipe, 9) == pytest.approx(1.0)
    assert learning_rate(recipe, 60) == pytest.approx(0.5)
    assert learning_rate(recipe, 109) == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 0.99))
    assert learning_rate(Recipe(lr=1.0, steps=1), 0) == 1.0  # shorter than the rise


class Pixelwise(nn.Module):
    """The simplest segmenter: a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(images)
        return logits


def halves() -> Views:
    """Dark left halves are class 0, bright right halves class 1."""
    images = np.zeros((6, 8, 8, 3), np.uint8)
    images[:, :, 4:] = 255
    masks = (images[..., 0] > 0).astype(np.uint8)
    return Views.of(Bank(images, masks), torch.device("cpu"))


def test_learns_and_tells_how_it_goes() -> None:
    torch.manual_seed(0)
    recipe = Recipe(lr=0.1, steps=60, batch_size=4, precision="fp32", weight_decay=0.0)
    said: list[dict[str, float]] = []
    curve = fit(
        Pixelwise(), halves(), recipe, seed=0, report=said.append, validate=lambda: 0.5, points=3
    )
    assert [row["step"] for row in curve] == [20, 40, 60]
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]
    assert curve[-1]["epoch"] == 60 * 4 / 6
    assert all(row["val_dice"] == 0.5 for row in curve)
    assert {"step", "epoch", "loss", "images_per_s"} <= said[-1].keys()


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    class Broken(Pixelwise):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * float("nan")

    with pytest.raises(DivergedError, match="the loss became nan at step 1"):
        fit(
            Broken(),
            halves(),
            Recipe(lr=0.1, steps=2, batch_size=2, precision="fp32"),
            seed=0,
            report=lambda row: None,
            validate=lambda: None,
        )
