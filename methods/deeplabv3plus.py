"""DeepLabV3+ from scratch (Chen et al., 2018), from segmentation-models-pytorch."""

import segmentation_models_pytorch as smp
from torch import nn

from bench import Task, register_method, require, with_encoder


@register_method(
    "deeplabv3plus", paper="https://arxiv.org/abs/1802.02611", lr=3e-3, from_scratch=True
)
def deeplabv3plus(
    task: Task,
    *,
    encoder: str = "tu-mobilenetv3_small_100",
    width: int = 128,
    pretrained: bool = False,
) -> nn.Module:
    """DeepLabV3+ trained from scratch: dilated convolutions at several rates, output stride 16."""
    require(width >= 8, f"width {width} is too small: give 8 or more")
    return with_encoder(smp.DeepLabV3Plus, task, encoder, pretrained, decoder_channels=width)
