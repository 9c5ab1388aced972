"""sam_nano: the small embedded model of this project, trained on procedural scenes."""

from functools import partial
from pathlib import Path

from bench.sam.backbone import Backbone, register_backbone
from bench.sam.vit import ViTSizes, build_vit

NANO_WEIGHTS = Path(__file__).parents[1] / "nano" / "sam_nano.safetensors"

# With three decoder heads, each head has 16 channels, enough to encode the position of a prompt.
# Patches of 8 px give a mask resolution of 2 px. For the nuclei of dsb2018, perfect masks at 4 px
# (patches of 16 px) reach an IoU of only 0.86, perfect masks at 2 px 0.98.
SIZES = ViTSizes(
    width=96,
    depth=4,
    heads=3,
    global_blocks=(2,),
    patch=8,
    window=8,
    prompt_dim=96,
    decoder_heads=3,
    decoder_mlp=384,
)

register_backbone(
    Backbone(
        name="sam_nano",
        build=partial(build_vit, SIZES),
        summary="a small SAM for tests and comparisons on a CPU; it is not Meta's SAM",
        paper="https://arxiv.org/abs/2304.02643",
        licence="Apache-2.0",
        trained_on="procedural scenes of this project",
        image_size=256,
        step=SIZES.patch,
        parameters=1_093_284,
        blocks=SIZES.depth,
        projections="fused",
        file=__file__,
        weights=NANO_WEIGHTS,
        vit=SIZES,
    )
)
