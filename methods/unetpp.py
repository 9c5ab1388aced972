"""U-Net++ from scratch (Zhou et al., 2018), from segmentation-models-pytorch."""

import segmentation_models_pytorch as smp
from torch import nn

from bench import Task, register_method, require, with_encoder


@register_method("unetpp", paper="https://arxiv.org/abs/1807.10165", lr=3e-3, from_scratch=True)
def unetpp(
    task: Task,
    *,
    encoder: str = "tu-mobilenetv3_small_100",
    width: int = 64,
    pretrained: bool = False,
) -> nn.Module:
    """U-Net++ trained from scratch: nested, densely connected decoders."""
    require(width >= 8, f"width {width} is too small: give 8 or more")
    channels = [width, 3 * width // 4, width // 2, width // 4, width // 8]  # deep to shallow
    return with_encoder(smp.UnetPlusPlus, task, encoder, pretrained, decoder_channels=channels)
