"""EfficientSAM (Xiong et al., 2023): small ViTs that were pretrained to match SAM's features."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from bench.data.public.fetch import Public
from bench.sam.backbone import Backbone, register_backbone
from bench.sam.efficient import build_efficient
from bench.sam.hub_names import Names
from bench.sam.vit import ViTSizes

ADDRESS = "https://huggingface.co/yunyangx/EfficientSAM/resolve/main/efficient_sam_{}.pt"
LICENCE = "Apache-2.0"
SIZES = {
    "tiny": ViTSizes(width=192, depth=12, heads=3, global_blocks=()),
    "small": ViTSizes(width=384, depth=12, heads=6, global_blocks=()),
}
FILES = {"tiny": ("vitt", 10_223_204), "small": ("vits", 26_413_028)}
NAMES: Names = (
    (r"^(image_encoder\.blocks\.\d+\.mlp)\.fc(\d)", r"\1.lin\2"),
    (r"^prompt_encoder\.invalid_points\.", "prompt_encoder.not_a_point_embed."),
    (r"^prompt_encoder\.point_embeddings\.weight", "prompt_encoder.point_embeddings.1.weight"),
    (r"^prompt_encoder\.bbox_top_left_embeddings\.", "prompt_encoder.point_embeddings.2."),
    (r"^prompt_encoder\.bbox_bottom_right_embeddings\.", "prompt_encoder.point_embeddings.3."),
    (r"final_output_upscaling_layers\.0\.", "output_upscaling."),
    (r"final_output_upscaling_layers\.1\.0", "output_upscaling.3"),
    (r"(transformer\.layers\.\d\.mlp)\.layers\.0\.0", r"\1.lin1"),
    (r"(transformer\.layers\.\d\.mlp)\.fc", r"\1.lin2"),
    (r"(mlps\.\d+|iou_prediction_head)\.layers\.(\d)\.0", r"\1.layers.\2"),
    (r"(mlps\.\d+|iou_prediction_head)\.fc", r"\1.layers.2"),
)


def read(state: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the tensors of the authors' layout.

    Args:
        state: values by the names of the file; names of this project stay as they are.
    """
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


for size, sizes in SIZES.items():
    file, parameters = FILES[size]
    register_backbone(
        Backbone(
            name=f"efficient_sam_vit_{size}",
            build=partial(build_efficient, sizes),
            summary=f"EfficientSAM with ViT-{size}",
            paper="https://arxiv.org/abs/2312.00863",
            licence=LICENCE,
            trained_on="SA-1B, after pretraining on ImageNet-1K with the features of SAM's ViT-H",
            image_size=1024,
            step=sizes.patch,
            parameters=parameters,
            blocks=sizes.depth,
            projections="fused",
            file=__file__,
            read=read,
            public=Public(ADDRESS.format(file), None, LICENCE),
        )
    )
