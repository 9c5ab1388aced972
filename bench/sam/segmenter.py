"""SAM as a model from images to class logits, in stages of which a frozen prefix can be reused."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, Sam
from torch import Tensor, nn

from bench.sam.decoder import predict_masks
from bench.sam.prompts import PromptRule, Prompts


@dataclass(frozen=True)
class Stage:
    """One step of a model: what it does to the features, and the modules it does it with."""

    run: Callable[[Tensor], Tensor]
    parameters: tuple[nn.Parameter, ...]


@runtime_checkable
class Staged(Protocol):
    """A model that runs in stages, so that the trainer can reuse what the frozen ones give."""

    def stages(self) -> list[Stage]:
        """From images (B, 3, S, S) in [0, 1] to features, one after another."""

    def decode(self, features: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Class logits (B, K, S, S) from the features that the last stage gives."""


class SamSegmenter(nn.Module):
    """SAM's image encoder and a head: images (B, 3, S, S) in [0, 1] to logits (B, K, S, S).

    Module names are SAM's own below `image_encoder`.

    Args:
        sam: gives its image encoder and its pixel mean and deviation.
        head: `head(embeddings (B, C, s, s), side) -> (B, K, side, side)`; a promptable one takes
            the prompts as a third argument.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, sam: Sam, head: nn.Module) -> None:
        super().__init__()
        self.image_encoder = sam.image_encoder
        self.head = head
        self.register_buffer("pixel_mean", sam.pixel_mean / 255, persistent=False)
        self.register_buffer("pixel_std", sam.pixel_std / 255, persistent=False)

    @property
    def prompt_rule(self) -> PromptRule | None:
        """How the prompts of this model are made; None where it takes none."""
        rule: PromptRule | None = getattr(self.head, "rule", None)
        return rule

    def stages(self) -> list[Stage]:
        """The encoder's steps; those before the first trainable one need to run once an image."""
        encoder = self.image_encoder
        embed = (*encoder.patch_embed.parameters(), encoder.pos_embed)
        steps = [Stage(self._embed, embed)]
        steps += [Stage(block, tuple(block.parameters())) for block in encoder.blocks]
        return [*steps, Stage(self._neck, tuple(encoder.neck.parameters()))]

    def _embed(self, images: Tensor) -> Tensor:
        normalised = (images - self.pixel_mean) / self.pixel_std
        tokens: Tensor = self.image_encoder.patch_embed(normalised)
        return tokens + self.image_encoder.pos_embed

    def _neck(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.image_encoder.neck(tokens.permute(0, 3, 1, 2))
        return features

    def forward(self, images: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Class logits (B, K, S, S) of images (B, 3, S, S) in [0, 1]."""
        features = images
        for stage in self.stages():
            features = stage.run(features)
        return self.decode(features, prompts)

    def decode(self, features: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Class logits from the output of the last stage."""
        side: int = self.image_encoder.img_size
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

    As in SAMed (Zhang and Liu, 2023, section 3.3), whose tokens start from noise; here class k
    starts from the pretrained token k mod 4 and its hypernetwork. What cannot learn without a
    prompt (IoU head, embeddings of points and masks) is left out.
    """

    def __init__(self, sam: Sam, num_classes: int) -> None:
        super().__init__()
        self.no_mask_embed = copy.deepcopy(sam.prompt_encoder.no_mask_embed)
        self.position_encoding = copy.deepcopy(sam.prompt_encoder.pe_layer)
        self.mask_decoder = with_mask_tokens(sam.mask_decoder, num_classes)
        self.mask_decoder.iou_prediction_head = nn.Identity()

    def forward(self, embeddings: Tensor, side: int) -> Tensor:
        """(B, C, s, s) to (B, K, side, side)."""
        rows, channels, height, width = embeddings.shape
        positions = self.position_encoding((height, width))[None]
        dense = self.no_mask_embed.weight[:, :, None, None].expand(-1, -1, height, width)
        nothing = embeddings.new_empty(rows, 0, channels)
        masks, _ = predict_masks(self.mask_decoder, embeddings, positions, nothing, dense)
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


def with_mask_tokens(decoder: MaskDecoder, count: int) -> MaskDecoder:
    """A copy of SAM's decoder with `count` mask tokens; token k starts as the old k mod 4."""
    new = copy.deepcopy(decoder)
    old = [k % decoder.num_mask_tokens for k in range(count)]
    new.num_mask_tokens, new.num_multimask_outputs = count, count - 1
    new.mask_tokens = nn.Embedding(count, decoder.transformer_dim)
    with torch.no_grad():
        new.mask_tokens.weight.copy_(decoder.mask_tokens.weight[old])
    new.output_hypernetworks_mlps = nn.ModuleList(
        copy.deepcopy(decoder.output_hypernetworks_mlps[k]) for k in old
    )
    return new


def _upsample(logits: Tensor, side: int) -> Tensor:
    return F.interpolate(logits.float(), size=(side, side), mode="bilinear", align_corners=False)
