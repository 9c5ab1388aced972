"""Frozen stages of a model, run once per image instead of once per training step."""

from torch import Tensor

from bench.data.parallel import tell
from bench.learn.model import Model, ModelInput

MOST_BYTES = 8 << 30  # the features of a bank are smaller, except at published bank sizes


def run_frozen_stages(model: Model, images: Tensor, batch: int = 8) -> ModelInput:
    """Return the input of training: features of the frozen stages if they fit, otherwise images.

    The result of training is the same in both cases but for rounding, because frozen stages run
    without gradients on the same rows. The images are returned if no stage is frozen, or if the
    features would need more than `MOST_BYTES`.

    Args:
        model: its module must be in training mode, so that the stages behave as in training.
        images: (N, 3, S, S) uint8, on the device of the model, N at least 1.
        batch: images per call of the frozen stages.
    """
    if not model.frozen_stages:
        return ModelInput(images)
    first = model.encode_frozen(images[:batch])
    if first[0].nbytes * len(images) > MOST_BYTES:
        return ModelInput(images)
    # Written into one tensor, because a concatenation would hold all features twice.
    features = first.new_empty((len(images), *first.shape[1:]))
    features[:batch] = first
    for start in range(batch, len(images), batch):
        features[start : start + batch] = model.encode_frozen(images[start : start + batch])
        tell("running frozen stages", start, len(images))
    return model.encoded(features, images)
