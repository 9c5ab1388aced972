"""SAM's mask decoder for a batch of pairs of one image and one prompt, with any number of masks.

Decoders of SAM's successors also read maps of higher resolution or of earlier blocks. Their image
encoders return these in the same tensor (B, C + ..., s, s), behind the C channels of the embedding.
"""

import copy
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from segment_anything.modeling import MaskDecoder
from torch import Tensor, nn

from bench.sam.foundation import FoundationParameter, mark_foundation

Decoder = TypeVar("Decoder", bound=MaskDecoder)


@runtime_checkable
class FamilyDecoder(Protocol):
    """A mask decoder of a successor of SAM, with its own prediction."""

    mask_tokens: nn.Embedding

    def prepare(self, embeddings: Tensor) -> Tensor:
        """Compute what is the same for all prompts of an image, see `prepare_images`."""

    def predict_rows(
        self, embeddings: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predict masks as `predict_masks`; the embeddings have further channels."""

    def resize_further(self, count: int, fresh: bool) -> list[nn.Module]:
        """Fit what belongs to mask tokens, but is not in SAM's decoder, to `count` of them.

        Returns:
            The modules that were made, other than copies of old ones.
        """


def prepare_images(decoder: MaskDecoder, embeddings: Tensor) -> Tensor:
    """Compute what a decoder needs of each image, once, before rows are repeated for prompts.

    Args:
        decoder: of any family; SAM's own needs nothing.
        embeddings: (B, C + ..., h, w), as the image encoder returns them.

    Returns:
        (B, C + ..., h, w): input of `predict_masks`.
    """
    return decoder.prepare(embeddings) if isinstance(decoder, FamilyDecoder) else embeddings


def predict_masks(
    decoder: MaskDecoder,
    embeddings: Tensor,
    positions: Tensor,
    sparse: Tensor,
    dense: Tensor,
) -> tuple[Tensor, Tensor]:
    """Predict the masks of N pairs of an image and a prompt.

    `MaskDecoder.predict_masks` repeats every image for every prompt (N x N rows). This function
    combines row i of the images with row i of the prompts, so that one batch can contain prompts
    of several images.

    Args:
        decoder: SAM's decoder with M mask tokens.
        embeddings: (N, C + ..., h, w) of `prepare_images`; SAM's own have C channels.
        positions: (1, C, h, w) position encoding of the grid.
        sparse: (N, T, C) embeddings of points and boxes; T can be 0.
        dense: (N or 1, C, h, w) embeddings of mask prompts, or of no mask.

    Returns:
        Mask logits (N, M, 4h, 4w) and predicted IoU (N, M) of each mask.
    """
    if isinstance(decoder, FamilyDecoder):
        return decoder.predict_rows(embeddings, positions, sparse, dense)
    outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    queries, grid = attend(decoder, outputs, embeddings, positions, sparse, dense)
    upscaled = decoder.output_upscaling(grid)  # (N, C / 8, 4h, 4w)
    masks = products(decoder.output_hypernetworks_mlps, queries[:, 1:], upscaled)
    return masks, decoder.iou_prediction_head(queries[:, 0])


def attend(
    decoder: MaskDecoder,
    outputs: Tensor,
    embeddings: Tensor,
    positions: Tensor,
    sparse: Tensor,
    dense: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run the decoder's transformer on output tokens, prompts and images.

    Args:
        decoder: has the transformer.
        outputs: (O, C) output tokens.
        embeddings: (N, C, h, w).
        positions: as of `predict_masks`, as the next two.
        sparse: likewise.
        dense: likewise.

    Returns:
        The tokens (N, O + T, C), output tokens first, and the image (N, C, h, w).
    """
    rows, channels, height, width = embeddings.shape
    tokens = torch.cat([outputs.expand(rows, -1, -1), sparse], dim=1)
    source = embeddings + dense
    queries, keys = decoder.transformer(source, positions.expand(rows, -1, -1, -1), tokens)
    return queries, keys.transpose(1, 2).reshape(rows, channels, height, width)


def products(mlps: Any, tokens: Tensor, maps: Tensor) -> Tensor:
    """Products of maps with vectors that networks make from tokens.

    Args:
        mlps: M networks from C to c channels.
        tokens: (N, at least M, C); network i reads token i.
        maps: (N, c, H, W).

    Returns:
        (N, M, H, W).
    """
    weights = torch.stack([mlp(tokens[:, i]) for i, mlp in enumerate(mlps)], dim=1)
    return (weights @ maps.flatten(2)).unflatten(2, maps.shape[2:])


class RowDecoder(MaskDecoder):  # type: ignore[misc]  # segment_anything has no types
    """A `FamilyDecoder` that `SamPredictor` can call, too.

    Attributes:
        further_tokens: number of output tokens besides that of the IoU and those of masks.
    """

    further_tokens = 0

    def prepare(self, embeddings: Tensor) -> Tensor:
        """Nothing needs to be prepared."""
        return embeddings

    def resize_further(self, count: int, fresh: bool) -> list[nn.Module]:
        """Nothing else belongs to mask tokens."""
        return []

    def predict_rows(
        self, embeddings: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As of `FamilyDecoder`."""
        raise NotImplementedError

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Masks of all prompts for one image (1, C + ..., h, w), as `segment_anything` calls it."""
        prepared = self.prepare(image_embeddings)
        rows = prepared.expand(len(sparse_prompt_embeddings), -1, -1, -1)
        return self.predict_rows(rows, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings)


def with_mask_tokens(decoder: Decoder, count: int, fresh: bool = False) -> Decoder:
    """Return a copy of a decoder with `count` mask tokens, their networks and IoU outputs.

    Number k of each is a copy of number k mod M of `decoder`; with `fresh`, they and the hidden
    layers of the IoU head are initialised at random instead.

    Args:
        decoder: of any family, with M mask tokens; is not changed.
        count: at least 1.
        fresh: whether to initialise at random.
    """
    head = decoder.iou_prediction_head
    # Draws the same random numbers whatever the family and `fresh`; its own parts are used below.
    drawn = MaskDecoder(
        transformer_dim=decoder.transformer_dim,
        transformer=nn.Identity(),
        num_multimask_outputs=count - 1,
        iou_head_depth=len(head.layers),
        iou_head_hidden_dim=head.layers[0].out_features,
    )
    old = [k % decoder.num_mask_tokens for k in range(count)]
    new = copy.deepcopy(decoder)
    new.num_mask_tokens, new.num_multimask_outputs = count, count - 1
    new.mask_tokens = drawn.mask_tokens
    new.iou_prediction_head.layers = drawn.iou_prediction_head.layers
    new.output_hypernetworks_mlps = nn.ModuleList(
        copy.deepcopy(decoder.output_hypernetworks_mlps[k]) for k in old
    )
    if fresh:
        for mlp, other in zip(
            new.output_hypernetworks_mlps, drawn.output_hypernetworks_mlps, strict=True
        ):
            mlp.layers = other.layers
    else:
        with torch.no_grad():
            new.mask_tokens.weight.copy_(decoder.mask_tokens.weight[old])
            for ours, theirs in zip(new.iou_prediction_head.layers, head.layers, strict=True):
                last = theirs is head.layers[-1]
                ours.weight.copy_(theirs.weight[old] if last else theirs.weight)
                ours.bias.copy_(theirs.bias[old] if last else theirs.bias)
    made: list[nn.Module] = [new.mask_tokens, new.iou_prediction_head.layers]
    made += [new.output_hypernetworks_mlps] if fresh else []
    if isinstance(new, FamilyDecoder):
        made += new.resize_further(count, fresh)
    if isinstance(decoder.mask_tokens.weight, FoundationParameter):
        for part in made:  # what was copied has its marks, and what a method added has none
            mark_foundation(part)
    return new
