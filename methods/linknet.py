"""LinkNet from scratch (Chaurasia and Culurciello, 2017), from segmentation-models-pytorch."""

import segmentation_models_pytorch as smp
from torch import nn

from bench import Task, register_method, with_encoder


@register_method("linknet", paper="https://arxiv.org/abs/1707.03718", lr=3e-3, from_scratch=True)
def linknet(
    task: Task, *, encoder: str = "tu-mobilenetv3_small_100", pretrained: bool = False
) -> nn.Module:
    """LinkNet trained from scratch: a U-Net whose skip connections are sums."""
    return with_encoder(smp.Linknet, task, encoder, pretrained)
