"""MobileSAM's image encoder (Zhang et al., 2023, https://arxiv.org/abs/2306.14289), from timm.

The encoder is timm's TinyViT-5M, whose last downsampling has stride 1, followed by SAM's neck. The
public checkpoint contains an unused classifier. It is kept, frozen, so that the number of
parameters and the tensors agree with the checkpoint.
"""

import re
from collections.abc import Mapping
from typing import Any

from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import TinyVit
from torch import Tensor, nn

from bench.sam.stages import Stage


class TinyViTEncoder(nn.Module):
    """Images (B, 3, S, S) to embeddings (B, out_channels, S / 16, S / 16).

    S is a multiple of 16. The images are normalised. Each attention block has `attn.norm`,
    `attn.qkv`, `attn.proj`, `mlp.norm`, `mlp.fc1` and `mlp.fc2`. The rows of qkv are ordered by
    head, [q | k | v] for each head; in SAM's ViT all rows of q precede those of k and v. The unused
    classifier is frozen.

    Args:
        image_size: S in pixels, kept as `img_size`; no layer depends on it.
        out_channels: channels of the embeddings.
    """

    def __init__(self, image_size: int, out_channels: int) -> None:
        super().__init__()
        self.img_size = image_size
        self.trunk: Any = TinyVit(
            embed_dims=(64, 128, 160, 320),
            depths=(2, 2, 6, 2),
            num_heads=(2, 4, 5, 10),
            window_sizes=(7, 7, 14, 7),
            drop_path_rate=0.0,
        )
        last: Any = self.trunk.stages[3]
        last.downsample.conv2.conv.stride = (1, 1)
        self.trunk.head.requires_grad_(False)
        self.neck = nn.Sequential(
            nn.Conv2d(320, out_channels, 1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )

    @property
    def blocks(self) -> list[nn.Module]:
        """The ten attention blocks, in the order of the forward pass."""
        return [block for stage in self.trunk.stages[1:] for block in stage.blocks]

    def stages(self) -> list[Stage]:
        """Return the stages from normalised images to embeddings."""
        convolutions, *attending = self.trunk.stages
        steps = [Stage.of(self.trunk.patch_embed), Stage.of(convolutions)]
        for index, stage in enumerate(attending):

            def enter(x: Tensor, stage: Any = stage, first: bool = index == 0) -> Tensor:
                maps = x if first else x.permute(0, 3, 1, 2)
                tokens: Tensor = stage.downsample(maps).permute(0, 2, 3, 1)
                return tokens

            steps.append(Stage.of(stage.downsample, run=enter))
            steps += [Stage.of(block) for block in stage.blocks]
        return [*steps, Stage.of(self.neck, run=lambda x: self.neck(x.permute(0, 3, 1, 2)))]

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to embeddings (B, out_channels, S / 16, S / 16)."""
        features = images
        for stage in self.stages():
            features = stage.run(features)
        return features

    def train(self, mode: bool = True) -> "TinyViTEncoder":
        """Set the mode as `nn.Module.train`; a BatchNorm of frozen weight is in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self


def from_public(state: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the tensors of the public MobileSAM checkpoint to the names that this project uses.

    Args:
        state: values by the names of the checkpoint; names of this project stay as they are.

    Returns:
        The values by the new names, without the indices of attention biases, which are computed.
    """
    return {
        _renamed(name): tensor
        for name, tensor in state.items()
        if not name.endswith("attention_bias_idxs")  # computed from the side of the window
    }


def _renamed(name: str) -> str:
    prefix = "image_encoder."
    if not name.startswith(prefix) or name.startswith((prefix + "neck.", prefix + "trunk.")):
        return name
    name = name.removeprefix(prefix)
    name = re.sub(
        r"^patch_embed\.seq\.(0|2)", lambda m: f"patch_embed.conv{int(m[1]) // 2 + 1}", name
    )
    name = re.sub(
        r"^layers\.(\d)\.downsample", lambda m: f"stages.{int(m[1]) + 1}.downsample", name
    )
    name = re.sub(r"^layers\.", "stages.", name)
    name = re.sub(r"^norm_head", "head.norm", name)
    name = re.sub(r"^head\.(weight|bias)$", r"head.fc.\1", name)
    return prefix + "trunk." + re.sub(r"\.c\.", ".conv.", name)
