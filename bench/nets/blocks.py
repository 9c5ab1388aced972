"""Convolution blocks, encoder and blur pooling of original and enhanced U-Nets."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.sam.surgery import require


@dataclass(frozen=True)
class UNetForm:
    """Options of the convolutions of a U-Net. Only `of` checks the values.

    Attributes:
        kernel: side of the convolution kernels, odd.
        dilation: dilation of the second convolution of each encoder stage, at least 1. The first
            convolution is never dilated, so that no pixel is skipped (rates 1 and d, as in hybrid
            dilated convolution, Wang et al., 2018, arXiv 1702.08502).
        pool: "max" for max pooling between encoder stages, "blur" for max pooling followed by
            `BlurPool`.
        glu: use convolutions with twice the channels and gated linear units instead of ReLU.
        scope: part of the network to which `kernel` and `glu` apply, "encoder" or "all"; the rest
            of the network uses 3x3 kernels and ReLU.
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
        """Return the form of `FORMS` that `form` names; for "original", one with the other options.

        The arguments after `form` are the attributes of `UNetForm`. `scope` goes with every form.

        Raises:
            UserError: a value is out of range, or an enhanced form is combined with a kernel,
                dilation, pool or glu that is not that of "original".
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
        """Return two blocks of convolution, BatchNorm and activation, which keep height and width.

        They turn `channels` channels into `out`.
        """
        return nn.Sequential(
            _block(channels, out, self.kernel, 1, self.glu),
            _block(out, out, self.kernel, self.dilation, self.glu),
        )

    def decoder_block(self, channels: int, out: int) -> nn.Sequential:
        """Return one block of convolution, BatchNorm and activation, which keeps height and width.

        It turns `channels` channels into `out`.
        """
        everywhere = self.scope == "all"
        return _block(channels, out, self.kernel if everywhere else 3, 1, self.glu and everywhere)

    def decoder_conv(self, channels: int, out: int) -> nn.Conv2d:
        """Return one convolution of the decoder, from `channels` channels to `out`.

        It keeps height and width, and has no BatchNorm and no activation.
        """
        return _conv(channels, out, self.kernel if self.scope == "all" else 3, 1)

    def pooling(self, channels: int) -> nn.Module:
        """Return a module that halves height and width, rounded up."""
        halve = nn.MaxPool2d(2, ceil_mode=True)
        return nn.Sequential(halve, BlurPool(channels)) if self.pool == "blur" else halve


# Kernel, dilation, pool, glu. No dilation is published for the enhanced forms; 2 is our choice.
FORMS = {
    "original": (3, 1, "max", False),
    "enhanced": (7, 2, "blur", False),
    "enhanced_glu": (7, 2, "blur", True),
}


class UNetEncoder(nn.Module):
    """Five stages of 1, 2, 4, 8 and 16 times `width` channels, with pooling in between.

    Args:
        in_channels: channels of the images.
        width: channels of the finest stage.
        form: options of its convolutions and its pooling.

    Attributes:
        sizes: number of channels of each stage, finest stage first.

    Raises:
        UserError: `width` is below 1.
    """

    def __init__(self, in_channels: int, width: int, form: UNetForm) -> None:
        super().__init__()
        require(width >= 1, f"width {width} is too small: give 1 or more")
        self.sizes = [width * 2**level for level in range(5)]
        inputs = [in_channels, *self.sizes[:-1]]
        self.stages = nn.ModuleList(map(form.encoder_stage, inputs, self.sizes))
        self.pools = nn.ModuleList(map(form.pooling, self.sizes[:-1]))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the outputs of all five stages for images (B, C, S, S) in [0, 1].

        The output of stage l = 0 to 4 has the side S / 2^l, rounded up.
        """
        encoded = [self.stages[0]((images - 0.5) / 0.25)]
        for stage, pool in zip(self.stages[1:], self.pools, strict=True):
            encoded.append(stage(pool(encoded[-1])))
        return encoded


class BlurPool(nn.Module):
    """Fixed filter [1 2 1] x [1 2 1] / 16 on each channel, stride 1, zero padding of 1 pixel.

    Args:
        channels: number of channels of the input and the output.
    """

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.5, 0.25])
        weight = torch.outer(line, line).expand(channels, 1, 3, 3).clone()
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the filtered x (B, C, H, W), in the same shape."""
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
