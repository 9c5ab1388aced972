"""Encoder, mask decoder and prompt encoder of SAM 2 and of the models that follow it.

The decoder adds maps of an eighth and a quarter of the image's side to its own (Ravi et al., 2024,
section 4 and appendix D), and predicts whether there is an object. The encoder returns these maps
behind the embedding, with their pixels moved to channels: (B, C + 4 C / 4 + 16 C / 8, s, s).
"""

import math

import torch
import torch.nn.functional as F
from segment_anything.modeling import PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from bench.sam.decoder import RowDecoder, attend, products
from bench.sam.stages import Stage


class PyramidNeck(nn.Module):
    """Joins the maps of an encoder, from the coarsest on, and reduces the two finest.

    The output of level i is a projection of the map of level i, plus the output of the next
    coarser level, enlarged, where i is 0 or 1, counted from the coarsest. The coarsest output is
    used for this sum only.

    Args:
        widths: channels of the maps, the coarsest (s / 2) first, then s, 2 s and 4 s.
        channels: C of the embedding.
    """

    def __init__(self, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.no_memory = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv_s0 = nn.Conv2d(channels, channels // 8, 1)
        self.conv_s1 = nn.Conv2d(channels, channels // 4, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (B, width, h, w), the coarsest first, to (B, 4 C, s, s)."""
        coarsest, middle, fine, finest = (
            conv(one) for conv, one in zip(self.convs, maps, strict=True)
        )
        embedding = middle + F.interpolate(coarsest.float(), scale_factor=2.0).to(middle.dtype)
        return pack(embedding + self.no_memory, self.conv_s1(fine), self.conv_s0(finest))


def pack(embedding: Tensor, fine: Tensor, finest: Tensor) -> Tensor:
    """Put maps (B, C, s, s), (B, C / 4, 2s, 2s) and (B, C / 8, 4s, 4s) into one (B, 4 C, s, s)."""
    parts = [embedding, F.pixel_unshuffle(fine, 2), F.pixel_unshuffle(finest, 4)]
    return torch.cat(parts, dim=1)


class PyramidEncoder(nn.Module):
    """Images (B, 3, S, S) to (B, 4 C, S / 16, S / 16), see `pack`; S is a multiple of 32.

    The images are normalised. A subclass has a first step and four groups of modules, whose maps
    have sides of S / 4, S / 8, S / 16 and S / 32.

    Args:
        image_size: S in pixels, kept as `img_size`; no layer depends on it.
        widths: channels of the four maps.
        channels: C of the embedding.
    """

    channels_last = True  # whether the maps are (B, h, w, width) and not (B, width, h, w)

    def __init__(self, image_size: int, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.img_size, self.widths = image_size, widths
        self.neck = PyramidNeck(widths[::-1], channels)

    def enter(self) -> Stage:
        """The step from normalised images to the input of the first group."""
        raise NotImplementedError

    def groups(self) -> list[list[nn.Module]]:
        """The modules of the four groups, in the order of the forward pass."""
        raise NotImplementedError

    def stages(self) -> list[Stage]:
        """Return the steps from normalised images to the output.

        A group of modules is one step, because the neck needs the map of each: a step returns the
        maps so far as one tensor (B, n), the latest last.
        """
        steps = [self.enter()]
        for number, modules in enumerate(self.groups()):

            def run(x: Tensor, modules: list[nn.Module] = modules, number: int = number) -> Tensor:
                earlier = self._maps(x, number) if number else []
                latest = earlier[-1].contiguous() if earlier else x
                for module in modules:
                    latest = module(latest)
                return torch.cat([one.flatten(1) for one in (*earlier, latest)], dim=1)

            steps.append(Stage.of(*modules, run=run))
        return [*steps, Stage.of(self.neck, run=self._leave)]

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to (B, 4 C, S / 16, S / 16)."""
        features = images
        for stage in self.stages():
            features = stage.run(features)
        return features

    def train(self, mode: bool = True) -> "PyramidEncoder":
        """Set the mode as `nn.Module.train`; a BatchNorm of frozen weight is in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self

    def _maps(self, x: Tensor, count: int) -> list[Tensor]:
        """The first `count` maps from one tensor (B, n)."""
        shapes = []
        for number, width in enumerate(self.widths[:count]):
            side = self.img_size // (4 * 2**number)
            shapes.append((side, side, width) if self.channels_last else (width, side, side))
        parts = x.split([math.prod(shape) for shape in shapes], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]

    def _leave(self, x: Tensor) -> Tensor:
        maps = self._maps(x, len(self.widths))[::-1]
        if self.channels_last:
            maps = [one.permute(0, 3, 1, 2) for one in maps]
        output: Tensor = self.neck(maps)
        return output


class PyramidDecoder(RowDecoder):
    """SAM 2's mask decoder; arguments as of `segment_anything`'s `MaskDecoder`.

    The projections of the finer maps belong to the neck of the encoder, as they are the same for
    all prompts. The score of the object is not computed: no method here uses it.
    """

    further_tokens = 1

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        c = self.transformer_dim
        self.iou_prediction_head.sigmoid_output = True
        self.obj_score_token = nn.Embedding(1, c)
        self.pred_obj_score_head = MLP(c, c, 1, 3).requires_grad_(False)

    def predict_rows(
        self, embeddings: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Masks (N, M, 4h, 4w) of embeddings (N, 4 C, h, w), and predicted IoU (N, M)."""
        c = self.transformer_dim
        image, fine, finest = embeddings.split([c, c, 2 * c], dim=1)
        outputs = [self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight]
        queries, grid = attend(self, torch.cat(outputs), image, positions, sparse, dense)
        enlarge, norm, activation, enlarge_again, _ = self.output_upscaling
        upscaled = activation(norm(enlarge(grid) + F.pixel_shuffle(fine, 2)))
        upscaled = activation(enlarge_again(upscaled) + F.pixel_shuffle(finest, 4))
        masks = products(self.output_hypernetworks_mlps, queries[:, 2:], upscaled)
        return masks, self.iou_prediction_head(queries[:, 1])


class PaddedPromptEncoder(PromptEncoder):  # type: ignore[misc]
    """SAM's prompt encoder, where the two corners of a box are followed by the empty point."""

    def _embed_boxes(self, boxes: Tensor) -> Tensor:
        corners: Tensor = super()._embed_boxes(boxes)
        empty = self.not_a_point_embed.weight.expand(len(corners), 1, -1)
        return torch.cat([corners, empty], dim=1)


def with_pyramid_decoder(
    encoder: nn.Module, image_size: int, mask_outputs: int, channels: int = 256, patch: int = 16
) -> Sam:
    """Add SAM 2's prompt encoder and mask decoder with random weights to an image encoder.

    Args:
        encoder: returns maps as of `pack`.
        image_size: side of the images in pixels.
        mask_outputs: number of mask tokens of the decoder.
        channels: C of the embedding.
        patch: pixels of the image for one token of the embedding.
    """
    grid = image_size // patch
    prompts = PaddedPromptEncoder(
        embed_dim=channels,
        image_embedding_size=(grid, grid),
        input_image_size=(image_size, image_size),
        mask_in_chans=16,
    )
    decoder = PyramidDecoder(
        transformer_dim=channels,
        transformer=TwoWayTransformer(2, channels, 8, 8 * channels),
        num_multimask_outputs=mask_outputs - 1,
        iou_head_hidden_dim=channels,
    )
    return Sam(encoder, prompts, decoder)
