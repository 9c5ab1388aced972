"""Frozen stages of a model, run once per image instead of once per training step."""

import torch
from torch import Tensor

from bench.learn.model import Model, ModelInput

MOST_BYTES = 8 << 30  # more than the features of a bank take, except at published bank sizes


def run_frozen_stages(model: Model, images: Tensor, batch: int = 8) -> ModelInput:
    """The input of training: features of the frozen stages where they can be kept, else images.

    Frozen stages run without gradients on the same rows in both cases, so the results of a training
    are equal. Images are returned as they are where no stage is frozen, or where the features would
    take more than `MOST_BYTES`.

    Args:
        model: its stages must behave as in training, so put its module into training mode first.
        images: (N, 3, S, S) uint8, on the device of the model.
        batch: images per call.
    """
    if not model.frozen_stages:
        return ModelInput(images)
    first, *rest = images.split(batch)
    features = [model.encode_frozen(first)]
    if features[0][0].nbytes * len(images) > MOST_BYTES:
        return ModelInput(images)
    features += [model.encode_frozen(part) for part in rest]
    return ModelInput(torch.cat(features), encoded=True)
