"""Each family of backbones in a small size, so that contracts take seconds."""

from dataclasses import replace
from functools import partial

import pytest

from bench.sam import backbone as registry
from bench.sam.backbone import Backbone, get_backbone
from bench.sam.backbones import edgetam, sam2, sam_hq
from bench.sam.efficient import build_efficient
from bench.sam.hiera import HieraSizes
from bench.sam.sam3 import Sam3Sizes, build_sam3
from bench.sam.vit import ViTSizes

SMALL_VIT = ViTSizes(
    width=48,
    depth=3,
    heads=3,
    global_blocks=(1,),
    window=3,
    prompt_dim=32,
    decoder_heads=2,
    decoder_mlp=64,
)
SMALL_HIERA = HieraSizes(8, 1, (1, 1, 2, 1), (3,), windows=(4, 2, 4, 2), channels=32)
SMALL_SAM3 = Sam3Sizes(48, 3, 3, mlp=96, global_blocks=(1,), window=3, patch=16, channels=32)


def small_backbones() -> list[Backbone]:
    """One for each family of SAM's successors; the names begin with "small_"."""
    return [
        replace(
            get_backbone("sam_hq_vit_b"),
            name="small_hq",
            build=partial(sam_hq.build, SMALL_VIT),
            blocks=SMALL_VIT.depth,
            image_size=64,
        ),
        replace(
            get_backbone("sam2_hiera_tiny"),
            name="small_sam2",
            build=partial(sam2.build, SMALL_HIERA),
            blocks=sum(SMALL_HIERA.depths),
            image_size=64,
        ),
        replace(
            get_backbone("edgetam"),
            name="small_edgetam",
            build=partial(edgetam.build, (8, 16, 24, 32), (2, 1, 1, 1), 32),
            blocks=5,
            image_size=64,
        ),
        replace(
            get_backbone("efficient_sam_vit_tiny"),
            name="small_efficient",
            build=partial(build_efficient, SMALL_VIT),
            blocks=SMALL_VIT.depth,
            image_size=64,
        ),
        replace(
            get_backbone("sam3"),
            name="small_sam3",
            build=partial(build_sam3, SMALL_SAM3),
            blocks=SMALL_SAM3.depth,
            image_size=64,
            step=SMALL_SAM3.patch,
        ),
    ]


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make them known for one test."""
    for backbone in small_backbones():
        monkeypatch.setitem(registry._BACKBONES.entries, backbone.name, backbone)
