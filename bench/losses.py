"""Losses over class logits; every one skips pixels that are `IGNORE`."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.items import IGNORE
from bench.errors import no_such

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean cross entropy of logits (B, K, H, W) over the labelled pixels of masks (B, H, W)."""
    counted = (masks != IGNORE).sum().clamp(min=1)
    total = F.cross_entropy(logits, masks.long(), ignore_index=IGNORE, reduction="sum")
    return total / counted


def soft_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - Dice of softmax probabilities, mean over the K classes, summed over batch and space.

    Sums over the batch keep a rare class alive that most images lack; 1 pixel of smoothing makes a
    class that neither side holds a perfect one.
    """
    truth = _one_hot(masks, logits)
    probability = logits.softmax(1) * (masks != IGNORE)[:, None]
    overlap = (probability * truth).sum((0, 2, 3))
    sizes = probability.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    return (1 - (2 * overlap + 1) / (sizes + 1)).mean()


def _one_hot(masks: Tensor, logits: Tensor) -> Tensor:
    """Masks (B, H, W) as zeros and ones of the shape (B, K, H, W) and type of the logits."""
    labelled = (masks != IGNORE)[:, None]
    index = masks.long()[:, None] * labelled
    return torch.zeros_like(logits).scatter_(1, index, labelled.to(logits.dtype))


def balanced_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross entropy in which a pixel weighs 1 / sqrt(share of its class in the batch).

    Weights are scaled to a mean of 1 over the labelled pixels. Plain cross entropy rewards a short
    training for naming everything background; full balance would reward the opposite.
    """
    counts = _one_hot(masks, logits).sum((0, 2, 3))
    weights = counts.clamp(min=1).rsqrt() * (counts > 0)
    weights = weights * counts.sum() / (weights * counts).sum().clamp(min=1e-12)
    loss = F.cross_entropy(logits, masks.long(), weights, ignore_index=IGNORE, reduction="sum")
    return loss / counts.sum().clamp(min=1)


def balanced_ce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Balanced cross entropy plus soft Dice, equal weights."""
    return balanced_cross_entropy(logits, masks) + soft_dice(logits, masks)


def ce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross entropy plus soft Dice, equal weights."""
    return cross_entropy(logits, masks) + soft_dice(logits, masks)


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "balanced_ce": balanced_cross_entropy,
    "dice": soft_dice,
    "ce_dice": ce_dice,
    "balanced_ce_dice": balanced_ce_dice,
}


def get_loss(name: str) -> Loss:
    """The loss of that name.

    Raises:
        UserError: there is none.
    """
    if name not in LOSSES:
        raise no_such("loss", name, LOSSES)
    return LOSSES[name]
