"""Learned rays (`bench.objects.rays`) of an image that was resized."""

import math

import torch
from torch import Tensor

from bench.objects.rules import OCTAVES

EDGE = 1e-4  # of shares, whose logits are infinite at 0 and 1


def scale_rays(logits: Tensor, scale: tuple[float, float]) -> Tensor:
    """Return the outputs for rays in pixels of the model's input as outputs in those of the image.

    Where rows and columns have different scales, directions change too: the length in a direction
    is interpolated linearly between the two next rays.

    Args:
        logits: (..., R, H, W); their sigmoid is log2(1 + length) / OCTAVES.
        scale: rows and columns of the image for one of the model's input.
    """
    lengths = torch.exp2(OCTAVES * logits.float().sigmoid()) - 1
    if scale[0] == scale[1]:
        return _logits(lengths * scale[0])
    count = lengths.shape[-3]
    rays = []
    for number in range(count):
        angle = 2 * math.pi * number / count
        across, down = math.cos(angle) / scale[1], math.sin(angle) / scale[0]
        place = math.atan2(down, across) / (2 * math.pi) * count % count
        first = math.floor(place)
        near, far = (lengths[..., index % count, :, :] for index in (first, first + 1))
        rays.append(torch.lerp(near, far, place - first) / math.hypot(across, down))
    return _logits(torch.stack(rays, -3))


def _logits(lengths: Tensor) -> Tensor:
    return (torch.log2(1 + lengths) / OCTAVES).clamp(EDGE, 1 - EDGE).logit()
