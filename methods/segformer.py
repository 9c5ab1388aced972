"""SegFormer from scratch (Xie et al., 2021), from segmentation-models-pytorch."""

import segmentation_models_pytorch as smp
from torch import nn

from bench import Task, register_method, require, with_encoder


@register_method("segformer", paper="https://arxiv.org/abs/2105.15203", lr=1e-3, from_scratch=True)
def segformer(
    task: Task, *, encoder: str = "mit_b0", width: int = 256, pretrained: bool = False
) -> nn.Module:
    """SegFormer-B0 trained from scratch: a transformer in stages and a decoder of linear layers."""
    require(width >= 8, f"width {width} is too small: give 8 or more")
    return with_encoder(
        smp.Segformer, task, encoder, pretrained, decoder_segmentation_channels=width
    )
