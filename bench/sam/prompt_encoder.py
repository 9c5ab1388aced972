"""Prompt encoders of SAM and its successors: tokens of clicks, without operators that need values.

`segment_anything` selects points by boolean masks, whose number of rows depends on values. The
memory of a step could then not be predicted from shapes, and the model not be exported.
"""

from typing import Protocol, runtime_checkable

import torch
from segment_anything.modeling import PromptEncoder
from torch import Tensor, nn


@runtime_checkable
class FamilyPrompts(Protocol):
    """A prompt encoder of a successor of SAM, with tokens of its own for clicks."""

    def embed_clicks(self, clicks: Tensor) -> Tensor:
        """As the function `embed_clicks`."""


class NoEmbedding(nn.Module):
    """In place of an `nn.Embedding` that a family does not have: zeros, which no method can train.

    Args:
        channels: of the embedding.
    """

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(1, channels), persistent=False)


def embed_clicks(encoder: PromptEncoder, clicks: Tensor) -> Tensor:
    """Embed positive clicks (n, c, 2) in pixels as `encoder` does: (n, T, C).

    SAM's has T = c + 1 tokens, the last of which is its empty point.
    """
    if isinstance(encoder, FamilyPrompts):
        return encoder.embed_clicks(clicks)
    empty = clicks.new_zeros(len(clicks), 1, 2)
    places = encoder.pe_layer.forward_with_coords(
        torch.cat([clicks + 0.5, empty], dim=1), encoder.input_image_size
    )
    positive = places[:, :-1] + encoder.point_embeddings[1].weight
    return torch.cat([positive, encoder.not_a_point_embed.weight.expand(len(clicks), 1, -1)], dim=1)
