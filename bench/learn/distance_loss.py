"""The loss of learned distances to the border and to the centre of objects."""

import torch.nn.functional as F
from torch import Tensor

SCALE = 255  # of stored distances: 255 is 1


def distance_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Mean over the pixels of objects of the absolute error, summed over the two distances.

    Other pixels have no influence; without any pixel of an object it is 0.

    Args:
        logits: (B, 2, h, w); their sigmoid is the predicted share.
        distances: (B, 2, h, w) uint8, `SCALE` times the shares of the distances to the border and
            to the centre. The first is 0 outside of objects, and above 0 inside.
    """
    inside = (distances[:, :1] > 0).to(logits.dtype)
    errors = F.l1_loss(logits.sigmoid(), distances.to(logits.dtype) / SCALE, reduction="none")
    return (errors * inside).sum() / inside.sum().clamp(min=1)
