"""Whether an exported model gives the same output as the model that it was made from."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.errors import UserError


def check_images(side: int) -> npt.NDArray[np.uint8]:
    """Two square images (2, S, S, 3) uint8: noise, and smooth colours; both contain 0 and 255.

    Args:
        side: S in pixels.
    """
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    ramp = np.linspace(0, 255, side)
    down, across = np.meshgrid(ramp, ramp, indexing="ij")
    smooth = np.stack([down, across, np.abs(down - across)], axis=-1).round().astype(np.uint8)
    noise[0, 0], noise[0, 1] = 0, 255
    return np.stack([noise, smooth])


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of two outputs, divided by the largest absolute value of `ours`.

    The divisor is at least 1. The result is infinite if any output is not finite.

    Args:
        ours: of the kept model, any shape.
        theirs: of the exported model, the same shape.
    """
    ours, theirs = ours.double(), theirs.double()
    scale = max(1.0, ours.abs().max().item())
    difference = (ours - theirs).abs().max().item() / scale
    return difference if math.isfinite(difference) else math.inf


def require_agreement(difference: float, limit: float) -> None:
    """Refuse an export whose output differs from that of the model.

    Args:
        difference: result of `largest_difference`.
        limit: largest difference that is allowed.

    Raises:
        UserError: `difference` is above `limit`, or NaN.
    """
    if not difference <= limit:
        raise UserError(
            f"the outputs of the exported model differ from those of the model by {difference:.1e}"
            f" (allowed: {limit:.0e} of the largest), so nothing was written: use predict instead"
        )


def to_unit(images: npt.NDArray[np.uint8]) -> Tensor:
    """Images (B, S, S, 3) uint8 as (B, 3, S, S) float in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255
