"""Low-rank updates of frozen linear layers (Hu et al., 2021, section 4.1)."""

import copy
import math
from typing import Any

import torch
from timm.models.tiny_vit import Attention as TinyViTAttention
from torch import Tensor, nn

from bench.sam.surgery import replace_modules, require, require_attention

# Times the width of the layer. An update has at most the rank of the width, but published ablations
# of ranks, run on narrower encoders, go beyond it.
LARGEST_RANK = 16


class LowRank(nn.Module):
    """x -> (alpha / rank) B A x; A (rank, in) starts Kaiming-uniform and B (out, rank) at zero.

    Args:
        inputs: in, channels of x.
        outputs: out, channels of the result.
        rank: rank of the update, from 1 to `LARGEST_RANK` times the smaller number of channels.
        alpha: the update is scaled by alpha / rank.

    Raises:
        UserError: `rank` is too large.
    """

    def __init__(self, inputs: int, outputs: int, rank: int, alpha: float) -> None:
        super().__init__()
        most = LARGEST_RANK * min(inputs, outputs)
        require(
            rank <= most,
            f"rank {rank} is too large for a layer of width {min(inputs, outputs)}: give {most:,}"
            " or less, since a rank above the width adds nothing",
        )
        self.a = nn.Linear(inputs, rank, bias=False)
        self.b = nn.Linear(rank, outputs, bias=False)
        self.scale = alpha / rank
        nn.init.kaiming_uniform_(self.a.weight, a=math.sqrt(5))
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        update: Tensor = self.b(self.a(x))
        return update * self.scale


class LoRALinear(nn.Module):
    """A frozen linear layer with a low-rank update of some slices of its output.

    Args:
        base: the linear layer; it is kept, not copied, and its parameters are frozen.
        rank: rank of each update, at least 1.
        alpha: updates are scaled by alpha / rank.
        slices: letters of the slices that get an update, such as "qv"; letters that are not in `of`
            are ignored.
        of: letters of all slices, in the order of the rows of the weight, such as "qkv".
        heads: number of groups of rows, each of which contains all slices; the number of heads in
            TinyViT, else 1.

    Attributes:
        updates: letter of a slice to its `LowRank`.
    """

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        alpha: float,
        slices: str = "o",
        of: str = "o",
        heads: int = 1,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.of, self.heads = of, heads
        outputs = base.out_features // len(of)
        self.updates = nn.ModuleDict(
            {key: LowRank(base.in_features, outputs, rank, alpha) for key in of if key in slices}
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        output: Tensor = self.base(x)
        if len(self.of) == 1:
            return output + self.updates[self.of](x)
        parts = list(output.unflatten(-1, (self.heads, len(self.of), -1)).unbind(-2))
        for key, update in self.updates.items():
            index = self.of.index(key)
            parts[index] = parts[index] + update(x).unflatten(-1, (self.heads, -1))
        return torch.stack(parts, dim=-2).flatten(-3)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return a frozen copy of the linear layer whose weight includes the updates.

        See Hu et al., section 4.1. This module is not changed.
        """
        plain = copy.deepcopy(self.base)
        rows = plain.weight.unflatten(0, (self.heads, len(self.of), -1))
        update: Any
        for key, update in self.updates.items():
            change = (update.b.weight @ update.a.weight) * update.scale
            rows[:, self.of.index(key)] += change.unflatten(0, (self.heads, -1))
        return plain


def add_lora(block: nn.Module, rank: int, alpha: float, targets: str) -> None:
    """Add low-rank updates to the layers of an encoder block, in place.

    The layers that get an update are frozen; the other parameters of the block are not.

    Args:
        block: a block of SAM's ViT or of TinyViT.
        rank: rank of each update, at least 1.
        alpha: updates are scaled by alpha / rank; positive.
        targets: letters of the layers: q, k and v (slices of the fused qkv layer), o (output
            projection), m (both layers of the MLP), f (one update of the whole fused qkv layer, in
            place of q, k and v).

    Raises:
        UserError: `rank` is below 1 or too large, `alpha` is not positive, or `targets` is empty,
            contains a repeated or unknown letter, or f together with q, k or v.
        UnsupportedError: the block has no attention.
        LookupError, AttributeError: the block has no layer of a letter.
    """
    require(rank >= 1, f"rank {rank} is too small: give 1 or more")
    require_attention(block, "LoRA")
    require(alpha > 0, f"alpha {alpha} is not positive")
    require(
        bool(targets) and len(set(targets)) == len(targets) and set(targets) <= set("qkvomf"),
        f"targets '{targets}' is not known: give any of the letters q, k, v, o, m (MLP) and f"
        " (fused qkv), each once",
    )
    slices = set(targets) & set("qkv")
    require(
        not slices or "f" not in targets,
        f"targets '{targets}': f already contains q, k and v, give f or letters of qkv",
    )
    if "f" in targets:
        replace_modules(block, r"attn\.qkv", lambda layer: LoRALinear(layer, rank, alpha))
    if slices:
        attention: Any = block.get_submodule("attn")
        heads = attention.num_heads if isinstance(attention, TinyViTAttention) else 1
        replace_modules(
            block, r"attn\.qkv", lambda layer: LoRALinear(layer, rank, alpha, targets, "qkv", heads)
        )
    if "o" in targets:
        replace_modules(block, r"attn\.proj", lambda layer: LoRALinear(layer, rank, alpha))
    if "m" in targets:
        replace_modules(block, r"mlp\.(lin|fc)\d", lambda layer: LoRALinear(layer, rank, alpha))
