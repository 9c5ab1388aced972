"""Forward pass of SAM's mask decoder for a batch of pairs of one image and one prompt."""

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
    """Predict the masks of N pairs of an image and a prompt.

    `MaskDecoder.predict_masks` repeats every image for every prompt (N x N rows). This function
    combines row i of the images with row i of the prompts, so that one batch can contain prompts
    of several images.

    Args:
        decoder: SAM's decoder with M mask tokens.
        embeddings: (N, C, h, w) image embeddings.
        positions: (1, C, h, w) position encoding of the grid.
        sparse: (N, T, C) embeddings of points and boxes; T can be 0.
        dense: (N or 1, C, h, w) embeddings of mask prompts, or of no mask.

    Returns:
        Mask logits (N, M, 4h, 4w) and predicted IoU (N, M) of each mask.
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
