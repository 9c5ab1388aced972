"""Feature pyramid network from scratch (Lin et al., 2017), from segmentation-models-pytorch."""

import segmentation_models_pytorch as smp
from torch import nn

from bench import Task, register_method, require, with_encoder


@register_method("fpn", paper="https://arxiv.org/abs/1612.03144", lr=3e-3, from_scratch=True)
def fpn(
    task: Task,
    *,
    encoder: str = "tu-mobilenetv3_small_100",
    width: int = 128,
    pretrained: bool = False,
) -> nn.Module:
    """Feature pyramid network trained from scratch: features of all scales resized and added."""
    require(width >= 64 and width % 64 == 0, f"width {width} must be a multiple of 64")
    return with_encoder(
        smp.FPN,
        task,
        encoder,
        pretrained,
        decoder_pyramid_channels=width,
        decoder_segmentation_channels=width // 2,  # in normalisation groups of 32
    )
