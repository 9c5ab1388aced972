"""SAM's image encoder with exact fast attention: same modules, same keys, less work.

SAM adds to each attention logit a bias of the row and of the column distance (Kirillov et al.,
2023, after Li et al., 2022, https://arxiv.org/abs/2203.16527): q k / sqrt(d) + q Rh + q Rw. That
sum is one longer product, [q / sqrt(d), q Rh, q Rw] [k, onehot(row), onehot(column)], so no bias
is added up and a fused kernel can take it. In windowed blocks the padding is zero after the norm:
its queries, keys and values are what the layer makes of zero, and its outputs are never computed.
"""

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Block, get_rel_pos
from torch import Tensor

FUSED_FROM = (
    2048  # tokens; below it the CPU is faster with the plain product in place of the kernel
)


class FastBlock(Block):  # type: ignore[misc]  # segment_anything has no types
    """A `segment_anything` encoder block; its forward does the same with less work."""

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, H, W, C) to tokens of the same shape."""
        x = x + self.attend(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def attend(self, x: Tensor) -> Tensor:
        """Self-attention over normalised tokens (B, H, W, C), within windows or over all."""
        attn = self.attn
        batch, height, width, _ = x.shape
        rows, columns = (self.window_size,) * 2 if self.window_size else (height, width)
        qkv = self._pad(attn.qkv(x), -height % rows, -width % columns)
        down, across = qkv.shape[1] // rows, qkv.shape[2] // columns
        windows = qkv.reshape(batch, down, rows, across, columns, 3, attn.num_heads, -1)
        windows = windows.permute(5, 0, 1, 3, 6, 2, 4, 7)  # 3, B, down, across, heads, r, c, d
        q, k, v = windows.reshape(3, -1, attn.num_heads, rows, columns, windows.shape[-1]).unbind(0)
        scaled = q * attn.scale
        if attn.use_rel_pos:
            by_row = get_rel_pos(rows, rows, attn.rel_pos_h).to(q.dtype)
            by_column = get_rel_pos(columns, columns, attn.rel_pos_w).to(q.dtype)
            bias_row = torch.einsum("nhrcd,rkd->nhrck", q, by_row)
            bias_column = torch.einsum("nhrcd,ckd->nhrck", q, by_column)
            scaled = torch.cat([scaled, bias_row, bias_column], dim=-1)
            k = torch.cat([k, _one_hot_places(k)], dim=-1)
        out = attention(scaled.flatten(2, 3), k.flatten(2, 3), v.flatten(2, 3))
        out = out.reshape(batch, down, across, attn.num_heads, rows, columns, -1)
        out = out.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, down * rows, across * columns, -1)
        projected: Tensor = attn.proj(out[:, :height, :width])
        return projected

    def _pad(self, qkv: Tensor, bottom: int, right: int) -> Tensor:
        """Complete the windows of qkv (B, H, W, 3C) with what the layer makes of zero."""
        if not bottom and not right:
            return qkv
        batch, height, width, _ = qkv.shape
        zero = qkv.new_zeros(1, 1, 1, self.norm1.normalized_shape[0])
        made = self.attn.qkv(zero).to(qkv.dtype)
        qkv = torch.cat([qkv, made.expand(batch, height, right, -1)], dim=2)
        return torch.cat([qkv, made.expand(batch, bottom, width + right, -1)], dim=1)


def _one_hot_places(k: Tensor) -> Tensor:
    """Row and column of each key (N, heads, rows, columns, d) as (..., rows + columns)."""
    rows, columns = k.shape[2:4]
    row = torch.eye(rows, dtype=k.dtype, device=k.device)[:, None].expand(-1, columns, -1)
    column = torch.eye(columns, dtype=k.dtype, device=k.device)[None].expand(rows, -1, -1)
    return torch.cat([row, column], dim=-1).expand(*k.shape[:2], -1, -1, -1)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k) v of q, k (N, heads, tokens, e) and v (N, heads, tokens, d), where d <= e."""
    if q.device.type == "cpu" and q.shape[2] < FUSED_FROM:
        with torch.autocast("cpu", enabled=False):  # which would widen the softmax to fp32
            return (q @ k.mT).softmax(-1) @ v
    # Fused kernels ask for one width, a multiple of 8, of all three.
    wide = -(-q.shape[-1] // 8) * 8
    q, k, padded = (F.pad(x, (0, wide - x.shape[-1])) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, padded, scale=1.0)
    return out[..., : v.shape[-1]]
