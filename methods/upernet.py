"""UPerNet from scratch (Xiao et al., 2018), from segmentation-models-pytorch."""

import segmentation_models_pytorch as smp
from torch import nn

from bench import Task, register_method, require, with_encoder


@register_method("upernet", paper="https://arxiv.org/abs/1807.10221", lr=3e-3, from_scratch=True)
def upernet(
    task: Task,
    *,
    encoder: str = "tu-mobilenetv3_small_100",
    width: int = 64,
    pretrained: bool = False,
) -> nn.Module:
    """UPerNet trained from scratch: a feature pyramid network with pyramid pooling."""
    require(width >= 8, f"width {width} is too small: give 8 or more")
    return with_encoder(smp.UPerNet, task, encoder, pretrained, decoder_channels=width)
