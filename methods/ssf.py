"""SSF: scaling and shifting of deep features in a frozen encoder (Lian et al., 2022, section 3.2).

y = scale * x + shift, with one scale and one shift per channel, follows the patch embedding and
every linear layer and norm of the frozen encoder, including the norms of the neck. In TinyViT, the
norms after the convolutions are scaled and shifted instead of the patch embedding. Scales, shifts
and the mask decoder are trained. `blocks` selects encoder blocks; the layers outside the blocks
are always scaled and shifted. Scale and shift can be merged into the layer before them.
The paper draws scales from N(1, 0.02) and shifts from N(0, 0.02); here they start at 1 and 0, so
the untrained model equals the pretrained one.
"""

import copy
import re

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from bench import (
    SamSegmenter,
    SemanticDecoder,
    Task,
    freeze,
    freeze_other_blocks,
    load_sam,
    register_method,
    replace_modules,
)

MAPS = (nn.Conv2d, LayerNorm2d, nn.BatchNorm2d)  # channels second: (B, C, H, W)
TOKENS = (nn.Linear, nn.LayerNorm)  # channels last: (..., C)


class ScaleShift(nn.Module):
    """A frozen layer with a scale and a shift for each output channel."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        channels = layer.get_parameter("bias").shape
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer, then scale and shift; shapes are those of the layer."""
        output: Tensor = self.layer(x)
        place = (-1, 1, 1) if isinstance(self.layer, MAPS) else (-1,)
        return output * self.scale.view(place) + self.shift.view(place)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the plain layer with scale and shift merged into its weight and bias."""
        plain = copy.deepcopy(self.layer)
        weight, bias = plain.get_parameter("weight"), plain.get_parameter("bias")
        weight.mul_(self.scale.view(-1, *[1] * (weight.ndim - 1)))
        bias.mul_(self.scale).add_(self.shift)
        return plain


@register_method("ssf", paper="https://arxiv.org/abs/2210.08823", lr=5e-3)
def ssf(task: Task, *, blocks: str = "all") -> nn.Module:
    """SSF: scale and shift after every layer of the frozen encoder; mask decoder trained."""
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    encoder = model.image_encoder
    freeze_other_blocks(encoder, blocks)
    layers = [
        re.escape(name)
        for name, module in encoder.named_modules()
        if isinstance(module, (*MAPS, *TOKENS))
        and module.bias is not None  # the neck's convolutions have none to fold a shift into
        and module.bias.requires_grad  # not in TinyViT's classifier, which is never run
    ]
    freeze(encoder)
    replace_modules(encoder, "|".join(layers), ScaleShift)
    return model
