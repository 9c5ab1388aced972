"""Low-rank updates of frozen linear layers (Hu et al., 2021, section 4.1)."""

import math

import torch
from torch import Tensor, nn


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
    """A frozen linear layer with low-rank updates of equal consecutive slices of its output.

    Args:
        base: the layer; it is frozen.
        rank: of each update.
        alpha: updates are scaled by alpha / rank.
        slices: which slices learn, as in "qv" of "qkv"; `of` names all, in the order of the rows.
    """

    def __init__(
        self, base: nn.Linear, rank: int, alpha: float, slices: str = "o", of: str = "o"
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.of = of
        outputs = base.out_features // len(of)
        self.updates = nn.ModuleDict(
            {key: LowRank(base.in_features, outputs, rank, alpha) for key in of if key in slices}
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        output: Tensor = self.base(x)
        parts = list(output.chunk(len(self.of), dim=-1))
        for key, update in self.updates.items():
            index = self.of.index(key)
            parts[index] = parts[index] + update(x)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
