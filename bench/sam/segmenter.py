"""SAM as a model from images to class logits, with decoders for class maps and for prompts."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from torch import Tensor, nn

from bench.errors import UnsupportedError
from bench.sam.decoder import predict_masks, prepare_images, with_mask_tokens
from bench.sam.prompt_encoder import embed_clicks
from bench.sam.prompts import PromptRule, Prompts
from bench.sam.refiner import MaskRefiner
from bench.sam.stages import Stage as Stage
from bench.sam.surgery import require

PIXELS = ("sam", "unit", "minmax")
UPSCALED = 4  # SAM's masks have so many times the side of the embedding
NO_MASK = -20.0  # logit of a class without a prompt, and the smallest one with a prompt


class SamSegmenter(nn.Module):
    """SAM's image encoder and a head: images (B, 3, S, S) in [0, 1] to logits (B, K, S, S).

    Below `image_encoder` the modules keep their names in SAM.

    Args:
        sam: source of the image encoder, which is not copied, and of mean and standard deviation of
            the pixels.
        head: `head(embeddings (B, C, s, s), side) -> (B, K, side, side)`; a promptable head takes
            the prompts as a third argument.
        pixels: "sam" subtracts SAM's mean and divides by its standard deviation; "unit" keeps the
            values in [0, 1]; "minmax" stretches each image to [0, 1], all channels together.

    Attributes:
        image_encoder: SAM's image encoder.
        head: as given.
        refiner: stage from the logits on SAM's grid of masks to those at the side of the image, see
            `bench.sam.refiner`; None if the logits are enlarged bilinearly.
        pixel_mean: (3, 1, 1) mean of the pixels, for images in [0, 1].
        pixel_std: (3, 1, 1) standard deviation, likewise.

    Raises:
        UserError: `pixels` is not one of these.
    """

    image_encoder: Any
    head: Any
    refiner: nn.Module | None
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, sam: Sam, head: nn.Module, pixels: str = "sam") -> None:
        super().__init__()
        require(
            pixels in PIXELS, f"pixels '{pixels}' is not known: give one of {', '.join(PIXELS)}"
        )
        self.image_encoder = sam.image_encoder
        self.head = head
        self.refiner = None
        self._grid = sam.prompt_encoder.image_embedding_size[0]
        self._channels = sam.prompt_encoder.embed_dim
        self.pixels = pixels
        self.register_buffer("pixel_mean", sam.pixel_mean / 255, persistent=False)
        self.register_buffer("pixel_std", sam.pixel_std / 255, persistent=False)

    def refine_masks(self, outputs: int) -> None:
        """Add a `refiner`, whose parameters are trainable whatever the method froze.

        Args:
            outputs: K, number of logits of each pixel.

        Raises:
            UnsupportedError: the head predicts one mask for each prompt, or the patches of the
                encoder have another side than a power of two.
        """
        if self.prompt_rule is not None:
            raise UnsupportedError(
                "--mask-grid fine refines class maps, and this method predicts one mask for each"
                " prompt: leave it out"
            )
        times, rest = divmod(self.image_encoder.img_size, UPSCALED * self._grid)
        if rest or times.bit_count() != 1:
            raise UnsupportedError(
                "--mask-grid fine doubles the side of SAM's grid of masks, and images of this"
                " backbone are not a power of two larger: leave it out"
            )
        self.refiner = MaskRefiner(outputs, self._channels, levels=times.bit_length() - 1)

    @property
    def prompt_rule(self) -> PromptRule | None:
        """The rule of the prompts of this model; None for a model without prompts."""
        rule: PromptRule | None = getattr(self.head, "rule", None)
        return rule

    def stages(self) -> list[Stage]:
        """Return the stages from images (B, 3, S, S) in [0, 1] to embeddings, in order.

        The trainer can run those before the first trainable one once per image.
        """
        first, *rest = self.image_encoder.stages()
        return [Stage(lambda images: first.run(self.normalise(images)), first.parameters), *rest]

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise images (B, 3, S, S) in [0, 1] for the encoder, see `pixels`."""
        if self.pixels == "unit":
            return images
        if self.pixels == "minmax":
            low, high = images.amin((1, 2, 3), True), images.amax((1, 2, 3), True)
            return (images - low) / (high - low).clamp(min=1e-8)
        return (images - self.pixel_mean) / self.pixel_std

    def forward(self, images: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Return class logits (B, K, S, S) of images (B, 3, S, S) in [0, 1].

        Only a model with a `prompt_rule` takes prompts; without them `PromptedDecoder` gives class
        0 everywhere.
        """
        features = images
        for stage in self.stages():
            features = stage.run(features)
        return self.decode(features, prompts, images=images)

    def decode(
        self,
        features: Tensor,
        prompts: Prompts | None = None,
        low: bool = False,
        images: Tensor | None = None,
    ) -> Tensor:
        """Return class logits of the embeddings; with `low`, at four times their side.

        A `refiner` always gives them at the side of the image, and needs the images.
        """
        small = UPSCALED * features.shape[-1]
        if self.refiner is not None:
            assert images is not None, "the refiner looks at the images"
            coarse, known = self.head(features, small), features[:, : self._channels]
            refined: Tensor = self.refiner(coarse, known, self.normalise(images))
            return refined
        side: int = small if low else self.image_encoder.img_size
        logits: Tensor = (
            self.head(features, side) if prompts is None else self.head(features, side, prompts)
        )
        return logits


class ConvHead(nn.Module):
    """3x3 convolution, ReLU, 1x1 convolution, bilinear resizing to the side of the image.

    Args:
        channels: C, channels of the embeddings; the hidden layer has half of them.
        num_classes: K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels // 2, num_classes, 1),
        )

    def forward(self, embeddings: Tensor, side: int) -> Tensor:
        """(B, C, s, s) to fp32 (B, K, side, side); further channels are not used."""
        if embeddings.shape[1] > self.channels:
            embeddings = embeddings[:, : self.channels]
        return _upsample(self.layers(embeddings), side)


class SemanticDecoder(nn.Module):
    """SAM's mask decoder with one mask token per class and the default (empty) prompt.

    As in SAMed (Zhang and Liu, 2023, section 3.3). The modules that get no gradient without a
    prompt (IoU head, embeddings of points and masks) are removed unless `iou_head` or
    `prompt_encoder` keeps them.

    Args:
        sam: source of the mask decoder, the empty prompt and the position encoding; all are copied.
        num_classes: K.
        fresh_tokens: initialise mask tokens, their hypernetworks and the IoU head at random, as in
            SAMed; otherwise token k, from 0, starts from the pretrained token k mod 4.
        background_token: give class 0 a token; otherwise its logit is 0, the classes from 1 on use
            the tokens from the first on, and the decoder has at least SAM's four tokens
            (SAM-Adapter).
        iou_head: keep the IoU head, which gets no gradient here.
        prompt_encoder: keep the whole prompt encoder, of which only the empty prompt learns.
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
        """(B, C, s, s) to fp32 (B, K, side, side)."""
        whole = getattr(self, "prompt_encoder", None)
        empty = whole.no_mask_embed if whole else self.no_mask_embed
        code = whole.pe_layer if whole else self.position_encoding
        embeddings = prepare_images(self.mask_decoder, embeddings)
        rows, _, height, width = embeddings.shape
        positions = code((height, width))[None]
        dense = empty.weight[:, :, None, None].expand(-1, -1, height, width)
        nothing = embeddings.new_empty(rows, 0, empty.weight.shape[1])
        masks, _ = predict_masks(self.mask_decoder, embeddings, positions, nothing, dense)
        if not self.background_token:
            masks = F.pad(masks[:, : self.num_classes - 1], (0, 0, 0, 0, 1, 0))
        return _upsample(masks, side)


class PromptedDecoder(nn.Module):
    """SAM's decoder with one mask per prompt; the logit of a class is the maximum of its masks.

    The logit of class 0 is 0, SAM's mask threshold. A pixel therefore gets the class with the
    highest mask logit above this threshold, or class 0 if no mask exceeds it. The other logits are
    at least `NO_MASK`, which is also that of a class without a prompt.

    Args:
        sam: source of the prompt encoder and the mask decoder, which are not copied.
        num_classes: K.
        rule: rule of the prompts; trainer and evaluation read it from the model.
        best_of_three: for the kind "point", with any number of clicks, use the one of SAM's three
            masks with the highest predicted IoU; otherwise the first mask.
        chunk: number of prompts that are decoded at once, which limits the memory.

    Raises:
        UnsupportedError: the prompt is the whole image, which selects no class, and there is more
            than one foreground class.
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
        if rule.kind == "image" and num_classes > 2:
            raise UnsupportedError(
                "the whole image as prompt selects no class: prompt=image needs a dataset with one"
                f" foreground class, this one has {num_classes - 1}"
            )
        self.prompt_encoder = sam.prompt_encoder
        self.mask_decoder = sam.mask_decoder
        self.num_classes, self.rule, self.chunk = num_classes, rule, chunk
        self.best_of_three = best_of_three

    def forward(self, embeddings: Tensor, side: int, prompts: Prompts | None = None) -> Tensor:
        """(B, C, s, s) and prompts to fp32 (B, K, side, side); without prompts all is class 0."""
        low = 4 * embeddings.shape[-1]
        rows = len(embeddings) * self.num_classes
        logits = torch.full((rows, low * low), NO_MASK, device=embeddings.device)
        logits[:: self.num_classes] = 0.0
        if prompts is not None:
            embeddings = prepare_images(self.mask_decoder, embeddings)
            # Written without operators whose output size depends on values, so that the memory of a
            # step can be predicted from shapes; likewise in `embed_clicks`.
            rows_of_prompts = [
                row for row, classes in enumerate(prompts.classes) for _ in range(len(classes))
            ]
            image = torch.tensor(rows_of_prompts, dtype=torch.int64)
            target = (image * self.num_classes + torch.cat(prompts.classes)).to(logits.device)
            columns = (image, target, torch.cat(prompts.boxes), torch.cat(prompts.clicks))
            for images, targets, boxes, clicks in zip(
                *(values.split(self.chunk) for values in columns), strict=True
            ):
                if len(images):
                    masks = self.masks(embeddings[images], boxes, clicks).flatten(1)
                    index = targets[:, None].expand(-1, low * low)
                    logits = logits.scatter_reduce(0, index, masks, "amax")
        return _upsample(logits.view(-1, self.num_classes, low, low), side)

    def masks(self, source: Tensor, boxes: Tensor, clicks: Tensor) -> Tensor:
        """Return mask logits (n, 4s, 4s) in fp32 of n prompts and their embeddings (n, C, s, s).

        The embeddings are those of `prepare_images`. The kind "point" uses the clicks (n, c, 2),
        other kinds the boxes (n, 4).
        """
        return self._decode(source, boxes, clicks)[0]

    def scored_masks(self, embeddings: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Return the mask of each prompt of one image, and the IoU that SAM predicts for it.

        Args:
            embeddings: (1, C, s, s).
            prompts: of one image, n in number, at least one.

        Returns:
            Logits (n, 4s, 4s) and predicted IoU (n,), both fp32.
        """
        embeddings = prepare_images(self.mask_decoder, embeddings)
        columns = (one[0].split(self.chunk) for one in (prompts.boxes, prompts.clicks))
        chunks = zip(*columns, strict=True)
        parts = [self._decode(embeddings.expand(len(b), -1, -1, -1), b, c) for b, c in chunks]
        masks, scores = zip(*parts, strict=True)
        return torch.cat(masks), torch.cat(scores)

    def _decode(self, source: Tensor, boxes: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (n, 4s, 4s) of n prompts and their predicted IoU (n,), both fp32."""
        if self.rule.kind != "point":
            sparse, dense = self.prompt_encoder(None, boxes, None)
        else:
            _, dense = self.prompt_encoder(None, None, None)
            sparse = embed_clicks(self.prompt_encoder, clicks)
        positions = self.prompt_encoder.get_dense_pe()
        masks, quality = predict_masks(self.mask_decoder, source, positions, sparse, dense)
        if self.rule.kind == "point" and self.best_of_three:
            best = quality[:, 1:].argmax(1) + 1  # a single click is ambiguous
            rows = torch.arange(len(best))
            return masks[rows, best].float(), quality[rows, best].float()
        return masks[:, 0].float(), quality[:, 0].float()


def _upsample(logits: Tensor, side: int) -> Tensor:
    return F.interpolate(logits.float(), size=(side, side), mode="bilinear", align_corners=False)
