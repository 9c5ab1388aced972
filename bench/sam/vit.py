"""Builds a SAM of SAM's own architecture: ViT encoder, prompt encoder, mask decoder."""

from dataclasses import dataclass

from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from bench.sam.encoder import FastEncoder


@dataclass(frozen=True)
class ViTSizes:
    """Sizes of a SAM with a ViT; the defaults are the values that all models of Meta share.

    The blocks with the indices `global_blocks` attend over the whole image, the other blocks
    within windows of `window` x `window` tokens.

    Attributes:
        width: channels of each token.
        depth: number of blocks.
        heads: number of attention heads of each block.
        global_blocks: indices of the blocks without windows.
        patch: side of a patch in pixels.
        window: side of a window in tokens.
        prompt_dim: channels of the embeddings of images and prompts.
        decoder_heads: number of attention heads of the mask decoder.
        decoder_mlp: hidden channels of the MLPs of the mask decoder.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    patch: int = 16
    window: int = 14
    prompt_dim: int = 256
    decoder_heads: int = 8
    decoder_mlp: int = 2048


def build_vit(sizes: ViTSizes, image_size: int, mask_outputs: int = 4) -> Sam:
    """Build a SAM with random weights for square images, on torch's default device.

    Args:
        sizes: of the architecture.
        image_size: side of the images in pixels, a multiple of the patch size.
        mask_outputs: number of mask tokens of the decoder.
    """
    encoder = FastEncoder(
        image_size=image_size,
        patch=sizes.patch,
        width=sizes.width,
        heads=sizes.heads,
        depth=sizes.depth,
        global_blocks=sizes.global_blocks,
        window=sizes.window,
        out_channels=sizes.prompt_dim,
    )
    return with_plain_decoder(encoder, sizes, image_size, mask_outputs)


def with_plain_decoder(
    encoder: nn.Module, sizes: ViTSizes, image_size: int, mask_outputs: int
) -> Sam:
    """Add SAM's prompt encoder and mask decoder with random weights to an image encoder.

    Args:
        encoder: from images to embeddings of `sizes.prompt_dim` channels, one per patch.
        sizes: of patches and decoder; those of the encoder are not used.
        image_size: side of the images in pixels.
        mask_outputs: number of mask tokens of the decoder.
    """
    grid = image_size // sizes.patch
    prompts = PromptEncoder(
        embed_dim=sizes.prompt_dim,
        image_embedding_size=(grid, grid),
        input_image_size=(image_size, image_size),
        mask_in_chans=16,
    )
    decoder = MaskDecoder(
        transformer_dim=sizes.prompt_dim,
        transformer=TwoWayTransformer(2, sizes.prompt_dim, sizes.decoder_heads, sizes.decoder_mlp),
        num_multimask_outputs=mask_outputs - 1,
        iou_head_hidden_dim=sizes.prompt_dim,
    )
    return Sam(encoder, prompts, decoder)
