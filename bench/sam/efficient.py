"""EfficientSAM's encoder, prompt encoder and mask decoder (Xiong et al., 2023, section 3).

What differs from SAM, after the public code: the ViT has no windows and no relative positions, and
resizes the positions of its pretraining to the image. Each prompt is six tokens, those without a
point being an "invalid" one outside of the image. The decoder has GELU in place of ReLU, one group
norm, and a self-attention that adds its input in every layer.
"""

from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling import PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.mask_decoder import MLP
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor, nn

from bench.errors import UnsupportedError
from bench.sam.decoder import RowDecoder, attend, products
from bench.sam.encoder import FastEncoder
from bench.sam.prompt_encoder import NoEmbedding
from bench.sam.vit import ViTSizes

PRETRAINED_SIDE = 224  # pixels of the images of the pretraining, which the positions are for
PROMPT_TOKENS = 6


class EfficientEncoder(FastEncoder):
    """A plain ViT: normalised images (B, 3, S, S) to (B, C, s, s).

    Args:
        image_size: S in pixels.
        sizes: of the encoder; `global_blocks` and `window` are not used.

    Attributes:
        pos_embed: (1, 1 + n, width) positions of the pretraining; that of the class token, the
            first, is not used.
    """

    def __init__(self, image_size: int, sizes: ViTSizes) -> None:
        super().__init__(
            image_size=image_size,
            patch=sizes.patch,
            width=sizes.width,
            heads=sizes.heads,
            depth=sizes.depth,
            global_blocks=range(sizes.depth),
            window=0,
            out_channels=sizes.prompt_dim,
            relative_positions=False,
        )
        self.side = PRETRAINED_SIDE // sizes.patch
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.side**2, sizes.width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def add_positions(self, patches: Tensor) -> Tensor:
        """Add the positions, resized to the grid, to patches (B, s, s, width)."""
        grid = self.pos_embed[:, 1:].unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        size = patches.shape[1:3]
        resized = F.interpolate(grid, size=size, mode="bicubic", align_corners=False)
        return patches + resized.permute(0, 2, 3, 1)


class PointPromptEncoder(PromptEncoder):  # type: ignore[misc]  # segment_anything has no types
    """Points and corners of boxes as six tokens; no masks, no embedding of negative points.

    Args:
        settings: of `segment_anything`'s `PromptEncoder`, without `mask_in_chans`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(mask_in_chans=4, **settings)
        del self.mask_downscaling
        self.no_mask_embed = NoEmbedding(self.embed_dim)
        self.point_embeddings[0] = NoEmbedding(self.embed_dim)

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Embed n prompts.

        Args:
            points: (n, c, 2) x y in pixels, and (n, c) labels: 1 for a positive point, 0 for a
                negative and -1 for none.
            boxes: (n, 4) x0 y0 x1 y1 in pixels.
            masks: None.

        Returns:
            Tokens (n, 6, C), and zeros (n, C, s, s) in place of a mask prompt.

        Raises:
            UnsupportedError: there are masks, or more than six points.
        """
        if masks is not None:
            raise UnsupportedError("EfficientSAM takes no mask as a prompt: give points or a box")
        rows = self._get_batch_size(points, boxes, masks)
        tokens = self.pe_layer.positional_encoding_gaussian_matrix.new_zeros(
            rows, 0, self.embed_dim
        )
        if points is not None:
            kinds = [self.not_a_point_embed, *self.point_embeddings[:2]]
            table = torch.cat([kind.weight for kind in kinds])
            tokens = self._located(points[0]) + table[points[1].long() + 1]
        if boxes is not None:
            corners = torch.cat([kind.weight for kind in self.point_embeddings[2:]])
            tokens = torch.cat([tokens, self._located(boxes.reshape(-1, 2, 2)) + corners], dim=1)
        grid = self.image_embedding_size
        dense = self.no_mask_embed.weight[:, :, None, None].expand(rows, -1, *grid)
        return self._filled(tokens), dense

    def embed_clicks(self, clicks: Tensor) -> Tensor:
        """Positive clicks (n, c, 2) in pixels to (n, 6, C)."""
        return self._filled(self._located(clicks) + self.point_embeddings[1].weight)

    def _located(self, points: Tensor) -> Tensor:
        """Position codes (n, c, C) of the centres of pixels (n, c, 2)."""
        code: Tensor = self.pe_layer.forward_with_coords(points + 0.5, self.input_image_size)
        return code

    def _filled(self, tokens: Tensor) -> Tensor:
        """Add invalid points, which lie one pixel outside of the image, up to six tokens."""
        rows, count, _ = tokens.shape
        if count > PROMPT_TOKENS:
            raise UnsupportedError(
                f"EfficientSAM reads at most {PROMPT_TOKENS} points of a prompt, and this one has"
                f" {count}: use fewer clicks"
            )
        outside = self._located(tokens.new_full((1, 1, 2), -1.0)) + self.not_a_point_embed.weight
        return torch.cat([tokens, outside.expand(rows, PROMPT_TOKENS - count, -1)], dim=1)


class GeluMLP(MLP):  # type: ignore[misc]
    """The MLP of SAM's decoder with GELU in place of ReLU; (..., in) to (..., out)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.gelu(layer(x))
        output: Tensor = last(x)
        return output


class ResidualTwoWayBlock(TwoWayAttentionBlock):  # type: ignore[misc]
    """SAM's block between tokens and image, whose self-attention always adds its input."""

    def forward(
        self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (N, T, C) and image (N, s s, C), with their positions, to the same shapes."""
        if not self.skip_first_layer_pe:
            queries = queries + query_pe
        queries = self.norm1(queries + self.self_attn(q=queries, k=queries, v=queries))
        q, k = queries + query_pe, keys + key_pe
        queries = self.norm2(queries + self.cross_attn_token_to_image(q=q, k=k, v=keys))
        queries = self.norm3(queries + self.mlp(queries))
        q = queries + query_pe
        keys = self.norm4(keys + self.cross_attn_image_to_token(q=k, k=q, v=queries))
        return queries, keys


class EfficientDecoder(RowDecoder):
    """EfficientSAM's mask decoder; the modules have the names of SAM's.

    Args:
        mask_outputs: number of mask tokens.
        sizes: `prompt_dim`, `decoder_heads` and `decoder_mlp` are used.
    """

    def __init__(self, mask_outputs: int, sizes: ViTSizes) -> None:
        c, heads, hidden = sizes.prompt_dim, sizes.decoder_heads, sizes.decoder_mlp
        transformer = TwoWayTransformer(2, c, heads, hidden, nn.GELU)
        transformer.layers = nn.ModuleList(
            ResidualTwoWayBlock(c, heads, hidden, nn.GELU, skip_first_layer_pe=index == 0)
            for index in range(2)
        )
        super().__init__(
            transformer_dim=c, transformer=transformer, num_multimask_outputs=mask_outputs - 1
        )
        self.output_upscaling[1] = nn.GroupNorm(1, c // 4)
        self.output_hypernetworks_mlps = nn.ModuleList(
            GeluMLP(c, c, c // 8, 3) for _ in range(mask_outputs)
        )
        self.iou_prediction_head = GeluMLP(c, c, mask_outputs, 3)

    def predict_rows(
        self, embeddings: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Masks (N, M, 4h, 4w) of embeddings (N, C, h, w), and predicted IoU (N, M)."""
        outputs = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        queries, grid = attend(self, outputs, embeddings, positions, sparse, dense)
        masks = products(
            self.output_hypernetworks_mlps, queries[:, 1:], self.output_upscaling(grid)
        )
        return masks, self.iou_prediction_head(queries[:, 0])


def build_efficient(sizes: ViTSizes, image_size: int, mask_outputs: int) -> Sam:
    """Build an EfficientSAM with random weights for square images, on torch's default device.

    Args:
        sizes: of the architecture.
        image_size: side of the images in pixels, a multiple of the patch size.
        mask_outputs: number of mask tokens of the decoder.
    """
    grid = image_size // sizes.patch
    prompts = PointPromptEncoder(
        embed_dim=sizes.prompt_dim,
        image_embedding_size=(grid, grid),
        input_image_size=(image_size, image_size),
    )
    encoder = EfficientEncoder(image_size, sizes)
    return Sam(encoder, prompts, EfficientDecoder(mask_outputs, sizes))
