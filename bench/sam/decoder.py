"""SAM's mask decoder for one prompt set an image, and for class maps."""

import torch
from segment_anything.modeling import MaskDecoder
from torch import Tensor


def predict_masks(
    decoder: MaskDecoder,
    embeddings: Tensor,
    positions: Tensor,
    sparse: Tensor,
    dense: Tensor,
) -> tuple[Tensor, Tensor]:
    """Masks of image and prompt pairs, row by row.

    `MaskDecoder.predict_masks` repeats every image for every prompt (N x N rows); here row i of
    the images belongs to row i of the prompts, so that one batch may span many images.

    Args:
        decoder: SAM's decoder with M mask tokens.
        embeddings: (N, C, h, w) image embeddings.
        positions: (1, C, h, w) position codes of the grid.
        sparse: (N, T, C) embeddings of points and boxes; T may be 0.
        dense: (N or 1, C, h, w) embeddings of mask prompts.

    Returns:
        Mask logits (N, M, 4h, 4w) and predicted IoU (N, M).
    """
    rows, channels, height, width = embeddings.shape
    outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([outputs.expand(rows, -1, -1), sparse], dim=1)
    source = embeddings + dense
    queries, keys = decoder.transformer(source, positions.expand(rows, -1, -1, -1), tokens)
    grid = keys.transpose(1, 2).reshape(rows, channels, height, width)
    upscaled = decoder.output_upscaling(grid)  # (N, C / 8, 4h, 4w)
    weights = torch.stack(
        [mlp(queries[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    masks = (weights @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
    return masks, decoder.iou_prediction_head(queries[:, 0])
