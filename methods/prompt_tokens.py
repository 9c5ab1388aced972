"""Deep visual prompt tuning (Jia et al., 2022, section 3.2) in SAM's windowed encoder.

In the paper, prompts join the tokens of every block, and the outputs of the block for the prompts
are discarded, so the prompts act only as keys and values. Here they are additional keys and values
of the attention of each block: in every window (as the paper does in Swin) or in the whole image.
The prompts and the mask decoder are trained. There are three differences from the paper:

* a prompt enters after the norm of the block, so it is learned as the attention receives it;
* a prompt has no position in the image, so SAM's relative positions add nothing to its logits;
* SAM has no class token: the mask decoder, trained in full, reads the image tokens.

The untrained model is not equal to the pretrained one, because prompts take a part of the attention
from the start.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import (
    get_rel_pos,
    window_partition,
    window_unpartition,
)
from torch import Tensor, nn
from torch.jit._trace import is_tracing

from bench import (
    SamSegmenter,
    SemanticDecoder,
    Task,
    freeze,
    load_sam,
    register_method,
    require,
    require_vit,
    select_blocks,
)


class PromptedAttention(nn.Module):
    """SAM's attention over tokens and `count` learned prompts, which are keys and values only."""

    layer: Any

    def __init__(self, layer: nn.Module, norm: nn.Module, count: int) -> None:
        super().__init__()
        self.layer = layer
        width = layer.get_submodule("proj").get_parameter("weight").shape[0]
        bound = math.sqrt(6 / (3 * 16**2 + width))  # as in the public code, for patches of 16 px
        start = torch.empty(count, width).uniform_(-bound, bound)
        self.prompts = nn.Parameter(norm(start).detach())

    def forward(self, x: Tensor) -> Tensor:
        """Normalised tokens (B, H, W, C) to tokens of the same shape."""
        window, size = self.layer.window, x.shape[1:3]
        if not window:
            return self.layer.proj(self._attend(x))
        windows, padded = window_partition(x, window)
        out = window_unpartition(self._attend(windows), window, padded, size)
        return self.layer.proj(out)

    def _attend(self, x: Tensor) -> Tensor:
        """Windows (N, rows, columns, C) to attention outputs before the projection, same shape."""
        rows, columns = x.shape[1:3]
        q, k, v = self._split(x.flatten(1, 2))
        _, more_k, more_v = self._split(self.prompts.expand(len(x), -1, -1))
        grid = q.unflatten(2, (rows, columns))  # SAM's relative positions see unscaled queries
        placed = self.layer.place(grid, k.unflatten(2, (rows, columns)))
        q, k = (x.flatten(2, 3) for x in placed)
        q, k, v = q * self.layer.scale, torch.cat([k, more_k], 2), torch.cat([v, more_v], 2)
        out = self._over(q, k, v, grid if self.layer.use_rel_pos else None)
        return out.transpose(1, 2).flatten(2).unflatten(1, (rows, columns))

    def _over(self, q: Tensor, k: Tensor, v: Tensor, grid: Tensor | None) -> Tensor:
        """Attention (N, heads, T, d); `grid` (N, heads, rows, columns, d) makes the biases."""
        plain = q.is_meta or is_tracing()  # plain operations, which can be counted
        if grid is None:
            if plain:
                return (q @ k.mT).softmax(-1) @ v
            return F.scaled_dot_product_attention(q, k, v, scale=1.0)
        rows, columns = grid.shape[2:4]
        row_table = get_rel_pos(rows, rows, self.layer.rel_pos_h).to(q.dtype)
        column_table = get_rel_pos(columns, columns, self.layer.rel_pos_w).to(q.dtype)
        by_row = torch.einsum("nhrcd,rkd->nhrck", grid, row_table).flatten(2, 3)
        by_column = torch.einsum("nhrcd,ckd->nhrck", grid, column_table).flatten(2, 3)
        if plain:
            bias = (by_row[..., None] + by_column[..., None, :]).flatten(-2)
            logits = q @ k.mT + F.pad(bias, (0, len(self.prompts)))
            return logits.softmax(-1) @ v
        return _fused(q, k, v, by_row, by_column)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (N, T, C) to queries, keys and values, each (N, heads, T, d)."""
        heads = self.layer.num_heads
        qkv = self.layer.qkv(tokens).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        return q, k, v


def _fused(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """The same in one fused call: keys encode their row and column, prompts have neither."""
    rows, columns = by_row.shape[-1], by_column.shape[-1]
    row = torch.eye(rows, dtype=k.dtype, device=k.device).repeat_interleave(columns, 0)
    column = torch.eye(columns, dtype=k.dtype, device=k.device).repeat(rows, 1)
    places = F.pad(torch.cat([row, column], -1), (0, 0, 0, k.shape[2] - rows * columns))
    q = torch.cat([q, by_row, by_column], -1)
    k = torch.cat([k, places.expand(*k.shape[:2], -1, -1)], -1)
    # Fused kernels need the same width, a multiple of 8, for all three.
    wide = -(-q.shape[-1] // 8) * 8
    q, k, padded = (F.pad(x, (0, wide - x.shape[-1])) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, padded, scale=1.0)
    return out[..., : v.shape[-1]]


@register_method("prompt_tokens", paper="https://arxiv.org/abs/2203.12119", lr=5e-3)
def prompt_tokens(task: Task, *, tokens: int = 10, blocks: str = "all") -> nn.Module:
    """Learned keys and values in the attention of frozen blocks (VPT); mask decoder trained."""
    require(tokens >= 1, f"tokens {tokens} is too small: give 1 or more")
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    encoder = model.image_encoder
    require_vit(encoder, "visual prompt tuning")
    freeze(encoder)
    for index in select_blocks(blocks, len(encoder.blocks)):
        block = encoder.blocks[index]
        block.attn = PromptedAttention(block.attn, block.norm1, tokens)
    return model
