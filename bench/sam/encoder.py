"""SAM's image encoder with fast, exact attention: same modules and state dict keys, less work.

SAM adds to each attention logit a bias for the row distance and one for the column distance
(Kirillov et al., 2023, after Li et al., 2022, https://arxiv.org/abs/2203.16527):
q k / sqrt(d) + q Rh + q Rw. This sum equals one longer product,
[q / sqrt(d), q Rh, q Rw] [k, onehot(row), onehot(column)], which a fused kernel can compute without
a separate bias. In windowed blocks the padding is zero after the norm, so the queries, keys and
values of all padded tokens equal the output of the qkv layer for zero; they are computed once, and
the outputs of padded tokens are not projected.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention, Block, get_rel_pos
from torch import Tensor, nn
from torch.jit._trace import is_tracing
from torch.utils.checkpoint import checkpoint

from bench.errors import UnsupportedError
from bench.sam.stages import Stage

# Number of tokens from which the fused kernel is used on a CPU. In fp32 it is as fast as the plain
# product and keeps less memory; in bf16 it is slower until the logits of a block take hundreds of
# MiB.
FUSED_FROM = {torch.float32: 512, torch.bfloat16: 2048}


# Whether `attention` takes the kernels of CUDA on every device, see `attention_as_on_cuda`.
_as_on_cuda = ContextVar("as_on_cuda", default=False)


@contextmanager
def attention_as_on_cuda() -> Iterator[None]:
    """Within the block, use the fused kernel for any number of tokens, as on CUDA.

    It is used to predict the memory on CUDA without a GPU. Tensors on the meta device and traced
    models keep the plain product.
    """
    token = _as_on_cuda.set(True)
    try:
        yield
    finally:
        _as_on_cuda.reset(token)


class FastAttention(Attention):  # type: ignore[misc]  # segment_anything has no types
    """The attention of `segment_anything`, including the division into windows.

    Args:
        window: side of the windows in tokens; with 0 each token attends to all tokens.
        settings: keyword arguments of `segment_anything`'s `Attention`.
    """

    def __init__(self, window: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, H, W, C) to tokens of the same shape."""
        return self.over(x, self.window)

    def over(self, x: Tensor, window: int) -> Tensor:
        """Attend within windows of `window` x `window` tokens; over all tokens if `window` is 0.

        Tokens (B, H, W, C) to tokens of the same shape; H and W need not be multiples of `window`.
        """
        batch, height, width, _ = x.shape
        rows, columns = (window, window) if window else (height, width)
        qkv = self._pad(self.qkv(x), x.shape[-1], -height % rows, -width % columns)
        down, across = qkv.shape[1] // rows, qkv.shape[2] // columns
        windows = qkv.reshape(batch, down, rows, across, columns, 3, self.num_heads, -1)
        windows = windows.permute(5, 0, 1, 3, 6, 2, 4, 7)  # 3, B, down, across, heads, r, c, d
        q, k, v = windows.reshape(3, -1, self.num_heads, rows, columns, windows.shape[-1]).unbind(0)
        q, k = self.place(q, k)
        bias = None
        if self.use_rel_pos:
            by_row = get_rel_pos(rows, rows, self.rel_pos_h).to(q.dtype)
            by_column = get_rel_pos(columns, columns, self.rel_pos_w).to(q.dtype)
            bias = (
                torch.einsum("nhrcd,rkd->nhrck", q, by_row),
                torch.einsum("nhrcd,ckd->nhrck", q, by_column),
            )
        out = attention(q * self.scale, k, v, bias)
        out = out.reshape(batch, down, across, self.num_heads, rows, columns, -1)
        out = out.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, down * rows, across * columns, -1)
        projected: Tensor = self.proj(out[:, :height, :width])
        return projected

    def place(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the places of queries and keys (N, heads, rows, columns, d) in them; not here."""
        return q, k

    def _pad(self, qkv: Tensor, channels: int, bottom: int, right: int) -> Tensor:
        """Pad qkv (B, H, W, 3C) below and right with the output of the qkv layer for zero."""
        if not bottom and not right:
            return qkv
        batch, height, width, _ = qkv.shape
        made = self.qkv(qkv.new_zeros(1, 1, 1, channels)).to(qkv.dtype)
        qkv = torch.cat([qkv, made.expand(batch, height, right, -1)], dim=2)
        return torch.cat([qkv, made.expand(batch, bottom, width + right, -1)], dim=1)


class FastBlock(Block):  # type: ignore[misc]
    """An encoder block of `segment_anything` with `FastAttention`, which divides into windows.

    Args:
        dim: C, channels of each token.
        num_heads: number of attention heads.
        window_size: side of the windows in tokens; 0 for a global block.
        input_size: height and width of the grid in tokens.
        settings: further keyword arguments of `segment_anything`'s `Block`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        input_size: tuple[int, int],
        **settings: Any,
    ) -> None:
        super().__init__(dim, num_heads, window_size=window_size, input_size=input_size, **settings)
        self.attn = FastAttention(
            window_size,
            dim=dim,
            num_heads=num_heads,
            qkv_bias=settings.get("qkv_bias", True),
            use_rel_pos=settings.get("use_rel_pos", False),
            rel_pos_zero_init=settings.get("rel_pos_zero_init", True),
            input_size=(window_size, window_size) if window_size else input_size,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, H, W, C) to tokens of the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class FastEncoder(ImageEncoderViT):  # type: ignore[misc]
    """SAM's ViT encoder with `FastBlock`s: normalised images (B, 3, S, S) to (B, C, s, s).

    Args:
        image_size: S in pixels.
        patch: side of a patch in pixels; s = S / patch.
        width: channels of each token.
        heads: number of attention heads of each block.
        depth: number of blocks.
        global_blocks: indices of the blocks that attend over all tokens.
        window: side of the windows of the other blocks, in tokens.
        out_channels: C, channels of the embedding.
        relative_positions: whether attention adds biases of row and column.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch: int,
        width: int,
        heads: int,
        depth: int,
        global_blocks: Sequence[int],
        window: int,
        out_channels: int,
        relative_positions: bool = True,
    ) -> None:
        super().__init__(image_size, patch, embed_dim=width, depth=0, out_chans=out_channels)
        self.blocks.extend(
            FastBlock(
                width,
                heads,
                0 if index in global_blocks else window,
                (image_size // patch, image_size // patch),
                norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
                use_rel_pos=relative_positions,
            )
            for index in range(depth)
        )
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def add_positions(self, patches: Tensor) -> Tensor:
        """Add the positions to patches (B, s, s, width)."""
        placed: Tensor = patches + self.pos_embed
        return placed

    def stages(self) -> list[Stage]:
        """Return the stages from normalised images to embeddings."""
        embed = (*self.patch_embed.parameters(), self.pos_embed)
        return [
            Stage(lambda images: self.add_positions(self.patch_embed(images)), embed),
            *(Stage.of(block) for block in self.blocks),
            Stage.of(self.neck, run=lambda tokens: self.neck(tokens.permute(0, 3, 1, 2))),
        ]

    def forward(self, images: Tensor) -> Tensor:
        """Run the stages one after the other."""
        features = images
        for stage in self.stages():
            features = stage.run(features)
        return features


def checkpoint_blocks(model: nn.Module) -> None:
    """Recompute the activations of the encoder blocks in the backward pass to save memory.

    Passes without gradients are as before.

    The function replaces the `forward` of each block in place, including blocks that a method has
    changed.

    Args:
        model: a model with an `image_encoder`, or the encoder itself.

    Raises:
        UnsupportedError: the model has no encoder blocks, or they contain a BatchNorm2d, whose
            statistics would be updated twice (frozen ones too, as in TinyViT).
    """
    encoder: Any = getattr(model, "image_encoder", model)
    if not hasattr(encoder, "blocks"):
        raise UnsupportedError("it has no encoder blocks whose activations to compute again")
    parts = (part for block in encoder.blocks for part in block.modules())
    if any(isinstance(part, nn.BatchNorm2d) for part in parts):
        raise UnsupportedError("its blocks hold a BatchNorm, whose statistics would be taken twice")
    for block in encoder.blocks:
        block.forward = functools.partial(_again, block.forward)


def _again(forward: Callable[..., Any], *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False)


def _one_hot_places(k: Tensor) -> Tensor:
    """Encode row and column of keys (N, heads, rows, columns, d) as (..., rows + columns)."""
    rows, columns = k.shape[2:4]
    row = torch.eye(rows, dtype=k.dtype, device=k.device)[:, None].expand(-1, columns, -1)
    column = torch.eye(columns, dtype=k.dtype, device=k.device)[None].expand(rows, -1, -1)
    return torch.cat([row, column], dim=-1).expand(*k.shape[:2], -1, -1, -1)


def attention(q: Tensor, k: Tensor, v: Tensor, bias: tuple[Tensor, Tensor] | None) -> Tensor:
    """Compute softmax(q k + bias of the row + bias of the column) v.

    Args:
        q: queries (N, heads, rows, columns, d), already scaled.
        k: keys of the same shape.
        v: values of the same shape.
        bias: biases of rows (N, heads, rows, columns, rows) and of columns
            (N, heads, rows, columns, columns); None for no bias.

    Returns:
        (N, heads, rows * columns, d).
    """
    on_cpu = q.device.type == "cpu" and not _as_on_cuda.get()
    few = on_cpu and q.shape[2] * q.shape[3] < FUSED_FROM.get(q.dtype, 0)
    if q.is_meta or is_tracing() or (few and q.dtype == torch.float32):
        return _by_definition(q, k, v, bias)
    v = v.flatten(2, 3)
    if bias is not None:
        q, k = torch.cat([q, *bias], dim=-1), torch.cat([k, _one_hot_places(k)], dim=-1)
    q, k = q.flatten(2, 3), k.flatten(2, 3)
    if few:
        with torch.autocast("cpu", enabled=False):  # autocast would compute the softmax in fp32
            return (q @ k.mT).softmax(-1) @ v
    # Fused kernels need q, k and v of the same width, a multiple of 8.
    wide = -(-q.shape[-1] // 8) * 8
    q, k, padded = (F.pad(x, (0, wide - x.shape[-1])) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, padded, scale=1.0)
    return out[..., : v.shape[-1]]


def _by_definition(q: Tensor, k: Tensor, v: Tensor, bias: tuple[Tensor, Tensor] | None) -> Tensor:
    """Compute `attention` by its formula; operations are counted with this function."""
    logits = q.flatten(2, 3) @ k.flatten(2, 3).mT
    if bias is not None:
        grid = logits.unflatten(-1, q.shape[2:4])
        grid += bias[0].flatten(2, 3)[..., None]  # in place: matmul does not save its output
        grid += bias[1].flatten(2, 3)[..., None, :]
    return logits.softmax(-1) @ v.flatten(2, 3)
