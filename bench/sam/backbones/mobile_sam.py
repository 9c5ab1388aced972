"""MobileSAM (Zhang et al., 2023): SAM's decoder behind a small distilled encoder, TinyViT."""

from segment_anything.modeling import Sam

from bench.data.public.fetch import Public
from bench.sam.backbone import Backbone, register_backbone
from bench.sam.tiny_vit import TinyViTEncoder, from_public
from bench.sam.vit import ViTSizes, with_plain_decoder

DECODER = ViTSizes(width=320, depth=0, heads=0, global_blocks=())


def build(image_size: int, mask_outputs: int) -> Sam:
    """MobileSAM with random weights; the unused classifier of its encoder is frozen."""
    encoder = TinyViTEncoder(image_size, DECODER.prompt_dim)
    return with_plain_decoder(encoder, DECODER, image_size, mask_outputs)


register_backbone(
    Backbone(
        name="mobile_sam",
        build=build,
        summary="MobileSAM: TinyViT encoder, SAM's decoder",
        paper="https://arxiv.org/abs/2306.14289",
        licence="Apache-2.0",
        trained_on="1 % of SA-1B, from the embeddings of SAM's ViT-H",
        image_size=1024,
        step=DECODER.patch,
        parameters=10_130_092,
        blocks=10,
        projections="fused",
        file=__file__,
        read=from_public,
        public=Public(
            "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            "Apache-2.0",
        ),
    )
)
