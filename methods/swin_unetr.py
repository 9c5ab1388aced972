"""Swin UNETR from scratch (Hatamizadeh et al., 2022, section 3), from MONAI, for 2-D images."""

from torch import nn

from bench import (
    Normalised,
    Task,
    UnsupportedError,
    build_off_meta,
    register_method,
    require,
    require_library,
)

require_library("monai", "einops")


@register_method("swin_unetr", paper="https://arxiv.org/abs/2201.01266", lr=1e-3, from_scratch=True)
def swin_unetr(task: Task, *, width: int = 12) -> nn.Module:
    """Swin UNETR trained from scratch; the paper's width is 48."""
    from monai.networks.nets.swin_unetr import SwinUNETR

    require(width >= 12 and width % 12 == 0, f"width {width} must be a multiple of 12")
    if task.image_size <= 32:
        raise UnsupportedError("the deepest stage normalises each image: give more than 32 px")
    network = build_off_meta(
        lambda: SwinUNETR(3, task.num_classes, feature_size=width, spatial_dims=2)
    )
    return Normalised(network, 32)
