"""SAM 2's image encoder: timm's Hiera with the neck of a feature pyramid."""

from dataclasses import dataclass
from typing import Any

from timm.models.hieradet_sam2 import HieraDet
from torch import nn

from bench.sam.pyramid import PyramidEncoder
from bench.sam.stages import Stage


@dataclass(frozen=True)
class HieraSizes:
    """Sizes of a Hiera encoder; each of its four stages halves the side of the grid.

    Attributes:
        width: channels of the first stage; each stage doubles them.
        heads: attention heads of the first stage; likewise.
        depths: number of blocks of each stage.
        global_blocks: indices of the blocks without windows.
        windows: side of the windows of each stage, in tokens.
        background: side of the position table that is resized to the image.
        channels: C of the embedding.
    """

    width: int
    heads: int
    depths: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    background: tuple[int, int] = (7, 7)
    channels: int = 256

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four stages."""
        return tuple(self.width * 2**stage for stage in range(4))


class HieraEncoder(PyramidEncoder):
    """timm's Hiera with the neck of a pyramid.

    Args:
        image_size: S in pixels, a multiple of 32.
        sizes: of the encoder.
    """

    def __init__(self, image_size: int, sizes: HieraSizes) -> None:
        super().__init__(image_size, sizes.widths, sizes.channels)
        self.sizes = sizes
        self.trunk: Any = HieraDet(
            num_classes=0,
            embed_dim=sizes.width,
            num_heads=sizes.heads,
            stages=sizes.depths,
            global_pos_size=sizes.background,
            window_spec=sizes.windows,
            global_att_blocks=sizes.global_blocks,
        )
        self.trunk.head = nn.Identity()  # type: ignore[assignment]

    @property
    def blocks(self) -> nn.Sequential:
        """The attention blocks, in the order of the forward pass."""
        blocks: nn.Sequential = self.trunk.blocks
        return blocks

    def enter(self) -> Stage:
        """Patches with their positions."""
        trunk = self.trunk
        parameters = (*trunk.patch_embed.parameters(), trunk.pos_embed, trunk.pos_embed_window)
        return Stage(lambda images: trunk._pos_embed(trunk.patch_embed(images)), parameters)

    def groups(self) -> list[list[nn.Module]]:
        """The blocks of each stage."""
        blocks = iter(self.blocks)
        return [[next(blocks) for _ in range(depth)] for depth in self.sizes.depths]
