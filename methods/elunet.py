"""ELU-Net (Deng et al., 2022) from scratch, after a public third-party code, and enhanced forms.

A decoder stage receives the stage below it and the encoder stages of its own and of every deeper
level (in U-Net 3+: of every shallower level). Each input is upsampled by transposed convolutions
of stride 2, which keep its width, followed by one convolution. In the third-party code, encoder and
decoder share the layers that upsample the next deeper level; `tie=false` gives each its own layers.

The enhanced forms are those of U-Net 3+: 7x7 kernels, dilation 2 in the second convolution of every
encoder stage, blur pooling, gated linear units. The positions of these changes are not published;
here they are in the encoder, unless `scope=all`. The 1x1 output convolution and the transposed
convolutions keep their kernel sizes. Image sides need not be multiples of 16: poolings round up,
and upsampled features are cropped.
"""

from typing import Any

import torch
from torch import Tensor, nn

from bench import Recipe, Task, UNetEncoder, UNetForm, register_method

# A report on steel (24 micrographs, 4,480 views of 800 px) states loss, batch size, image side and
# augmentation. Optimiser, rate and number of steps are not published: those of `equal` are used.
PUBLISHED = Recipe(
    lr=3e-3,
    loss="focal_jaccard_ms_ssim",
    batch_size=16,
    bank_views=4480,
    augmentation="reports",
)


class ELUNet(nn.Module):
    """ELU-Net with stages of 1, 2, 4, 8 and 16 times `width` channels."""

    ups: Any

    def __init__(
        self, in_channels: int, classes: int, width: int, form: UNetForm, tie: bool = True
    ) -> None:
        super().__init__()
        self.encoder = UNetEncoder(in_channels, width, form)
        sizes = self.encoder.sizes
        bottom = len(sizes) - 1
        self.ups, self.fusions = nn.ModuleList(), nn.ModuleList()
        for level in range(bottom):
            below = _up(form, sizes, level + 1, level)
            sources = [_up(form, sizes, deeper, level) for deeper in range(level, bottom)]
            if tie and len(sources) > 1:
                sources[1] = below
            self.ups.append(nn.ModuleList([below, *sources]))
            out = sizes[level]
            self.fusions.append(
                nn.Sequential(
                    form.decoder_block((1 + len(sources)) * out, out), form.decoder_block(out, out)
                )
            )
        self.output = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to (B, K, S, S)."""
        encoded: list[Tensor] = self.encoder(images)
        x = encoded[-1]
        for level in reversed(range(len(self.fusions))):
            height, width = encoded[level].shape[-2:]
            pairs = zip(self.ups[level], [x, *encoded[level:-1]], strict=True)
            parts = [up(source)[..., :height, :width] for up, source in pairs]
            x = self.fusions[level](torch.cat(parts, 1))
        logits: Tensor = self.output(x)
        return logits


def _up(form: UNetForm, sizes: list[int], deeper: int, level: int) -> nn.Sequential:
    """Upsample features from the size and width of level `deeper` to those of `level`."""
    size = sizes[deeper]
    steps = [nn.ConvTranspose2d(size, size, 2, stride=2) for _ in range(deeper - level)]
    return nn.Sequential(*steps, form.decoder_conv(size, sizes[level]))


@register_method(
    "elunet",
    paper="https://doi.org/10.1109/ACCESS.2022.3163711",
    lr=3e-3,
    from_scratch=True,
    published=PUBLISHED,
    published_size=800,
)
def elunet(
    task: Task,
    *,
    width: int = 8,
    tie: bool = True,
    form: str = "original",
    kernel: int = 3,
    dilation: int = 1,
    pool: str = "max",
    glu: bool = False,
    scope: str = "encoder",
) -> nn.Module:
    """ELU-Net from scratch, with deep connections; form=enhanced, or =enhanced_glu."""
    parts = UNetForm.of(form, kernel, dilation, pool, glu, scope)
    return ELUNet(3, task.num_classes, width, parts, tie).to(memory_format=torch.channels_last)
