"""The image encoder of SAM 3's tracker, with SAM 2's decoder (Carion et al., 2025).

A ViT with patches of 14 px, whose queries and keys are rotated by their place (2D RoPE); positions
of its pretraining are tiled over the image. Maps of three resolutions are made from its last block.
After the public code, which has a fourth, coarser map: its layers are kept, frozen, so that the
number of parameters and the tensors agree with the checkpoint.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from bench.sam.encoder import FastAttention, FastBlock, FastEncoder
from bench.sam.pyramid import pack, with_pyramid_decoder
from bench.sam.stages import Stage

THETA = 10_000.0  # base of the wavelengths of the rotations
PIXEL = 127.5  # mean and standard deviation of the pixels, for images in [0, 255]


@dataclass(frozen=True)
class Sam3Sizes:
    """Sizes of the encoder of SAM 3; the defaults are those of the published model.

    Attributes:
        width: channels of each token.
        heads: number of attention heads of each block.
        depth: number of blocks.
        mlp: hidden channels of the MLP of a block.
        global_blocks: indices of the blocks without windows.
        window: side of a window in tokens, and of the grid of the pretraining.
        patch: side of a patch in pixels.
        channels: C of the embedding.
    """

    width: int = 1024
    heads: int = 16
    depth: int = 32
    mlp: int = 4736
    global_blocks: tuple[int, ...] = (7, 15, 23, 31)
    window: int = 24
    patch: int = 14
    channels: int = 256


class RotaryAttention(FastAttention):
    """Attention whose queries and keys are rotated by their column and row.

    Args:
        window: side of the windows in tokens; with 0 each token attends to all tokens.
        span: largest distance of the rotations: a grid of any side is stretched to it.
        settings: keyword arguments of `segment_anything`'s `Attention`.
    """

    def __init__(self, window: int, span: int, **settings: Any) -> None:
        super().__init__(window, **settings)
        self.span = span

    def place(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate queries and keys (N, heads, rows, columns, d), in fp32."""
        rows, columns, d = q.shape[2:]
        steps = torch.arange(d // 4, device=q.device) / (d // 4)
        frequencies = THETA**-steps * (self.span / columns)
        x = torch.arange(columns, device=q.device)[:, None] * frequencies
        y = torch.arange(rows, device=q.device)[:, None] * frequencies
        angles = torch.cat(
            [x.expand(rows, -1, -1), y[:, None].expand(-1, columns, -1)], dim=-1
        )  # (rows, columns, d / 2)
        cos, sin = angles.cos(), angles.sin()
        return _rotated(q, cos, sin), _rotated(k, cos, sin)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair of neighbouring channels."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2).to(x.dtype)


class RotaryBlock(FastBlock):
    """An encoder block with `RotaryAttention`; arguments as of `FastBlock`, and `span`."""

    def __init__(
        self, dim: int, num_heads: int, window_size: int, span: int, **settings: Any
    ) -> None:
        super().__init__(dim, num_heads, window_size, **settings)
        self.attn = RotaryAttention(
            window_size, span, dim=dim, num_heads=num_heads, qkv_bias=True, use_rel_pos=False
        )


class Sam3Neck(nn.Module):
    """Maps of 4 s, 2 s, s and s / 2 from tokens; the last is not used, and frozen.

    Args:
        width: channels of the tokens.
        channels: C of the embedding.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        scaled = [width // 4, width // 2, width, width]
        self.fpn_layers: Any = nn.ModuleList(nn.Module() for _ in scaled)
        for level, inputs in zip(self.fpn_layers, scaled, strict=True):
            level.scale_layers = nn.ModuleList()
            level.proj1 = nn.Conv2d(inputs, channels, 1)
            level.proj2 = nn.Conv2d(channels, channels, 3, padding=1)
        finest, finer, _, unused = list[Any](self.fpn_layers)
        finest.scale_layers.extend(
            [
                nn.ConvTranspose2d(width, width // 2, 2, 2),
                nn.GELU(),
                nn.ConvTranspose2d(width // 2, width // 4, 2, 2),
            ]
        )
        finer.scale_layers.append(nn.ConvTranspose2d(width, width // 2, 2, 2))
        unused.requires_grad_(False)
        self.no_memory = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv_s0 = nn.Conv2d(channels, channels // 8, 1)
        self.conv_s1 = nn.Conv2d(channels, channels // 4, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, width, s, s) to (B, 4 C, s, s), see `pack`."""
        maps = []
        for level in self.fpn_layers[:3]:
            x = tokens
            for layer in (*level.scale_layers, level.proj1, level.proj2):
                x = layer(x)
            maps.append(x)
        finest, fine, embedding = maps
        return pack(embedding + self.no_memory, self.conv_s1(fine), self.conv_s0(finest))


class Sam3Encoder(FastEncoder):
    """Normalised images (B, 3, S, S) to (B, 4 C, s, s), see `pack`.

    Args:
        image_size: S in pixels, a multiple of the patch.
        sizes: of the encoder.

    Attributes:
        pos_embed: (1, n, width) positions of the pretraining, row by row.
    """

    def __init__(self, image_size: int, sizes: Sam3Sizes) -> None:
        width, patch = sizes.width, sizes.patch
        super().__init__(
            image_size=image_size,
            patch=patch,
            width=width,
            heads=sizes.heads,
            depth=0,
            global_blocks=(),
            window=sizes.window,
            out_channels=sizes.channels,
        )
        self.side = sizes.window
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch, bias=False)
        self.pos_embed = nn.Parameter(torch.zeros(1, sizes.window**2, width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.ln_pre = nn.LayerNorm(width)
        self.blocks.extend(
            RotaryBlock(
                width,
                sizes.heads,
                0 if index in sizes.global_blocks else sizes.window,
                sizes.window,
                input_size=(image_size // patch, image_size // patch),
                mlp_ratio=sizes.mlp / width,
                norm_layer=functools.partial(nn.LayerNorm, eps=1e-5),
            )
            for index in range(sizes.depth)
        )
        self.neck = Sam3Neck(width, sizes.channels)

    def add_positions(self, patches: Tensor) -> Tensor:
        """Add the positions to patches (1 or B, s, s, width), repeated where the grid is larger."""
        side = patches.shape[1]
        grid = self.pos_embed.unflatten(1, (self.side, self.side))
        times = -(-side // self.side)
        placed: Tensor = self.ln_pre(patches + grid.tile(1, times, times, 1)[:, :side, :side])
        return placed

    def stages(self) -> list[Stage]:
        """Return the stages from normalised images to maps."""
        first, *rest = super().stages()
        return [Stage(first.run, (*first.parameters, *self.ln_pre.parameters())), *rest]


def build_sam3(sizes: Sam3Sizes, image_size: int, mask_outputs: int) -> Sam:
    """Build the tracker of SAM 3 for images with random weights, on torch's default device.

    Args:
        sizes: of the encoder.
        image_size: side of the images in pixels, a multiple of the patch.
        mask_outputs: number of mask tokens of the decoder.
    """
    encoder = Sam3Encoder(image_size, sizes)
    sam = with_pyramid_decoder(encoder, image_size, mask_outputs, sizes.channels, sizes.patch)
    sam.pixel_mean.fill_(PIXEL)
    sam.pixel_std.fill_(PIXEL)
    return sam
