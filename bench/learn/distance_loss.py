"""The loss of learned maps that separate objects, such as the distance to the border."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

SCALE = 255  # of stored maps: 255 is 1


def distance_loss(logits: Tensor, distances: Tensor, weights: Sequence[float]) -> Tensor:
    """Mean over the pixels of objects of the absolute errors, summed over the maps with weights.

    Other pixels have no influence; without any pixel of an object it is 0.

    Args:
        logits: (B, C, h, w); their sigmoid is the predicted share.
        distances: (B, C, h, w) uint8, `SCALE` times the true maps in [0, 1]. The first, the
            distance to the border, is 0 outside of objects, and above 0 inside.
        weights: of the C maps.
    """
    inside = (distances[:, :1] > 0).to(logits.dtype)
    errors = F.l1_loss(logits.sigmoid(), distances.to(logits.dtype) / SCALE, reduction="none")
    shares = logits.new_tensor(weights)[:, None, None]
    return (errors * inside * shares).sum() / inside.sum().clamp(min=1)
