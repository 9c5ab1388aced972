"""Names of tensors in the layout of the Hugging Face Hub (`transformers`), and in this project."""

import re
from collections.abc import Mapping
from typing import Any

Names = tuple[tuple[str, str], ...]  # regular expressions and their replacements, in order

# Parts that all models of SAM's family share: prompt encoder and mask decoder.
DECODER: Names = (
    (
        r"^shared_image_embedding\.positional_embedding",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"mask_decoder\.upscale_conv1", "mask_decoder.output_upscaling.0"),
    (r"mask_decoder\.upscale_layer_norm", "mask_decoder.output_upscaling.1"),
    (r"mask_decoder\.upscale_conv2", "mask_decoder.output_upscaling.3"),
    (r"mask_decoder\.hq_token", "mask_decoder.hf_token"),
    (r"mask_decoder\.hq_mask_mlp", "mask_decoder.hf_mlp"),
    (r"mask_decoder\.compress_vit_conv1", "mask_decoder.compress_vit_feat.0"),
    (r"mask_decoder\.compress_vit_norm", "mask_decoder.compress_vit_feat.1"),
    (r"mask_decoder\.compress_vit_conv2", "mask_decoder.compress_vit_feat.3"),
    (r"mask_decoder\.encoder_conv1", "mask_decoder.embedding_encoder.0"),
    (r"mask_decoder\.encoder_norm", "mask_decoder.embedding_encoder.1"),
    (r"mask_decoder\.encoder_conv2", "mask_decoder.embedding_encoder.3"),
    (r"mask_decoder\.mask_conv1", "mask_decoder.embedding_maskfeature.0"),
    (r"mask_decoder\.mask_norm", "mask_decoder.embedding_maskfeature.1"),
    (r"mask_decoder\.mask_conv2", "mask_decoder.embedding_maskfeature.3"),
    (r"(mlps\.\d+|hf_mlp|iou_prediction_head|score_head)\.layers\.0", r"\1.layers.1"),
    (r"(mlps\.\d+|hf_mlp|iou_prediction_head|score_head)\.proj_in", r"\1.layers.0"),
    (r"(mlps\.\d+|hf_mlp|iou_prediction_head|score_head)\.proj_out", r"\1.layers.2"),
    (r"(transformer\.layers\.\d+\.mlp)\.proj_in", r"\1.lin1"),
    (r"(transformer\.layers\.\d+\.mlp)\.proj_out", r"\1.lin2"),
    (r"(attn\w*)\.o_proj", r"\1.out_proj"),
    (r"layer_norm_final_attn", "norm_final_attn"),
    (r"(transformer\.layers\.\d+)\.layer_norm(\d)", r"\1.norm\2"),
)
VIT: Names = (
    (r"^vision_encoder\.patch_embed\.projection", "image_encoder.patch_embed.proj"),
    (r"^vision_encoder\.neck\.conv1", "image_encoder.neck.0"),
    (r"^vision_encoder\.neck\.layer_norm1", "image_encoder.neck.1"),
    (r"^vision_encoder\.neck\.conv2", "image_encoder.neck.2"),
    (r"^vision_encoder\.neck\.layer_norm2", "image_encoder.neck.3"),
    (r"^vision_encoder\.layers\.(\d+)\.layer_norm(\d)", r"image_encoder.blocks.\1.norm\2"),
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.", "image_encoder."),
)
_COPY = "prompt_encoder.shared_embedding.positional_embedding"
_POINTS = "prompt_encoder.point_embed.weight"


def from_hub(state: Mapping[str, Any], encoder: Names = VIT) -> dict[str, Any]:
    """Give the tensors of a model of `transformers` the names of this project.

    Tensors in another layout keep their names. The second copy of the position encoding is left
    out, and the embeddings of points in one tensor are divided.

    Args:
        state: values by their names in the file.
        encoder: names of the image encoder.
    """
    if not any(name.startswith("vision_encoder.") for name in state):
        return dict(state)
    renamed = {}
    for name, value in state.items():
        if name == _COPY:
            continue
        if name == _POINTS:
            for index, row in enumerate(value):
                renamed[f"prompt_encoder.point_embeddings.{index}.weight"] = row[None].clone()
            continue
        for pattern, replacement in (*DECODER, *encoder):
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed
