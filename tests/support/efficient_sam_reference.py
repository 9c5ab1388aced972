"""EfficientSAM as functions of a checkpoint in the authors' layout, with plain torch operators.

Written after the structure of the public code, without modules of this project or of
`segment_anything`, to compare their outputs.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
CHANNELS, HIDDEN, HEADS, POINTS = 256, 2048, 8, 6


def shapes(width: int, depth: int = 12) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor in a published file, by its name; `positional_...` is not a parameter.

    Args:
        width: 192 for ViT-Ti, 384 for ViT-S.
        depth: number of encoder blocks.
    """
    c = CHANNELS
    out: dict[str, tuple[int, ...]] = {"image_encoder.pos_embed": (1, 197, width)}

    def add(name: str, *weight: int, bias: bool = True) -> None:
        out[f"{name}.weight"] = weight
        if bias:
            out[f"{name}.bias"] = weight[:1]

    def attention(name: str, inner: int) -> None:
        for part in ("q_proj", "k_proj", "v_proj"):
            add(f"{name}.{part}", inner, c)
        add(f"{name}.out_proj", c, inner)

    add("image_encoder.patch_embed.proj", width, 3, 16, 16)
    for index in range(depth):
        block = f"image_encoder.blocks.{index}"
        add(f"{block}.norm1", width)
        add(f"{block}.attn.qkv", 3 * width, width)
        add(f"{block}.attn.proj", width, width)
        add(f"{block}.norm2", width)
        add(f"{block}.mlp.fc1", 4 * width, width)
        add(f"{block}.mlp.fc2", width, 4 * width)
    add("image_encoder.neck.0", c, width, 1, 1, bias=False)
    add("image_encoder.neck.1", c)
    add("image_encoder.neck.2", c, c, 3, 3, bias=False)
    add("image_encoder.neck.3", c)
    out["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = (2, c // 2)
    for name in ("invalid_points", "point_embeddings"):
        add(f"prompt_encoder.{name}", 1, c, bias=False)
    for corner in ("top_left", "bottom_right"):
        add(f"prompt_encoder.bbox_{corner}_embeddings", 1, c, bias=False)
    for index in range(2):
        layer = f"mask_decoder.transformer.layers.{index}"
        attention(f"{layer}.self_attn", c)
        attention(f"{layer}.cross_attn_token_to_image", c // 2)
        attention(f"{layer}.cross_attn_image_to_token", c // 2)
        for norm in range(1, 5):
            add(f"{layer}.norm{norm}", c)
        add(f"{layer}.mlp.layers.0.0", HIDDEN, c)
        add(f"{layer}.mlp.fc", c, HIDDEN)
    attention("mask_decoder.transformer.final_attn_token_to_image", c // 2)
    add("mask_decoder.transformer.norm_final_attn", c)
    add("mask_decoder.iou_token", 1, c, bias=False)
    add("mask_decoder.mask_tokens", 4, c, bias=False)
    for level, (inputs, outputs) in enumerate(((c, c // 4), (c // 4, c // 8))):
        name = f"mask_decoder.final_output_upscaling_layers.{level}.0"
        out[f"{name}.weight"], out[f"{name}.bias"] = (inputs, outputs, 2, 2), (outputs,)
    add("mask_decoder.final_output_upscaling_layers.0.1", c // 4)
    heads = [(f"output_hypernetworks_mlps.{index}", c // 8) for index in range(4)]
    for name, outputs in [*heads, ("iou_prediction_head", 4)]:
        add(f"mask_decoder.{name}.layers.0.0", c, c)
        add(f"mask_decoder.{name}.layers.1.0", c, c)
        add(f"mask_decoder.{name}.fc", outputs, c)
    return out


def random_state(width: int, depth: int) -> State:
    """Random values for `shapes` that let differences through."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes(width, depth).items():
        values = torch.randn(shape, generator=generator)
        if len(shape) > 2 or (len(shape) == 2 and shape[0] > 4):
            state[name] = values / math.prod(shape[1:]) ** 0.5
        else:
            state[name] = 0.2 * values + (1.0 if name.endswith("weight") else 0.0)
    return state


@torch.no_grad()
def predict(
    state: State, images: Tensor, points: Tensor, labels: Tensor, heads: int
) -> tuple[Tensor, Tensor]:
    """Four mask logits (B, 4, S / 4, S / 4) and predicted IoU (B, 4) of one prompt per image.

    Args:
        state: of a file in the authors' layout.
        images: (B, 3, S, S), normalised.
        points: (B, c, 2) x y in pixels, at most six.
        labels: (B, c): 1 for a point, 2 and 3 for the corners of a box.
        heads: attention heads of the encoder.
    """
    embedding = _encode(state, images, heads)
    side = images.shape[-1]
    points = F.pad(points, (0, 0, 0, POINTS - points.shape[1]), value=-1.0)
    labels = F.pad(labels, (0, POINTS - labels.shape[1]), value=-1)
    tokens = _code(state, (points + 0.5) / side)
    corners = ("bbox_top_left_embeddings", "bbox_bottom_right_embeddings")
    kinds = ("invalid_points", "point_embeddings", *corners)
    for label, kind in zip((-1, 1, 2, 3), kinds, strict=True):
        tokens = tokens + (labels == label)[..., None] * state[f"prompt_encoder.{kind}.weight"]
    return _decode(state, embedding, tokens)


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def _norm(state: State, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def _map_norm(state: State, name: str, x: Tensor) -> Tensor:
    return _norm(state, name, x.movedim(1, -1), 1e-6).movedim(-1, 1)


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def _encode(state: State, images: Tensor, heads: int) -> Tensor:
    prefix = "image_encoder"
    weight = state[f"{prefix}.patch_embed.proj.weight"]
    x = F.conv2d(images, weight, state[f"{prefix}.patch_embed.proj.bias"], stride=16)
    side = x.shape[-1]
    positions = state[f"{prefix}.pos_embed"][:, 1:].mT.unflatten(-1, (14, 14))
    x = x + F.interpolate(positions, size=(side, side), mode="bicubic", align_corners=False)
    x = x.flatten(2).mT
    depth = len({name.split(".")[2] for name in state if name.startswith(f"{prefix}.blocks.")})
    for index in range(depth):
        block = f"{prefix}.blocks.{index}"
        qkv = _linear(state, f"{block}.attn.qkv", _norm(state, f"{block}.norm1", x, 1e-6))
        q, k, v = qkv.chunk(3, -1)
        x = x + _linear(state, f"{block}.attn.proj", _attend(q, k, v, heads))
        hidden = _linear(state, f"{block}.mlp.fc1", _norm(state, f"{block}.norm2", x, 1e-6))
        x = x + _linear(state, f"{block}.mlp.fc2", F.gelu(hidden))
    x = F.conv2d(x.mT.unflatten(-1, (side, side)), state[f"{prefix}.neck.0.weight"])
    x = _map_norm(state, f"{prefix}.neck.1", x)
    x = F.conv2d(x, state[f"{prefix}.neck.2.weight"], padding=1)
    return _map_norm(state, f"{prefix}.neck.3", x)


def _code(state: State, places: Tensor) -> Tensor:
    """Position codes (..., C) of places (..., 2) in [0, 1]."""
    matrix = state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    angles = 2 * math.pi * ((2 * places - 1) @ matrix)
    return torch.cat([angles.sin(), angles.cos()], -1)


def _cross(state: State, name: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (
        _linear(state, f"{name}.{part}_proj", x) for part, x in (("q", q), ("k", k), ("v", v))
    )
    return _linear(state, f"{name}.out_proj", _attend(q, k, v, HEADS))


def _mlp(state: State, name: str, x: Tensor) -> Tensor:
    for index in range(2):
        if f"{name}.layers.{index}.0.weight" in state:
            x = F.gelu(_linear(state, f"{name}.layers.{index}.0", x))
    return _linear(state, f"{name}.fc", x)


def _decode(state: State, embedding: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    batch, side = len(embedding), embedding.shape[-1]
    steps = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    places = _code(state, torch.stack([x, y], -1)).flatten(0, 1)
    prefix = "mask_decoder.transformer"
    output = [state[f"mask_decoder.{name}.weight"] for name in ("iou_token", "mask_tokens")]
    start = torch.cat([torch.cat(output).expand(batch, -1, -1), prompts], 1)
    queries, keys = start, embedding.flatten(2).mT
    for index in range(2):
        layer = f"{prefix}.layers.{index}"
        q = queries + start if index else queries
        q = _norm(state, f"{layer}.norm1", q + _cross(state, f"{layer}.self_attn", q, q, q))
        k = keys + places
        change = _cross(state, f"{layer}.cross_attn_token_to_image", q + start, k, keys)
        q = _norm(state, f"{layer}.norm2", q + change)
        q = _norm(state, f"{layer}.norm3", q + _mlp(state, f"{layer}.mlp", q))
        change = _cross(state, f"{layer}.cross_attn_image_to_token", k, q + start, q)
        queries, keys = q, _norm(state, f"{layer}.norm4", keys + change)
    last = f"{prefix}.final_attn_token_to_image"
    change = _cross(state, last, queries + start, keys + places, keys)
    queries = _norm(state, f"{prefix}.norm_final_attn", queries + change)
    grid = keys.mT.unflatten(-1, (side, side))
    name = "mask_decoder.final_output_upscaling_layers"
    weights = [(state[f"{name}.{n}.0.weight"], state[f"{name}.{n}.0.bias"]) for n in range(2)]
    grid = F.conv_transpose2d(grid, *weights[0], stride=2)
    norm = (state[f"{name}.0.1.weight"], state[f"{name}.0.1.bias"])
    grid = F.gelu(F.group_norm(grid, 1, *norm))
    grid = F.gelu(F.conv_transpose2d(grid, *weights[1], stride=2))
    masks = [
        _mlp(state, f"mask_decoder.output_hypernetworks_mlps.{n}", queries[:, 1 + n])
        for n in range(4)
    ]
    logits = torch.einsum("bnc,bchw->bnhw", torch.stack(masks, 1), grid)
    return logits, _mlp(state, "mask_decoder.iou_prediction_head", queries[:, 0])
