"""Names of tensors in checkpoints of SAM 2 and of the models that follow it."""

import re
from collections.abc import Mapping
from typing import Any

from bench.sam.hub_names import Names, from_hub

HUB: Names = (
    (r"^vision_encoder\.neck\.", "image_encoder.neck."),
    (r"^no_memory_embedding$", "image_encoder.neck.no_memory"),
    (r"^mask_decoder\.conv_s", "image_encoder.neck.conv_s"),
)
META: Names = (
    (r"^image_encoder\.neck\.convs\.(\d)\.conv", r"image_encoder.neck.convs.\1"),
    (r"^no_mem_embed$", "image_encoder.neck.no_memory"),
    (r"^sam_mask_decoder\.conv_s", "image_encoder.neck.conv_s"),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.(transformer\.layers\.\d\.mlp)\.layers\.0", r"mask_decoder.\1.lin1"),
    (r"^sam_mask_decoder\.(transformer\.layers\.\d\.mlp)\.layers\.1", r"mask_decoder.\1.lin2"),
    (r"^sam_mask_decoder\.", "mask_decoder."),
)
PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")


def from_published(state: Mapping[str, Any], encoder: Names) -> dict[str, Any]:
    """Rename the tensors of Meta's layout or of the Hub's; those for videos are left out.

    Args:
        state: values by the names of the file; names of this project stay as they are.
        encoder: names of the image encoder in both layouts.
    """
    tensors = {}
    for name, value in from_hub(state, (*encoder, *HUB)).items():
        for pattern, replacement in (*META, *encoder):
            name = re.sub(pattern, replacement, name)
        if name == "image_encoder.neck.no_memory" and getattr(value, "ndim", 4) == 3:
            value = value.permute(0, 2, 1)[..., None]
        if name.startswith(PARTS):
            tensors[name] = value
    return tensors
