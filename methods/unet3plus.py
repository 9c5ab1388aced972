"""U-Net 3+ (Huang et al., 2020, sections 2.1 to 2.3) from scratch, and its enhanced forms.

Every decoder stage receives features of every scale: shallower encoder stages through max pooling,
the encoder stage of its own level, and deeper decoder stages and the bottom stage through bilinear
interpolation. With `supervision=true` the deeper decoder stages and the bottom stage have outputs
of their own; the loss is the mean over all outputs, and the finest output is the prediction.
`cgm=true` adds the classification-guided module: a branch at the bottom classifies whether the
image has any foreground, and its decision (1 or 0) multiplies all logits, in training too; if it is
0, every pixel is class 0. The weight of its loss is not known to us: here its binary cross entropy
over (none, some) is added with weight 1.

The enhanced forms have 7x7 kernels, dilated convolutions and blur pooling; `enhanced_glu` also has
gated linear units. The positions of these changes are not published; here they are in the encoder,
unless `scope=all`. The second convolution of every encoder stage is dilated (by 2); blur pooling
replaces the four poolings between the stages, not those of the full-scale connections. Image sides
need not be multiples of 16: poolings round up. The first stage of the paper has width 64; the
default width gives a model about as large as sam_nano, which a CPU can train.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import IGNORE, Recipe, Task, UNetEncoder, UNetForm, register_method

# A report on steel (24 micrographs, 4,480 views of 800 px) states loss, batch size, image side and
# augmentation. Optimiser, rate and number of steps are not published: those of `equal` are used.
PUBLISHED = Recipe(
    lr=3e-3,
    loss="focal_jaccard_ms_ssim",
    batch_size=16,
    bank_views=4480,
    augmentation="reports",
)


class UNet3Plus(nn.Module):
    """U-Net 3+ with stages of 1, 2, 4, 8 and 16 times `width` channels."""

    skips: Any

    def __init__(
        self,
        in_channels: int,
        classes: int,
        width: int,
        form: UNetForm,
        supervision: bool = False,
        cgm: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = UNetEncoder(in_channels, width, form)
        sizes = self.encoder.sizes
        wide = len(sizes) * width  # channels of a decoder stage
        self.skips, self.fusions = nn.ModuleList(), nn.ModuleList()
        for level in range(len(sizes) - 1):
            seen = [*sizes[: level + 1], *[wide] * (len(sizes) - 2 - level), sizes[-1]]
            self.skips.append(nn.ModuleList(form.decoder_block(size, width) for size in seen))
            self.fusions.append(form.decoder_block(wide, wide))
        outputs = [*[wide] * len(self.fusions), sizes[-1]] if supervision else [wide]
        self.outputs = nn.ModuleList(form.decoder_conv(size, classes) for size in outputs)
        self.presence = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(sizes[-1], 2, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten()
        ) if cgm else None  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to (B, K, S, S)."""
        stages = self._stages(images)
        return self._gated(self.outputs[0](stages[0]), self._presence(stages))

    def training_loss(
        self, images: Tensor, masks: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Mean of `loss` over all outputs, plus the classification's binary cross entropy."""
        stages = self._stages(images)
        presence, side = self._presence(stages), images.shape[-2:]
        outputs = zip(self.outputs, stages, strict=False)  # without supervision, the finest alone
        logits = [F.interpolate(head(x), side, mode="bilinear") for head, x in outputs]
        total = torch.stack([loss(self._gated(each, presence), masks) for each in logits])
        if presence is None:
            return total.mean()
        some = ((masks > 0) & (masks != IGNORE)).flatten(1).any(1)
        truth = torch.stack([~some, some], 1).float()
        return total.mean() + F.binary_cross_entropy_with_logits(presence.float(), truth)

    def _stages(self, images: Tensor) -> list[Tensor]:
        """The four decoder stages, finest first, and the bottom."""
        encoded: list[Tensor] = self.encoder(images)
        decoded = encoded[-1:]
        for level in reversed(range(len(self.fusions))):
            side = encoded[level].shape[-2:]
            shallower = [
                F.max_pool2d(encoded[j], 2 ** (level - j), ceil_mode=True) for j in range(level)
            ]
            deeper = [F.interpolate(x, side, mode="bilinear") for x in decoded]
            seen = zip(self.skips[level], [*shallower, encoded[level], *deeper], strict=True)
            parts = [skip(x) for skip, x in seen]
            decoded.insert(0, self.fusions[level](torch.cat(parts, 1)))
        return decoded

    def _presence(self, stages: list[Tensor]) -> Tensor | None:
        """Logits (B, 2) of no and of some foreground; None without the module."""
        return None if self.presence is None else self.presence(stages[-1])

    @staticmethod
    def _gated(logits: Tensor, presence: Tensor | None) -> Tensor:
        return logits if presence is None else logits * presence.argmax(1).view(-1, 1, 1, 1)


@register_method(
    "unet3plus",
    paper="https://arxiv.org/abs/2004.08790",
    lr=3e-3,
    from_scratch=True,
    published=PUBLISHED,
    published_size=800,
    published_options={"width": 64},
)
def unet3plus(
    task: Task,
    *,
    width: int = 16,
    supervision: bool = False,
    cgm: bool = False,
    form: str = "original",
    kernel: int = 3,
    dilation: int = 1,
    pool: str = "max",
    glu: bool = False,
    scope: str = "encoder",
) -> nn.Module:
    """U-Net 3+ from scratch, with full-scale connections; form=enhanced, or =enhanced_glu."""
    parts = UNetForm.of(form, kernel, dilation, pool, glu, scope)
    model = UNet3Plus(3, task.num_classes, width, parts, supervision, cgm)
    return model.to(memory_format=torch.channels_last)
