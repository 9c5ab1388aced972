"""EdgeTAM for images (Zhou et al., 2025): SAM 2's decoder behind a small convolutional encoder.

The encoder is timm's RepViT-M1. The parts that follow objects through videos are not built.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from segment_anything.modeling import Sam
from timm.models.repvit import RepVit
from torch import nn

from bench.data.public.fetch import Public
from bench.sam.backbone import Backbone, register_backbone
from bench.sam.hub_names import Names
from bench.sam.pyramid import PyramidEncoder, with_pyramid_decoder
from bench.sam.pyramid_names import from_published
from bench.sam.stages import Stage

LICENCE = "Apache-2.0"
WIDTHS, DEPTHS = (48, 96, 192, 384), (2, 2, 14, 2)
NAMES: Names = (
    (r"^vision_encoder\.backbone\.timm_model\.stages_", "image_encoder.trunk.stages."),
    (r"^vision_encoder\.backbone\.timm_model\.", "image_encoder.trunk."),
    (r"^image_encoder\.trunk\.body\.stages_", "image_encoder.trunk.stages."),
    (r"^image_encoder\.trunk\.body\.", "image_encoder.trunk."),
)


class RepVitEncoder(PyramidEncoder):
    """timm's RepViT with the neck of a pyramid; `blocks` have convolutions, no attention.

    Args:
        image_size: S in pixels, a multiple of 32.
        widths: channels of the four stages.
        depths: blocks of the four stages.
        channels: C of the embedding.
    """

    channels_last = False

    def __init__(
        self, image_size: int, widths: tuple[int, ...], depths: tuple[int, ...], channels: int
    ) -> None:
        super().__init__(image_size, widths, channels)
        self.trunk: Any = RepVit(embed_dim=widths, depth=depths, legacy=True, num_classes=0)
        self.trunk.head = nn.Identity()  # type: ignore[assignment]
        for layer in self.trunk.modules():
            if isinstance(layer, nn.BatchNorm2d):
                # timm's random weights have 0 here in each block. A method that freezes it could
                # not train what comes before it.
                nn.init.ones_(layer.weight)

    @property
    def blocks(self) -> list[nn.Module]:
        """The convolution blocks, in the order of the forward pass."""
        return [block for stage in self.trunk.stages for block in stage.blocks]

    def enter(self) -> Stage:
        """The stem."""
        return Stage.of(self.trunk.stem)

    def groups(self) -> list[list[nn.Module]]:
        """One stage of RepViT each."""
        return [[stage] for stage in self.trunk.stages]


def build(
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    channels: int,
    image_size: int,
    mask_outputs: int,
) -> Sam:
    """EdgeTAM with random weights."""
    encoder = RepVitEncoder(image_size, widths, depths, channels)
    return with_pyramid_decoder(encoder, image_size, mask_outputs, channels)


def read(state: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the tensors of the authors' layout or of the Hub's; those for videos are left out.

    Args:
        state: values by the names of the file; names of this project stay as they are.
    """
    return from_published(state, NAMES)


register_backbone(
    Backbone(
        name="edgetam",
        build=partial(build, WIDTHS, DEPTHS, 256),
        summary="EdgeTAM: RepViT encoder, SAM 2's decoder",
        paper="https://arxiv.org/abs/2501.07256",
        licence=LICENCE,
        trained_on="SA-1B and SA-V, from the embeddings of SAM 2",
        image_size=1024,
        step=32,
        parameters=9_120_641,
        blocks=sum(DEPTHS),
        projections="none",
        file=__file__,
        read=read,
        public=Public(
            "https://github.com/facebookresearch/EdgeTAM/raw/main/checkpoints/edgetam.pt",
            None,
            LICENCE,
        ),
    )
)
