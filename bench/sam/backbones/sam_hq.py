"""SAM-HQ (Ke et al., 2023): SAM with a token and finer features for detailed masks."""

from dataclasses import replace
from functools import partial

from segment_anything.modeling import Sam, TwoWayTransformer

from bench.data.public.fetch import Public
from bench.sam.backbone import get_backbone, register_backbone
from bench.sam.hq import HQDecoder, HQEncoder
from bench.sam.hub_names import from_hub
from bench.sam.vit import ViTSizes, with_plain_decoder

ADDRESS = "https://huggingface.co/lkeab/hq-sam/resolve/main/sam_hq_vit_{}.pth"
LICENCE = "Apache-2.0"
PARAMETERS = {"b": 94_806_576, "l": 313_676_080, "h": 642_686_000}


def build(sizes: ViTSizes, image_size: int, mask_outputs: int) -> Sam:
    """SAM-HQ with random weights."""
    encoder = HQEncoder(
        image_size=image_size,
        patch=sizes.patch,
        width=sizes.width,
        heads=sizes.heads,
        depth=sizes.depth,
        global_blocks=sizes.global_blocks,
        window=sizes.window,
        out_channels=sizes.prompt_dim,
    )
    sam = with_plain_decoder(encoder, sizes, image_size, mask_outputs)
    dim = sizes.prompt_dim
    sam.mask_decoder = HQDecoder(
        sizes.width,
        transformer_dim=dim,
        transformer=TwoWayTransformer(2, dim, sizes.decoder_heads, sizes.decoder_mlp),
        num_multimask_outputs=mask_outputs - 1,
        iou_head_hidden_dim=dim,
    )
    return sam


for letter, parameters in PARAMETERS.items():
    base = get_backbone(f"sam_vit_{letter}")
    assert base.vit is not None
    register_backbone(
        replace(
            base,
            name=f"sam_hq_vit_{letter}",
            build=partial(build, base.vit),
            summary=f"SAM-HQ with ViT-{letter.upper()}: finer masks",
            paper="https://arxiv.org/abs/2306.01567",
            licence=LICENCE,
            trained_on="SAM's weights, and 44 thousand images with fine masks (HQSeg-44K)",
            parameters=parameters,
            file=__file__,
            read=from_hub,
            public=Public(ADDRESS.format(letter), None, LICENCE),
            vit=None,
        )
    )
