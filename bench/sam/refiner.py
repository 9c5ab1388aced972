"""A further stage of a class head: from SAM's grid of masks to the pixels of the model's input.

SAM's decoder predicts on a grid of a quarter of a patch, and its logits are enlarged bilinearly, so
gaps between objects that are narrower than its squares are lost. Here convolutions add what the
image shows at full resolution. It is the way back up of a U-Net (Ronneberger et al., 2015) whose
deepest input is the output of SAM.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 16  # channels at the resolution of the image, twice as many at each coarser one
GROUPS = 4  # of the group norms


class MaskRefiner(nn.Module):
    """Logits on SAM's grid, with the embedding and the image, to logits at the image's resolution.

    The result is the bilinear enlargement of the given logits plus a change, which is 0 before the
    first training step.

    Args:
        outputs: K, number of logits of each pixel.
        channels: C, channels of the embedding.
        levels: number of times that the side of SAM's grid is doubled.
        width: channels at the resolution of the image.
    """

    def __init__(self, outputs: int, channels: int, levels: int, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        self.shown = nn.ModuleList(
            _conv(before, after, stride=1 if before == 3 else 2)
            for before, after in itertools.pairwise([3, *widths])
        )
        self.known = nn.Conv2d(channels, widths[-1], 1)
        self.joined = _conv(2 * widths[-1] + outputs, widths[-1])
        self.up = nn.ModuleList(
            _conv(coarse + fine, fine) for fine, coarse in itertools.pairwise(widths)
        )
        self.change = nn.Conv2d(width, outputs, 1)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.get_parameter("bias"))

    def forward(self, logits: Tensor, embeddings: Tensor, images: Tensor) -> Tensor:
        """Return fp32 logits (B, K, S, S).

        Args:
            logits: (B, K, g, g), where S is g times a power of two.
            embeddings: (B, C, s, s).
            images: (B, 3, S, S), normalised.
        """
        shown = [images]
        for layer in self.shown:
            shown.append(layer(shown[-1]))
        known = _resize(self.known(embeddings), logits.shape[-1])
        found = self.joined(torch.cat([shown[-1], known, logits.to(known.dtype)], dim=1))
        for layer, skip in zip(reversed(self.up), reversed(shown[1:-1]), strict=True):
            found = layer(torch.cat([_resize(found, skip.shape[-1]), skip], dim=1))
        return _resize(logits.float(), images.shape[-1]) + self.change(found).float()


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
        nn.GroupNorm(GROUPS, after),
        nn.ReLU(),
    )


def _resize(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
