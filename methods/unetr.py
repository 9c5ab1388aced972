"""UNETR from scratch (Hatamizadeh et al., 2021, section 3), from MONAI, for 2-D images."""

from torch import nn

from bench import Normalised, Task, register_method, replace_modules, require, require_library

require_library("monai", "einops")


@register_method("unetr", paper="https://arxiv.org/abs/2103.10504", lr=1e-3, from_scratch=True)
def unetr(task: Task, *, width: int = 96, heads: int = 3, filters: int = 8) -> nn.Module:
    """UNETR trained from scratch; the paper's width is 768, with 12 heads and 16 filters."""
    from monai.networks.nets.unetr import UNETR

    require(heads >= 1, f"heads {heads} is too few: give 1 or more")
    require(
        width >= heads and width % heads == 0, f"width {width} must be a multiple of heads {heads}"
    )
    require(filters >= 1, f"filters {filters} is too few: give 1 or more")
    network = UNETR(
        3,
        task.num_classes,
        img_size=task.image_size + -task.image_size % 16,
        feature_size=filters,
        hidden_size=width,
        mlp_dim=4 * width,
        num_heads=heads,
        spatial_dims=2,
    )
    # MONAI builds a norm for cross-attention, which nothing here uses.
    replace_modules(network.vit, r"blocks\.\d+\.norm_cross_attn", lambda norm: nn.Identity())
    return Normalised(network, 16)
