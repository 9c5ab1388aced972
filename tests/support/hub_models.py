"""Models of `transformers` with random weights, as independent models of SAM's successors."""

from typing import Any

import torch
from torch import Tensor, nn


def randomise(model: Any) -> None:
    """Give all tensors random values that let gradients and differences through.

    The library initialises SAM's encoders with values near zero.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            values = torch.randn(tensor.shape, generator=generator)
            norm = "norm" in name or ".bn" in name or "running_var" in name
            if norm and name.endswith(("weight", "running_var")):
                tensor.copy_(1 + 0.1 * values.abs())
            elif tensor.ndim > 1 and "pos" not in name and "token" not in name:
                tensor.copy_(values / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(0.1 * values)
        # One position encoding under two names, as in all published files.
        codes = (model.shared_image_embedding, model.prompt_encoder.shared_embedding)
        codes[1].positional_embedding.copy_(codes[0].positional_embedding)
    model.eval()


def sam_hq(side: int) -> Any:
    """`SamHQModel` with a ViT-B for images of this side, not yet `randomise`d."""
    from transformers import SamHQConfig, SamHQModel

    sides = {"image_size": side}
    decoder = {"layer_norm_eps": 1e-5}  # as in the authors' code; the library's default is 1e-6
    model = SamHQModel(
        SamHQConfig(vision_config=sides, prompt_encoder_config=sides, mask_decoder_config=decoder)
    )
    model.mask_decoder.transformer.register_forward_hook(_hand_on_image, with_kwargs=True)
    return model


HIERA: dict[str, dict[str, Any]] = {  # of each size that differs from tiny
    "tiny": {},
    "small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "base_plus": {
        "hidden_size": 112,
        "blocks_per_stage": [2, 3, 16, 3],
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "hidden_size": 144,
        "blocks_per_stage": [2, 6, 36, 4],
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 16, 8],
        "global_attention_blocks": [23, 33, 43],
    },
}


def sam2(side: int, size: str = "tiny") -> Any:
    """`Sam2Model` with a Hiera encoder for images of this side, not yet `randomise`d."""
    from transformers import Sam2Config, Sam2Model

    hiera = HIERA[size]
    widths = hiera.get("embed_dim_per_stage", [96, 192, 384, 768])
    vision = {
        "backbone_config": {"model_type": "sam2_hiera_det_model", **hiera},
        "backbone_channel_list": widths[::-1],
        "backbone_feature_sizes": [[side // step] * 2 for step in (4, 8, 16)],
    }
    return Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config={"image_size": side}))


def edgetam(side: int) -> Any:
    """`EdgeTamModel` with a RepViT for images of this side, not yet `randomise`d."""
    from transformers import EdgeTamConfig, EdgeTamModel

    features = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    backbone = {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m1",
        "model_args": features,
        "do_pooling": False,
        "num_classes": 1,
        "label_names": ["none"],
    }
    sides = [[side // step] * 2 for step in (4, 8, 16)]
    vision = {"backbone_config": backbone, "backbone_feature_sizes": sides}
    prompts = {"image_size": side}
    return EdgeTamModel(EdgeTamConfig(vision_config=vision, prompt_encoder_config=prompts))


def sam3(side: int = 1008, sizes: Any = None) -> Any:
    """`Sam3TrackerModel` for images of this side, not yet `randomise`d.

    Args:
        side: of the images, in pixels.
        sizes: a `Sam3Sizes`; None for the published sizes.
    """
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    if sizes is None:
        return Sam3TrackerModel(Sam3TrackerConfig())
    c, patch = sizes.channels, sizes.patch
    vit = {
        "model_type": "sam3_vit_model",
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp,
        "num_hidden_layers": sizes.depth,
        "num_attention_heads": sizes.heads,
        "image_size": side,
        "patch_size": patch,
        "window_size": sizes.window,
        "global_attn_indexes": list(sizes.global_blocks),
        "pretrain_image_size": sizes.window * patch,
        "layer_norm_eps": 1e-5,  # as in the authors' code; the library's default is 1e-6
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": vit,
        "fpn_hidden_size": c,
        "backbone_feature_sizes": [[side // patch * times] * 2 for times in (4, 2, 1)],
    }
    decoder = {"hidden_size": c, "mlp_dim": 8 * c, "iou_head_hidden_dim": c}
    prompts = {"hidden_size": c, "image_size": side, "patch_size": patch}
    return Sam3TrackerModel(
        Sam3TrackerConfig(
            vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder
        )
    )


def _hand_on_image(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
    """Let the library's decoder of SAM-HQ go on with the transformer's image, as the authors' does.

    `transformers` 5.23 goes on with the input of the transformer, with rows and columns exchanged.
    """
    image, keys = kwargs["image_embeddings"], output[1]  # (B, C, h, w), (B, 1, h w, C)
    grid = keys[:, 0].transpose(1, 2).view_as(image)
    image.copy_(grid.transpose(2, 3))


@torch.no_grad()
def predicted(model: Any, images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Four mask logits (B, 4, s, s) and IoU (B, 4) of one box (B, 4) for each image.

    The first is that of an unambiguous prompt. SAM-HQ's others are sorted by IoU. SAM 2 replaces
    unstable first masks at evaluation; here it does not.
    """
    model.mask_decoder.dynamic_multimask_via_stability = False
    outputs = [
        model(images, input_boxes=boxes[:, None], multimask_output=several)
        for several in (False, True)
    ]
    masks = torch.cat([one.pred_masks[:, 0] for one in outputs], dim=1)
    return masks, torch.cat([one.iou_scores[:, 0] for one in outputs], dim=1)
