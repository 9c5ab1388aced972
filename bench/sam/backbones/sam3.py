"""SAM 3's tracker for images (Carion et al., 2025): masks from points and boxes, without text.

Meta gives the weights on request, under a licence of its own, so they are read from a file of the
user, after the licence was accepted.
"""

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from bench.sam.backbone import Backbone, register_backbone
from bench.sam.hub_names import Names
from bench.sam.pyramid_names import from_published
from bench.sam.sam3 import Sam3Sizes, build_sam3

SIZES = Sam3Sizes()
# Files of the whole of SAM 3 to those of its tracker: the Hub's, then Meta's.
_LEVEL = r"^detector\.backbone\.vision_backbone\.sam2_convs\.(\d)\."
_FPN = r"image_encoder.neck.fpn_layers.\1."
WHOLE: Names = (
    (r"^detector_model\.vision_encoder\.backbone\.", "vision_encoder.backbone."),
    (r"^tracker_neck\.", "vision_encoder.neck."),
    (r"^tracker_model\.", ""),
    (r"^detector\.backbone\.vision_backbone\.trunk\.", "image_encoder."),
    (_LEVEL + r"dconv_2x2_0", _FPN + "scale_layers.0"),
    (_LEVEL + r"dconv_2x2_1", _FPN + "scale_layers.2"),
    (_LEVEL + r"dconv_2x2\.", _FPN + "scale_layers.0."),
    (_LEVEL + r"conv_1x1", _FPN + "proj1"),
    (_LEVEL + r"conv_3x3", _FPN + "proj2"),
    (r"^tracker\.", ""),
)
_HUB = r"^vision_encoder\.backbone\."
NAMES: Names = (
    (_HUB + r"embeddings\.position_embeddings", "image_encoder.pos_embed"),
    (_HUB + r"embeddings\.patch_embeddings\.projection", "image_encoder.patch_embed.proj"),
    (_HUB + r"layer_norm\.", "image_encoder.ln_pre."),
    (_HUB + r"layers\.(\d+)\.layer_norm(\d)", r"image_encoder.blocks.\1.norm\2"),
    (_HUB + r"layers\.(\d+)\.attention\.o_proj", r"image_encoder.blocks.\1.attn.proj"),
    (_HUB + r"layers\.(\d+)\.attention\.qkv", r"image_encoder.blocks.\1.attn.qkv"),
    (_HUB + r"layers\.(\d+)\.mlp\.fc(\d)", r"image_encoder.blocks.\1.mlp.lin\2"),
    (r"^(image_encoder\.blocks\.\d+\.mlp)\.fc(\d)", r"\1.lin\2"),
)
_QUERIES = r"(vision_encoder\.backbone\.layers\.\d+\.attention\.)q_proj(\.\w+)"


def read(state: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the tensors of Meta's layout or of the Hub's, of SAM 3 or of its tracker alone.

    The Hub's separate layers for queries, keys and values become one, as in Meta's layout. Tensors
    of the detector, for text and for videos are left out.

    Args:
        state: values by the names of the file; names of this project stay as they are.
    """
    tensors = {}
    for name, value in state.items():
        for pattern, replacement in WHOLE:
            name = re.sub(pattern, replacement, name)
        if not name.endswith("attn.freqs_cis"):  # computed from the side of the grid
            tensors[name] = value
    for name in [name for name in tensors if re.fullmatch(_QUERIES, name)]:
        parts = [tensors.pop(re.sub(r"\bq_proj", f"{letter}_proj", name)) for letter in "qkv"]
        tensors[name.replace("q_proj", "qkv")] = torch.cat(parts)
    tensors = from_published(tensors, NAMES)
    positions: Any = tensors.get("image_encoder.pos_embed")
    if getattr(positions, "ndim", 0) == 3 and math.isqrt(count := positions.shape[1]) ** 2 < count:
        tensors["image_encoder.pos_embed"] = positions[:, 1:]  # without the class token's
    return tensors


register_backbone(
    Backbone(
        name="sam3",
        build=partial(build_sam3, SIZES),
        summary="SAM 3's tracker: ViT with rotary positions, SAM 2's decoder",
        paper="https://arxiv.org/abs/2511.16719",
        licence="SAM License (of Meta; the weights are given on request)",
        trained_on="SA-Co: images and videos with masks of 4 million concepts",
        image_size=1008,
        step=SIZES.patch,
        parameters=458_260_369,
        blocks=SIZES.depth,
        projections="fused",
        file=__file__,
        read=read,
        gated="https://github.com/facebookresearch/sam3/blob/main/LICENSE",
    )
)
