"""Blocks of U-Nets, plain and enhanced, and blur pooling."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.sam.surgery import require


@dataclass(frozen=True)
class UNetForm:
    """How the convolutions of a U-Net are made.

    Attributes:
        kernel: side of the convolutions, odd.
        dilation: of the second convolution of each encoder stage. The first is never dilated, so
            that every pixel is seen (rates 1 and d, as in hybrid dilated convolution, Wang et al.,
            2018, arXiv 1702.08502).
        pool: "max", or "blur": the max pooling between encoder stages is followed by `BlurPool`.
        glu: convolutions have twice the channels, and gated linear units in the place of ReLU.
        scope: "encoder" or "all": where `kernel` and `glu` hold. Elsewhere stand 3x3 and ReLU.
    """

    kernel: int = 3
    dilation: int = 1
    pool: str = "max"
    glu: bool = False
    scope: str = "encoder"

    @classmethod
    def of(
        cls, form: str, kernel: int, dilation: int, pool: str, glu: bool, scope: str
    ) -> "UNetForm":
        """A named form, or one made of its parts.

        Raises:
            UserError: a value is out of range, or a named form and a part are given together.
        """
        require(form in FORMS, f"form '{form}' is not known: give one of {', '.join(FORMS)}")
        require(kernel > 0 and kernel % 2 == 1, f"kernel {kernel} must be odd, as 3 or 7")
        require(dilation >= 1, f"dilation {dilation} is too small: give 1 or more")
        require(pool in ("max", "blur"), f"pool '{pool}' is not known: give max or blur")
        require(scope in ("encoder", "all"), f"scope '{scope}' is not known: give encoder or all")
        parts = kernel, dilation, pool, glu
        require(
            form == "original" or parts == FORMS["original"],
            f"form '{form}' sets kernel, dilation, pool and glu: give either the form or these",
        )
        kernel, dilation, pool, glu = parts if form == "original" else FORMS[form]
        return cls(kernel, dilation, pool, glu, scope)

    def encoder_stage(self, channels: int, out: int) -> nn.Sequential:
        """Two blocks of convolution, BatchNorm and activation, of equal size in and out."""
        return nn.Sequential(
            _block(channels, out, self.kernel, 1, self.glu),
            _block(out, out, self.kernel, self.dilation, self.glu),
        )

    def decoder_block(self, channels: int, out: int) -> nn.Sequential:
        """One block of convolution, BatchNorm and activation."""
        everywhere = self.scope == "all"
        return _block(channels, out, self.kernel if everywhere else 3, 1, self.glu and everywhere)

    def decoder_conv(self, channels: int, out: int) -> nn.Conv2d:
        """A convolution of the decoder alone."""
        return _conv(channels, out, self.kernel if self.scope == "all" else 3, 1)

    def pooling(self, channels: int) -> nn.Module:
        """Halve the sides, rounded up."""
        halve = nn.MaxPool2d(2, ceil_mode=True)
        return nn.Sequential(halve, BlurPool(channels)) if self.pool == "blur" else halve


# Kernel, dilation, pool, glu. The dilation of the enhanced forms is our choice: none is published.
FORMS = {
    "original": (3, 1, "max", False),
    "enhanced": (7, 2, "blur", False),
    "enhanced_glu": (7, 2, "blur", True),
}


class UNetEncoder(nn.Module):
    """Five stages of 1, 2, 4, 8 and 16 times `width` channels, with pooling between.

    Attributes:
        sizes: channels of every stage.
    """

    def __init__(self, in_channels: int, width: int, form: UNetForm) -> None:
        super().__init__()
        require(width >= 1, f"width {width} is too small: give 1 or more")
        self.sizes = [width * 2**level for level in range(5)]
        inputs = [in_channels, *self.sizes[:-1]]
        self.stages = nn.ModuleList(map(form.encoder_stage, inputs, self.sizes))
        self.pools = nn.ModuleList(map(form.pooling, self.sizes[:-1]))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, S, S) in [0, 1] to every stage's output, finest first, side S / 2^l rounded up."""
        encoded = [self.stages[0]((images - 0.5) / 0.25)]
        for stage, pool in zip(self.stages[1:], self.pools, strict=True):
            encoded.append(stage(pool(encoded[-1])))
        return encoded


class BlurPool(nn.Module):
    """The fixed filter [1 2 1] x [1 2 1] / 16 over each channel, zeros around, sides kept."""

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.5, 0.25])
        weight = torch.outer(line, line).expand(channels, 1, 3, 3).clone()
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return F.conv2d(x, self.weight.to(x.dtype), padding=1, groups=len(self.weight))


def _conv(channels: int, out: int, kernel: int, dilation: int) -> nn.Conv2d:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(channels, out, kernel, padding=padding, dilation=dilation)


def _block(channels: int, out: int, kernel: int, dilation: int, glu: bool) -> nn.Sequential:
    wide = 2 * out if glu else out
    return nn.Sequential(
        _conv(channels, wide, kernel, dilation),
        nn.BatchNorm2d(wide),
        nn.GLU(1) if glu else nn.ReLU(inplace=True),
    )
