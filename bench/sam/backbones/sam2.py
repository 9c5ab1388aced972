"""Meta's SAM 2.1 for images (Ravi et al., 2024): Hiera encoders from tiny to large.

The parts that follow objects through videos are not built.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from segment_anything.modeling import Sam

from bench.data.public.fetch import Public
from bench.sam.backbone import Backbone, register_backbone
from bench.sam.hiera import HieraEncoder, HieraSizes
from bench.sam.hub_names import Names
from bench.sam.pyramid import with_pyramid_decoder
from bench.sam.pyramid_names import from_published

ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_{}.pt"
LICENCE = "Apache-2.0"
STEP = 32  # pixels of the image for one token of the last stage
SIZES = {
    "tiny": HieraSizes(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "small": HieraSizes(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "base_plus": HieraSizes(112, 2, (2, 3, 16, 3), (12, 16, 20), background=(14, 14)),
    "large": HieraSizes(144, 2, (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8)),
}
PARAMETERS = {
    "tiny": 31_440_721,
    "small": 38_538_577,
    "base_plus": 73_328_401,
    "large": 216_924_865,
}
NAMES: Names = (
    (r"^vision_encoder\.backbone\.patch_embed\.projection", "image_encoder.trunk.patch_embed.proj"),
    (
        r"^vision_encoder\.backbone\.blocks\.(\d+)\.layer_norm(\d)",
        r"image_encoder.trunk.blocks.\1.norm\2",
    ),
    (r"^vision_encoder\.backbone\.(blocks\.\d+\.mlp)\.proj_in", r"image_encoder.trunk.\1.fc1"),
    (r"^vision_encoder\.backbone\.(blocks\.\d+\.mlp)\.proj_out", r"image_encoder.trunk.\1.fc2"),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^image_encoder\.trunk\.(blocks\.\d+\.mlp)\.layers\.0", r"image_encoder.trunk.\1.fc1"),
    (r"^image_encoder\.trunk\.(blocks\.\d+\.mlp)\.layers\.1", r"image_encoder.trunk.\1.fc2"),
)


def read(state: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the tensors of Meta's layout or of the Hub's; those for videos are left out.

    Args:
        state: values by the names of the file; names of this project stay as they are.
    """
    return from_published(state, NAMES)


def build(sizes: HieraSizes, image_size: int, mask_outputs: int) -> Sam:
    """SAM 2 with random weights."""
    encoder = HieraEncoder(image_size, sizes)
    return with_pyramid_decoder(encoder, image_size, mask_outputs, sizes.channels)


for size, sizes in SIZES.items():
    register_backbone(
        Backbone(
            name=f"sam2_hiera_{size}",
            build=partial(build, sizes),
            summary=f"SAM 2.1 with Hiera {size.replace('_', ' ')}",
            paper="https://arxiv.org/abs/2408.00714",
            licence=LICENCE,
            trained_on="SA-1B, and SA-V: 51 thousand videos with 643 thousand objects",
            image_size=1024,
            step=STEP,
            parameters=PARAMETERS[size],
            blocks=sum(sizes.depths),
            projections="fused",
            file=__file__,
            read=read,
            public=Public(ADDRESS.format(size), None, LICENCE),
        )
    )
