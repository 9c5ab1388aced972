"""SAM as a model from images to class logits, in stages of which a frozen prefix can be reused."""

import copy
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, Sam
from torch import Tensor, nn

from bench.sam.decoder import predict_masks
from bench.sam.prompts import PromptRule, Prompts
from bench.sam.stages import Stage as Stage
from bench.sam.surgery import require

PIXELS = ("sam", "unit", "minmax")


@runtime_checkable
class Staged(Protocol):
    """A model that runs in stages, so that the trainer can reuse what the frozen ones give."""

    def stages(self) -> list[Stage]:
        """From images (B, 3, S, S) in [0, 1] to features, one after another."""

    def decode(self, features: Tensor, prompts: Prompts | None = None, low: bool = False) -> Tensor:
        """Class logits (B, K, S, S) from what the last stage gives; `low`: as SAM makes them."""


class SamSegmenter(nn.Module):
    """SAM's image encoder and a head: images (B, 3, S, S) in [0, 1] to logits (B, K, S, S).

    Module names are the encoder's own below `image_encoder`.

    Args:
        sam: gives its image encoder and its pixel mean and deviation.
        head: `head(embeddings (B, C, s, s), side) -> (B, K, side, side)`; a promptable one takes
            the prompts as a third argument.
        pixels: "sam" subtracts SAM's mean and divides by its deviation; "unit" takes images as they
            are, in [0, 1]; "minmax" stretches each image to [0, 1].
    """

    image_encoder: Any
    head: Any
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, sam: Sam, head: nn.Module, pixels: str = "sam") -> None:
        super().__init__()
        require(
            pixels in PIXELS, f"pixels '{pixels}' is not known: give one of {', '.join(PIXELS)}"
        )
        self.image_encoder = sam.image_encoder
        self.head = head
        self.pixels = pixels
        self.register_buffer("pixel_mean", sam.pixel_mean / 255, persistent=False)
        self.register_buffer("pixel_std", sam.pixel_std / 255, persistent=False)

    @property
    def prompt_rule(self) -> PromptRule | None:
        """How the prompts of this model are made; None where it takes none."""
        rule: PromptRule | None = getattr(self.head, "rule", None)
        return rule

    def stages(self) -> list[Stage]:
        """The encoder's steps; those before the first trainable one need to run once an image."""
        first, *rest = self.image_encoder.stages()
        return [Stage(lambda images: first.run(self.normalise(images)), first.parameters), *rest]

    def normalise(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] as the encoder takes them."""
        if self.pixels == "unit":
            return images
        if self.pixels == "minmax":
            low, high = images.amin((1, 2, 3), True), images.amax((1, 2, 3), True)
            return (images - low) / (high - low).clamp(min=1e-8)
        return (images - self.pixel_mean) / self.pixel_std

    def forward(self, images: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Class logits (B, K, S, S) of images (B, 3, S, S) in [0, 1]."""
        features = images
        for stage in self.stages():
            features = stage.run(features)
        return self.decode(features, prompts)

    def decode(self, features: Tensor, prompts: Prompts | None = None, low: bool = False) -> Tensor:
        """Class logits from the output of the last stage; `low`: at four times its side."""
        side: int = 4 * features.shape[-1] if low else self.image_encoder.img_size
        logits: Tensor = (
            self.head(features, side) if prompts is None else self.head(features, side, prompts)
        )
        return logits


class ConvHead(nn.Module):
    """3x3 convolution, ReLU, 1x1 convolution, bilinear to the image's side."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels // 2, num_classes, 1),
        )

    def forward(self, embeddings: Tensor, side: int) -> Tensor:
        """(B, C, s, s) to (B, K, side, side)."""
        return _upsample(self.layers(embeddings), side)


class SemanticDecoder(nn.Module):
    """SAM's mask decoder with one mask token a class and the default (empty) prompt.

    As in SAMed (Zhang and Liu, 2023, section 3.3). What cannot learn without a prompt (IoU head,
    embeddings of points and masks) is left out, unless the original's parts are asked for.

    Args:
        sam: gives mask decoder, empty prompt and position code.
        num_classes: K.
        fresh_tokens: start mask tokens, their hypernetworks and the IoU head from noise, as SAMed;
            else class k starts from the pretrained token k mod 4.
        background_token: class 0 has a token; else its logit is 0 and the classes take the tokens
            from the first on, of which SAM's four at least are kept (SAM-Adapter).
        iou_head: keep the IoU head, which learns nothing here.
        prompt_encoder: keep the whole prompt encoder, of which the empty prompt alone learns.
    """

    def __init__(
        self,
        sam: Sam,
        num_classes: int,
        *,
        fresh_tokens: bool = False,
        background_token: bool = True,
        iou_head: bool = False,
        prompt_encoder: bool = False,
    ) -> None:
        super().__init__()
        tokens = num_classes if background_token else max(num_classes - 1, 4)
        self.num_classes, self.background_token = num_classes, background_token
        if prompt_encoder:
            self.prompt_encoder = copy.deepcopy(sam.prompt_encoder)
        else:
            self.no_mask_embed = copy.deepcopy(sam.prompt_encoder.no_mask_embed)
            self.position_encoding = copy.deepcopy(sam.prompt_encoder.pe_layer)
        self.mask_decoder = with_mask_tokens(sam.mask_decoder, tokens, fresh_tokens)
        if not iou_head:
            self.mask_decoder.iou_prediction_head = nn.Identity()

    def forward(self, embeddings: Tensor, side: int) -> Tensor:
        """(B, C, s, s) to (B, K, side, side)."""
        whole = getattr(self, "prompt_encoder", None)
        empty = whole.no_mask_embed if whole else self.no_mask_embed
        code = whole.pe_layer if whole else self.position_encoding
        rows, channels, height, width = embeddings.shape
        positions = code((height, width))[None]
        dense = empty.weight[:, :, None, None].expand(-1, -1, height, width)
        nothing = embeddings.new_empty(rows, 0, channels)
        masks, _ = predict_masks(self.mask_decoder, embeddings, positions, nothing, dense)
        if not self.background_token:
            masks = F.pad(masks[:, : self.num_classes - 1], (0, 0, 0, 0, 1, 0))
        return _upsample(masks, side)


class PromptedDecoder(nn.Module):
    """SAM's decoder asked for one mask a prompt; masks of a class are joined by their maximum.

    The logit of class 0 is 0, so that a pixel goes to the class whose mask is surest above SAM's
    threshold, and to class 0 where there is none.

    Args:
        sam: gives prompt encoder and mask decoder.
        num_classes: K.
        rule: how prompts are made; the model carries it for trainer and evaluation.
        best_of_three: take for a click the mask that SAM judges best of three, else the first.
        chunk: prompts decoded at once, which bounds the memory.
    """

    def __init__(
        self,
        sam: Sam,
        num_classes: int,
        rule: PromptRule,
        best_of_three: bool = False,
        chunk: int = 64,
    ) -> None:
        super().__init__()
        self.prompt_encoder = sam.prompt_encoder
        self.mask_decoder = sam.mask_decoder
        self.num_classes, self.rule, self.chunk = num_classes, rule, chunk
        self.best_of_three = best_of_three

    def forward(self, embeddings: Tensor, side: int, prompts: Prompts | None = None) -> Tensor:
        """(B, C, s, s) and prompts to (B, K, side, side); no prompts, no object."""
        low = 4 * embeddings.shape[-1]
        rows = len(embeddings) * self.num_classes
        logits = torch.full((rows, low * low), -20.0, device=embeddings.device)
        logits[:: self.num_classes] = 0.0
        if prompts is not None:
            image = torch.arange(len(prompts)).repeat_interleave(
                torch.tensor([len(classes) for classes in prompts.classes])
            )
            target = (image * self.num_classes + torch.cat(prompts.classes)).to(logits.device)
            asked = (image, target, torch.cat(prompts.boxes), torch.cat(prompts.clicks))
            for images, targets, boxes, clicks in zip(
                *(values.split(self.chunk) for values in asked), strict=True
            ):
                if len(images):
                    masks = self._masks(embeddings[images], boxes, clicks).flatten(1)
                    index = targets[:, None].expand(-1, low * low)
                    logits = logits.scatter_reduce(0, index, masks, "amax")
        return _upsample(logits.view(-1, self.num_classes, low, low), side)

    def _masks(self, source: Tensor, boxes: Tensor, clicks: Tensor) -> Tensor:
        """Mask logits (n, 4s, 4s) fp32 of n prompts, each on its own embedding (n, C, s, s)."""
        if self.rule.kind == "box":
            sparse, dense = self.prompt_encoder(None, boxes, None)
        else:
            positive = torch.ones(clicks.shape[:2], dtype=torch.int, device=clicks.device)
            sparse, dense = self.prompt_encoder((clicks, positive), None, None)
        positions = self.prompt_encoder.get_dense_pe()
        masks, quality = predict_masks(self.mask_decoder, source, positions, sparse, dense)
        if self.rule.kind == "point" and self.best_of_three:
            best = quality[:, 1:].argmax(1) + 1  # one click is ambiguous
            return masks[torch.arange(len(best)), best].float()
        return masks[:, 0].float()


def with_mask_tokens(decoder: MaskDecoder, count: int, fresh: bool = False) -> MaskDecoder:
    """A copy of SAM's decoder with `count` mask tokens; token k starts as the old k mod 4.

    With `fresh`, tokens, hypernetworks and IoU head start from noise instead.
    """
    iou_layers = decoder.iou_prediction_head.layers
    new = MaskDecoder(
        transformer_dim=decoder.transformer_dim,
        transformer=copy.deepcopy(decoder.transformer),
        num_multimask_outputs=count - 1,
        iou_head_depth=len(iou_layers),
        iou_head_hidden_dim=iou_layers[0].out_features,
    )
    new.iou_token = copy.deepcopy(decoder.iou_token)
    new.output_upscaling = copy.deepcopy(decoder.output_upscaling)
    if fresh:
        return new
    old = [k % decoder.num_mask_tokens for k in range(count)]
    with torch.no_grad():
        new.mask_tokens.weight.copy_(decoder.mask_tokens.weight[old])
        for ours, theirs in zip(new.iou_prediction_head.layers, iou_layers, strict=True):
            last = ours.out_features != theirs.out_features
            ours.weight.copy_(theirs.weight[old] if last else theirs.weight)
            ours.bias.copy_(theirs.bias[old] if last else theirs.bias)
    new.output_hypernetworks_mlps = nn.ModuleList(
        copy.deepcopy(decoder.output_hypernetworks_mlps[k]) for k in old
    )
    return new


def _upsample(logits: Tensor, side: int) -> Tensor:
    return F.interpolate(logits.float(), size=(side, side), mode="bilinear", align_corners=False)
