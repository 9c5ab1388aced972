"""Low-rank updates of frozen linear layers (Hu et al., 2021, section 4.1)."""

import copy
import math
from typing import Any

import torch
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor, nn

from bench.sam.surgery import merge, replace_modules, require


class LowRank(nn.Module):
    """x -> (alpha / rank) B A x, with A (rank, in) Kaiming-uniform and B (out, rank) zero."""

    def __init__(self, inputs: int, outputs: int, rank: int, alpha: float) -> None:
        super().__init__()
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
    """A frozen linear layer with low-rank updates of slices of its output.

    Args:
        base: the layer; it is frozen.
        rank: of each update.
        alpha: updates are scaled by alpha / rank.
        slices: which slices learn, as in "qv" of "qkv"; `of` names all, in the order of the rows.
        heads: the rows are so many groups, each with its own run of the slices; 1 in SAM's ViT,
            the number of heads in TinyViT.
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
        """The plain layer with the updates folded into its weight (section 4.1)."""
        plain = copy.deepcopy(self.base)
        rows = plain.weight.unflatten(0, (self.heads, len(self.of), -1))
        update: Any
        for key, update in self.updates.items():
            change = (update.b.weight @ update.a.weight) * update.scale
            rows[:, self.of.index(key)] += change.unflatten(0, (self.heads, -1))
        return plain


def add_lora(block: nn.Module, rank: int, alpha: float, targets: str) -> None:
    """Give an encoder block low-rank updates of the layers that letters name.

    Args:
        block: of SAM's ViT, or of TinyViT.
        rank: of each update.
        alpha: updates are scaled by alpha / rank.
        targets: q, k and v (slices of the fused layer), o (output projection), m (both of the MLP).

    Raises:
        UserError: rank below 1, alpha not positive, or other letters.
    """
    require(rank >= 1, f"rank {rank} is too small: give 1 or more")
    require(alpha > 0, f"alpha {alpha} is not positive")
    require(
        bool(targets) and len(set(targets)) == len(targets) and set(targets) <= set("qkvom"),
        f"targets '{targets}' cannot be taken: give any of the letters q, k, v, o and m (MLP)",
    )
    if set(targets) & set("qkv"):
        attention: Any = block.get_submodule("attn")
        heads = 1 if isinstance(attention, Attention) else attention.num_heads
        replace_modules(
            block, r"attn\.qkv", lambda layer: LoRALinear(layer, rank, alpha, targets, "qkv", heads)
        )
    if "o" in targets:
        replace_modules(block, r"attn\.proj", lambda layer: LoRALinear(layer, rank, alpha))
    if "m" in targets:
        replace_modules(block, r"mlp\.(lin|fc)\d", lambda layer: LoRALinear(layer, rank, alpha))


def merge_lora(model: nn.Module) -> nn.Module:
    """A copy of the model with every LoRA folded into its layer: the base's names, equal outputs.

    Raises:
        UnsupportedError: there is no LoRA to merge.
    """
    return merge(model, LoRALinear)
