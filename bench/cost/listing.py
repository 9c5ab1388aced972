"""Operations and sizes of a model as the library torchinfo lists them.

Publications print its summary. Its definitions are not those of the other counts of this room: it
sums over layers, multiplies the weights of a linear layer by the first dimension of its output
only, passes over operations that are not layers, and counts every output of a layer twice (forward
and backward).
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class LayerListing:
    """Totals of torchinfo's summary of a model for one batch.

    Attributes:
        mult_adds: multiply-adds of all layers.
        activation_bytes: outputs of all layers, twice; its "forward/backward pass size".
        param_bytes: parameters of layers; its "params size".
    """

    mult_adds: int
    activation_bytes: int
    param_bytes: int


def list_layers(model: nn.Module, image_size: int, batch: int) -> LayerListing:
    """The totals of torchinfo's summary.

    Args:
        model: on the meta device, where nothing is computed; it takes images alone.
        image_size: side in pixels.
        batch: number of images.

    Raises:
        RuntimeError: the model does not run on such a batch.
    """
    from torchinfo import summary

    images = torch.zeros(batch, 3, image_size, image_size, device="meta")
    totals = summary(model, input_data=images, device="meta", verbose=0)
    return LayerListing(totals.total_mult_adds, totals.total_output_bytes, totals.total_param_bytes)
