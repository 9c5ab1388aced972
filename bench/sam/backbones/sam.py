"""Meta's SAM (Kirillov et al., 2023): ViT-B, ViT-L and ViT-H."""

from functools import partial

from bench.data.public.fetch import Public
from bench.sam.backbone import Backbone, register_backbone
from bench.sam.vit import ViTSizes, build_vit

ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything/"
LICENCE = "Apache-2.0"
SIZES = {
    "b": ViTSizes(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
    "l": ViTSizes(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "h": ViTSizes(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
}
# Published file and its SHA-256, and the number of parameters at 1024 px.
FILES = {
    "b": (
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        93_735_472,
    ),
    "l": (
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        312_342_832,
    ),
    "h": (
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        641_090_608,
    ),
}

for letter, sizes in SIZES.items():
    file, sha256, parameters = FILES[letter]
    register_backbone(
        Backbone(
            name=f"sam_vit_{letter}",
            build=partial(build_vit, sizes),
            summary=f"Meta's SAM with ViT-{letter.upper()}",
            paper="https://arxiv.org/abs/2304.02643",
            licence=LICENCE,
            trained_on="SA-1B: 11 million photographs with 1.1 billion masks",
            image_size=1024,
            step=sizes.patch,
            parameters=parameters,
            blocks=sizes.depth,
            projections="fused",
            file=__file__,
            public=Public(ADDRESS + file, sha256, LICENCE),
            vit=sizes,
        )
    )
