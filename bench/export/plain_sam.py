"""A prompted model as a plain SAM, with the classes and the tensor names of `segment_anything`."""

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn

from bench.errors import UnsupportedError
from bench.export.agreement import check_images, largest_difference, to_unit
from bench.sam.backbone import get_backbone
from bench.sam.prompts import Prompts
from bench.sam.segmenter import NO_MASK, PromptedDecoder, SamSegmenter
from bench.sam.surgery import Mergeable, merge
from bench.spec import Task

# Masks (M, h, w) and their predicted IoU (M,) of one image (S, S, 3) uint8, one prompt, and
# whether three masks are returned instead of one.
PredictMasks = Callable[[npt.NDArray[np.uint8], Prompts, bool], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class SamSizes:
    """Arguments of the classes of `segment_anything.modeling`, as JSON can hold them.

    Attributes:
        image_encoder: of `ImageEncoderViT`, whose norms are LayerNorm with an epsilon of 1e-6.
        prompt_encoder: of `PromptEncoder`.
        transformer: of `TwoWayTransformer`.
        mask_decoder: of `MaskDecoder`, without the transformer.
    """

    image_encoder: Mapping[str, Any]
    prompt_encoder: Mapping[str, Any]
    transformer: Mapping[str, Any]
    mask_decoder: Mapping[str, Any]

    @classmethod
    def of(cls, task: Task) -> "SamSizes":
        """The sizes of a backbone at the image side of a task.

        Raises:
            UnsupportedError: `segment_anything` does not have this model.
        """
        arch = None if task.backbone == "none" else get_backbone(task.backbone).vit
        if arch is None:
            raise UnsupportedError(
                f"segment_anything has no model like its backbone {task.backbone}: it has SAM with"
                " a ViT only"
            )
        side, channels = task.image_size, arch.prompt_dim
        return cls(
            {
                "img_size": side,
                "patch_size": arch.patch,
                "embed_dim": arch.width,
                "depth": arch.depth,
                "num_heads": arch.heads,
                "mlp_ratio": 4,
                "qkv_bias": True,
                "use_rel_pos": True,
                "global_attn_indexes": list(arch.global_blocks),
                "window_size": arch.window,
                "out_chans": channels,
            },
            {
                "embed_dim": channels,
                "image_embedding_size": [side // arch.patch] * 2,
                "input_image_size": [side] * 2,
                "mask_in_chans": 16,
            },
            {
                "depth": 2,
                "embedding_dim": channels,
                "num_heads": arch.decoder_heads,
                "mlp_dim": arch.decoder_mlp,
            },
            {"transformer_dim": channels, "iou_head_hidden_dim": channels},
        )

    def build(self) -> Sam:
        """A SAM of these sizes with random weights, made of the classes of `segment_anything`.

        Torch's generator draws the weights. The SAM is in evaluation mode (`eval()`).
        """
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        return Sam(
            ImageEncoderViT(**self.image_encoder, norm_layer=norm),
            PromptEncoder(**self.prompt_encoder),
            MaskDecoder(**self.mask_decoder, transformer=TwoWayTransformer(**self.transformer)),
        ).eval()


def sam_with_encoder(encoder: nn.Module, task: Task) -> Sam:
    """A SAM of `segment_anything` with the weights of an image encoder, in evaluation mode.

    Its prompt encoder and mask decoder have random weights.

    Args:
        encoder: its tensors are copied.
        task: what the model of the encoder was built for.

    Raises:
        UnsupportedError: `segment_anything` does not have this image encoder.
    """
    sam = SamSizes.of(task).build()
    state, expected = encoder.state_dict(), sam.image_encoder.state_dict()
    odd = sorted(state.keys() ^ expected.keys())
    if odd:
        raise UnsupportedError(
            f"its image encoder has {len(odd)} other tensors than SAM's (first: {odd[0]})"
        )
    sam.image_encoder.load_state_dict(state)
    return sam


def merged_copy(module: nn.Module) -> nn.Module:
    """A copy of a model in which all modules that can be merged (`Mergeable`) are merged.

    A model without such modules is only copied.

    Raises:
        UnsupportedError: one of the modules cannot be merged (some tuners of peft).
    """
    if any(isinstance(part, Mergeable) for part in module.modules()):
        return merge(module)
    return copy.deepcopy(module)


def plain_sam(module: nn.Module, task: Task) -> Sam:
    """The same model as a SAM of `segment_anything`, for `SamPredictor`; in evaluation mode.

    SAM's own mean and standard deviation of the pixels are built into it. A method that normalises
    in another way gets its normalisation written into the first convolution. Where the method
    stretches each image ("minmax"), images must be stretched to 0 to 255 before they enter.

    Args:
        module: a trained model; it is not changed.
        task: what it was built for.

    Raises:
        UnsupportedError: the model is not a SAM with another value of its weights; the message
            says in which property it differs.
    """
    head = getattr(module, "head", None)
    if not isinstance(module, SamSegmenter) or not isinstance(head, PromptedDecoder):
        raise UnsupportedError(
            "it takes no prompts: SAM's predictor returns one mask for each prompt, but this model"
            " returns all classes at once"
        )
    if task.depth > 1:
        raise UnsupportedError(f"it takes stacks of {task.depth} slices, and SAM single images")
    sam = SamSizes.of(task).build()
    state = {
        name.removeprefix("head."): tensor
        for name, tensor in merged_copy(module).state_dict().items()
    }
    expected = {name: tensor.shape for name, tensor in sam.state_dict().items()}
    ours = {name: tensor.shape for name, tensor in state.items()}
    odd = sorted(n for n in expected.keys() | ours.keys() if expected.get(n) != ours.get(n))
    if odd:
        raise UnsupportedError(
            f"{len(odd)} of its tensors cannot be merged into a weight of SAM (first: {odd[0]})"
        )
    sam.load_state_dict(state)
    if module.pixels != "sam":
        _undo_normalisation(sam)
    return sam


@torch.no_grad()
def _undo_normalisation(sam: Sam) -> None:
    """Let the encoder expect pixels in [0, 1] although SAM normalises them before."""
    convolution = sam.image_encoder.patch_embed.proj
    mean, std = sam.pixel_mean / 255, sam.pixel_std / 255
    convolution.bias += (convolution.weight * mean).sum((1, 2, 3))
    convolution.weight *= std


@torch.no_grad()
def prompted_difference(module: SamSegmenter, task: Task, predict: PredictMasks) -> float:
    """The largest difference of the mask logits of a model and of another implementation.

    Each of `check_images` gets one prompt of the model's kind, of class 1.

    Args:
        module: the model that was exported, with a `PromptedDecoder`, after `eval()`.
        task: what it was built for.
        predict: from an image (S, S, 3) uint8, its prompts, and whether SAM gives three masks, to
            mask logits (M, h, w) and predicted IoU (M,).

    Returns:
        As `largest_difference`.
    """
    decoder: PromptedDecoder = module.head
    prompts = decoder.rule.example(task.image_size, 1)
    several = decoder.rule.kind == "point" and decoder.best_of_three
    differences = []
    for image in check_images(task.image_size):
        masks, quality = predict(image, prompts, several)
        mask = masks[quality.argmax()].clamp(min=NO_MASK)
        theirs = F.interpolate(mask[None, None], (task.image_size,) * 2, mode="bilinear")[0, 0]
        ours = module(to_unit(image[None]), prompts)[0, 1]
        differences.append(largest_difference(ours, theirs))
    return max(differences)
