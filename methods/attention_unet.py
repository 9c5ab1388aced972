"""Attention U-Net from scratch (Oktay et al., 2018, section 2.2), from MONAI."""

from torch import nn

from bench import Normalised, Task, register_method, require, require_library

require_library("monai")


@register_method(
    "attention_unet", paper="https://arxiv.org/abs/1804.03999", lr=3e-3, from_scratch=True
)
def attention_unet(task: Task, *, width: int = 16) -> nn.Module:
    """Attention U-Net trained from scratch: gates on the skip connections."""
    from monai.networks.nets.attentionunet import AttentionUnet

    require(width >= 2, f"width {width} is too small: give 2 or more")
    channels = [width * 2**level for level in range(5)]
    return Normalised(AttentionUnet(2, 3, task.num_classes, channels, (2, 2, 2, 2)), 16)
