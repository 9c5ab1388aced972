"""U-Net from scratch (Ronneberger et al., 2015), from segmentation-models-pytorch: the baseline."""

import segmentation_models_pytorch as smp
from torch import nn

from bench import Task, register_method, require, with_encoder


@register_method("unet", paper="https://arxiv.org/abs/1505.04597", lr=3e-3, from_scratch=True)
def unet(
    task: Task,
    *,
    encoder: str = "tu-mobilenetv3_small_100",
    width: int = 64,
    pretrained: bool = False,
) -> nn.Module:
    """U-Net trained from scratch; the default has about as many parameters as sam_nano."""
    require(width >= 8, f"width {width} is too small: give 8 or more")
    channels = [width, 3 * width // 4, width // 2, width // 4, width // 8]  # deep to shallow
    return with_encoder(smp.Unet, task, encoder, pretrained, decoder_channels=channels)
