"""SAM-HQ's encoder and mask decoder (Ke et al., 2023, section 3.2).

SAM-HQ adds one output token to SAM's decoder. Its mask is made on a finer map: the decoder's own
one, joined with the embedding and with the tokens of an early encoder block, both enlarged four
times. The mask of that token is added to each of SAM's masks. A decoder with one mask token per
class has one such token per class.

The encoder returns the early tokens behind the channels of the embedding.
"""

import copy
from typing import Any

import torch
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from bench.sam.decoder import RowDecoder, attend, products
from bench.sam.encoder import FastEncoder
from bench.sam.stages import Stage


class HQEncoder(FastEncoder):
    """SAM's ViT; to (B, C + width, s, s): the embedding, then tokens after the first global block.

    Args:
        global_blocks: as of `FastEncoder`.
        settings: likewise.
    """

    def __init__(self, *, global_blocks: tuple[int, ...], **settings: Any) -> None:
        super().__init__(global_blocks=global_blocks, **settings)
        self.early = min(global_blocks)

    def stages(self) -> list[Stage]:
        """Return the stages; behind the block `early`, features hold its tokens twice at first."""
        embed, *blocks, neck = super().stages()
        run_early, run_neck = blocks[self.early].run, neck.run

        def early(tokens: Tensor) -> Tensor:
            tokens = run_early(tokens)
            return torch.cat([tokens, tokens], dim=-1)

        def last(both: Tensor) -> Tensor:
            tokens, kept = both.chunk(2, dim=-1)
            return torch.cat([run_neck(tokens), kept.permute(0, 3, 1, 2)], dim=1)

        blocks[self.early] = Stage(early, blocks[self.early].parameters)
        later = [_beside(stage) for stage in blocks[self.early + 1 :]]
        return [embed, *blocks[: self.early + 1], *later, Stage(last, neck.parameters)]


def _beside(stage: Stage) -> Stage:
    """A stage that keeps the second half of the channels."""

    def run(both: Tensor) -> Tensor:
        tokens, kept = both.chunk(2, dim=-1)
        return torch.cat([stage.run(tokens.contiguous()), kept], dim=-1)

    return Stage(run, stage.parameters)


class HQDecoder(RowDecoder):
    """SAM-HQ's mask decoder; the modules have the names of the public code.

    Args:
        vit_channels: channels of the early tokens.
        settings: of `segment_anything`'s `MaskDecoder`.

    Attributes:
        hf_token: one output token, or one for each mask.
        hf_mlp: a network from a token to the weights of its mask; a list where there are several.
    """

    hf_mlp: Any

    def __init__(self, vit_channels: int, **settings: Any) -> None:
        super().__init__(**settings)
        c = self.transformer_dim
        self.vit_channels = vit_channels
        self.hf_token = nn.Embedding(1, c)
        self.hf_mlp = MLP(c, c, c // 8, 3)
        self.compress_vit_feat = _enlarge(vit_channels, c, c // 8)
        self.embedding_encoder = _enlarge(c, c // 4, c // 8)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(c // 8, c // 4, 3, padding=1),
            LayerNorm2d(c // 4),
            nn.GELU(),
            nn.Conv2d(c // 4, c // 8, 3, padding=1),
        )

    @property
    def further_tokens(self) -> int:  # type: ignore[override]
        """Number of HQ tokens."""
        return self.hf_token.num_embeddings

    def prepare(self, embeddings: Tensor) -> Tensor:
        """Replace the early tokens (B, width, s, s) by the finer map: (B, 3 C, s, s) in all."""
        image = embeddings[:, : self.transformer_dim]
        early = embeddings[:, self.transformer_dim :]
        fine = self.embedding_encoder(image) + self.compress_vit_feat(early)
        return torch.cat([image, nn.functional.pixel_unshuffle(fine, 4)], dim=1)

    def predict_rows(
        self, embeddings: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Masks (N, M, 4h, 4w), each with that of its HQ token added, and predicted IoU (N, M)."""
        image, fine = embeddings.split([self.transformer_dim, 2 * self.transformer_dim], dim=1)
        fine = nn.functional.pixel_shuffle(fine, 4)
        outputs = [self.iou_token.weight, self.mask_tokens.weight, self.hf_token.weight]
        queries, grid = attend(self, torch.cat(outputs), image, positions, sparse, dense)
        upscaled = self.output_upscaling(grid)
        masks = products(self.output_hypernetworks_mlps, queries[:, 1:], upscaled)
        several = isinstance(self.hf_mlp, nn.ModuleList)
        mlps = self.hf_mlp if several else [self.hf_mlp]
        hq_tokens = queries[:, 1 + self.num_mask_tokens :]
        hq = products(mlps, hq_tokens, self.embedding_maskfeature(upscaled) + fine)
        return masks + hq, self.iou_prediction_head(queries[:, 0])

    def resize_further(self, count: int, fresh: bool) -> list[nn.Module]:
        """Give each mask token an HQ token, all copies of SAM-HQ's or, with `fresh`, random.

        Returns:
            The modules that were made, other than copies of old ones.
        """
        c, old = self.transformer_dim, self.hf_token
        self.hf_token = nn.Embedding(count, c)
        if not fresh:
            with torch.no_grad():
                self.hf_token.weight.copy_(old.weight.expand(count, -1))
        self.hf_mlp = nn.ModuleList(
            MLP(c, c, c // 8, 3) if fresh else copy.deepcopy(self.hf_mlp) for _ in range(count)
        )
        return [self.hf_token, self.hf_mlp] if fresh else [self.hf_token]


def _enlarge(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, hidden, 2, 2),
        LayerNorm2d(hidden),
        nn.GELU(),
        nn.ConvTranspose2d(hidden, outputs, 2, 2),
    )
