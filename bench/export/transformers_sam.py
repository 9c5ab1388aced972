"""The folder of a prompted model that `transformers.SamModel.from_pretrained` loads."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from segment_anything.modeling import Sam
from torch import Tensor

from bench.export.agreement import to_unit
from bench.export.libraries import import_library
from bench.export.plain_sam import SamSizes
from bench.sam.prompts import Prompts
from bench.spec import Task

# Names of tensors in `segment_anything` (regular expressions) and in `transformers`.
NAMES = (
    (r"^image_encoder\.patch_embed\.proj", "vision_encoder.patch_embed.projection"),
    (r"^image_encoder\.neck\.0", "vision_encoder.neck.conv1"),
    (r"^image_encoder\.neck\.1", "vision_encoder.neck.layer_norm1"),
    (r"^image_encoder\.neck\.2", "vision_encoder.neck.conv2"),
    (r"^image_encoder\.neck\.3", "vision_encoder.neck.layer_norm2"),
    (r"^image_encoder\.blocks", "vision_encoder.layers"),
    (r"^image_encoder\.", "vision_encoder."),
    (
        r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix",
        "shared_image_embedding.positional_embedding",
    ),
    (r"^prompt_encoder\.point_embeddings", "prompt_encoder.point_embed"),
    (r"mask_downscaling\.0", "mask_embed.conv1"),
    (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"),
    (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"),
    (r"output_upscaling\.0", "upscale_conv1"),
    (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"),
    (r"(hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0", r"\1.proj_in"),
    (r"(hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.1", r"\1.layers.0"),
    (r"(hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.2", r"\1.proj_out"),
    (r"norm_final_attn", "layer_norm_final_attn"),
    (r"\.norm(\d)", r".layer_norm\1"),
)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of `segment_anything`'s SAM for `transformers.SamModel`.

    Args:
        state: tensors by their names in `segment_anything`.

    Returns:
        Tensors by their names in transformers, where one of them has two names.
    """
    tensors = {}
    for name, tensor in state.items():
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor
    positions = "shared_image_embedding.positional_embedding"
    tensors["prompt_encoder.shared_embedding.positional_embedding"] = tensors[positions].clone()
    return tensors


def transformers_sam(sam: Sam, task: Task) -> Any:
    """The same model as a `transformers.SamModel`, in evaluation mode (`eval()`).

    The progress bars of transformers are switched off for this process.

    Args:
        sam: a SAM of `segment_anything` with the sizes of `task`; its weights are copied.
        task: gives the sizes of the backbone.

    Raises:
        UserError: transformers is not installed.
        UnsupportedError: as `SamSizes.of`.
    """
    transformers = import_library("transformers", "a SAM of transformers")
    transformers.utils.logging.disable_progress_bar()
    sizes = SamSizes.of(task)
    encoder, transformer = sizes.image_encoder, sizes.transformer
    channels, side, patch = encoder["out_chans"], encoder["img_size"], encoder["patch_size"]
    configuration = transformers.SamConfig(
        vision_config={
            "hidden_size": encoder["embed_dim"],
            "output_channels": channels,
            "num_hidden_layers": encoder["depth"],
            "num_attention_heads": encoder["num_heads"],
            "image_size": side,
            "patch_size": patch,
            "window_size": encoder["window_size"],
            "global_attn_indexes": encoder["global_attn_indexes"],
            "num_pos_feats": channels // 2,
        },
        prompt_encoder_config={"hidden_size": channels, "image_size": side, "patch_size": patch},
        mask_decoder_config={
            "hidden_size": channels,
            "mlp_dim": transformer["mlp_dim"],
            "num_hidden_layers": transformer["depth"],
            "num_attention_heads": transformer["num_heads"],
            "iou_head_hidden_dim": channels,
            "layer_norm_eps": 1e-5,
        },
    )
    with torch.random.fork_rng(devices=[]):
        model = transformers.SamModel(configuration).eval()
    model.load_state_dict(renamed(sam.state_dict()))
    return model


def load_transformers_sam(folder: Path) -> Any:
    """Load the model in a folder as another program does, in evaluation mode.

    Raises:
        UserError: transformers is not installed.
        OSError: the folder holds no model.
    """
    transformers = import_library("transformers", "a SAM of transformers")
    return transformers.SamModel.from_pretrained(folder, local_files_only=True).eval()


def transformers_masks(
    model: Any,
    sam: Sam,
    image: npt.NDArray[np.uint8],
    prompts: Prompts,
    several: bool,
    points: bool,
) -> tuple[Tensor, Tensor]:
    """Mask logits (M, h, w) and predicted IoU (M,) of a `SamModel`, for one prompt.

    Args:
        model: of `transformers`.
        sam: gives mean and standard deviation of the pixels.
        image: (S, S, 3) uint8 RGB, of the side of the model.
        prompts: of one image; the masks of the first prompt are returned.
        several: return three masks (M = 3) instead of one.
        points: use the points and not the box.
    """
    pixels = (to_unit(image[None]) * 255 - sam.pixel_mean) / sam.pixel_std
    prompt = (
        {"input_points": prompts.clicks[0][None]}
        if points
        else {"input_boxes": prompts.boxes[0][None]}
    )
    output = model(pixel_values=pixels, **prompt, multimask_output=several)
    return output.pred_masks[0, 0], output.iou_scores[0, 0]
