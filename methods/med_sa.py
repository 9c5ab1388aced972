"""Med-SA: adapters in SAM's encoder, for images and volumes (Wu et al., 2023, section 3).

Each encoder block gets an adapter with a skip connection on the output of its attention and a
scaled adapter parallel to its MLP (`placement=attention` or `mlp` for one of them; `ratio` is the
width of their bottleneck as a share of the width). For volumes, SD-Trans also runs the same
attention over depth, followed by an adapter of its own. The prompt encoder is frozen; the prompt is
one click per class. The mask decoder is trained, as in the public code; in the paper only adapters
of the decoder are trained (`decoder=frozen`, with a `condition`). The defaults follow the paper
otherwise. The published recipe follows the public code, three habits of which are options:

* in windowed blocks it groups the windows of one slice, not the slices (`depth_groups=windows`);
* it arranges the depth on a grid whose sides are never equal: 4 slices as 1x4, 16 as 2x8
  (`depth_grid=unequal`); by default the grid is as square as possible;
* it partitions into windows before the norm, so padded tokens equal the bias of the norm instead of
  zero (`padding=norm`).

It also creates the depth adapters for images, where they have no effect; here `dims=3` creates
them. Its decoder is not conditioned.

The paper describes three decoder adapters and their conditioning on the prompt embedding
(`condition=add|concat|hyp`), but leaves many details open. Choices made here, in each layer of the
decoder: one adapter with a skip connection on the output of the attention from tokens to image (the
conditioned one), one scaled by 0.5 parallel to the MLP, one with a skip connection on the output of
the attention from image to tokens; bottlenecks of a quarter of the width; GELU after the
conditioning; prompt embedding = mean of the prompt's tokens including SAM's padding point; one
generated square weight for hyp; the default initialisation in all layers.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from segment_anything.modeling.image_encoder import window_partition, window_unpartition
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor, nn

from bench import (
    PromptedDecoder,
    PromptRule,
    Recipe,
    SamSegmenter,
    Task,
    UnsupportedError,
    freeze,
    load_sam,
    register_method,
    require,
    require_vit,
    select_blocks,
)


class Adapter(nn.Module):
    """down, GELU, up over a share of the width d; the default initialisation, as in the code."""

    def __init__(self, d: int, skip: bool, ratio: float = 0.25) -> None:
        super().__init__()
        h = max(1, int(d * ratio))
        self.down, self.up, self.skip = nn.Linear(d, h), nn.Linear(h, d), skip

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        change: Tensor = self.up(nn.functional.gelu(self.down(tokens)))
        return tokens + change if self.skip else change


@dataclass(frozen=True)
class BlockForm:
    """The options of `med_sa` that shape an encoder block; `depth` is the number of slices."""

    dims: int = 2
    depth: int = 1
    groups: str = "slices"
    grid: str = "square"
    padding: str = "zero"
    ratio: float = 0.25
    placement: str = "both"

    def __post_init__(self) -> None:
        """Check the values; raises UserError if one is not allowed."""
        require(
            self.dims in (2, 3),
            f"dims {self.dims} is not 2 (images) or 3 (volumes): give one of them",
        )
        for option, value, allowed in (
            ("depth_groups", self.groups, ("slices", "windows")),
            ("depth_grid", self.grid, ("square", "unequal")),
            ("padding", self.padding, ("zero", "norm")),
            ("placement", self.placement, ("both", "attention", "mlp")),
        ):
            require(value in allowed, f"{option} '{value}': give {', '.join(allowed)}")
        require(
            0 < self.ratio <= 4, f"ratio {self.ratio:g} is out of range: give 0 to 4, without 0"
        )


def grid_sides(depth: int, grid: str) -> tuple[int, int]:
    """Rows and columns of the grid of `depth` slices for SD-Trans.

    Rows are the largest divisor of the depth up to its square root; with "unequal", below it. The
    search of the public code gives the same sides and does not end for a depth of 1.
    """
    most = math.isqrt(depth)
    if grid == "unequal" and most * most == depth:
        most = max(1, most - 1)
    rows = next(n for n in range(most, 0, -1) if depth % n == 0)
    return rows, depth // rows


class AdaptedBlock(nn.Module):
    """An encoder block with Med-SA's adapters; a batch of volumes is all their slices in order."""

    norm1: Any
    attn: Any
    norm2: Any
    mlp: Any

    def __init__(self, block: Any, form: BlockForm) -> None:
        super().__init__()
        d = block.norm1.normalized_shape[0]
        self.norm1, self.attn, self.norm2, self.mlp = (
            block.norm1, block.attn, block.norm2, block.mlp,
        )  # fmt: skip
        self.form, ratio = form, form.ratio
        self.space_adapter: Any = nn.Identity()
        self.mlp_adapter = None
        if form.placement != "mlp":
            self.space_adapter = Adapter(d, skip=True, ratio=ratio)
        if form.placement != "attention":
            self.mlp_adapter = Adapter(d, skip=False, ratio=ratio)
        self.depth_adapter = Adapter(d, skip=False, ratio=ratio) if form.dims == 3 else None

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, H, W, d) to tokens of the same shape."""
        window = self.attn.window
        if window and (self.form.padding == "norm" or self._groups_windows()):
            parts, padded = window_partition(x, window)
            change = self.space_adapter(self.attn.over(self.norm1(parts), 0))
            if self.depth_adapter is not None and self._groups_windows():
                change = change + self._over_depth(parts)
            change = window_unpartition(change, window, padded, x.shape[1:3])
        else:
            change = self.space_adapter(self.attn(self.norm1(x)))
        if self.depth_adapter is not None and not (window and self._groups_windows()):
            change = change + self._over_depth(x)
        x = x + change
        normed = self.norm2(x)
        out: Tensor = x + self.mlp(normed)
        return out if self.mlp_adapter is None else out + 0.5 * self.mlp_adapter(normed)

    def _groups_windows(self) -> bool:
        return self.depth_adapter is not None and self.form.groups == "windows"

    def _over_depth(self, x: Tensor) -> Tensor:
        """SD-Trans: each position attends over `depth` consecutive rows of x (rows, H, W, d)."""
        rows, height, width, d = x.shape
        depth = self.form.depth
        if rows % depth:
            raise UnsupportedError(f"{rows} slices are no whole volumes of {depth}")
        sides = grid_sides(depth, self.form.grid)
        lines = x.reshape(rows // depth, depth, height * width, d).transpose(1, 2)
        grids = self.norm1(lines.reshape(-1, *sides, d))
        assert self.depth_adapter is not None
        out: Tensor = self.depth_adapter(self.attn.over(grids, 0))
        out = out.reshape(rows // depth, height * width, depth, d).transpose(1, 2)
        return out.reshape(rows, height, width, d)


class ConditionedAdapter(nn.Module):
    """A bottleneck adapter on tokens that combines their reduced embedding with the prompt's."""

    def __init__(self, d: int, kind: str) -> None:
        super().__init__()
        h = d // 4
        self.kind, self.down, self.up = kind, nn.Linear(d, h), nn.Linear(h, d)
        self.prompt = nn.Linear(d, h)
        self.mix = nn.Linear(2 * h, h) if kind == "concat" else None
        self.weights = nn.Linear(h, h * h) if kind == "hyp" else None

    def forward(self, tokens: Tensor, prompt: Tensor) -> Tensor:
        """Tokens (n, t, d) and prompt embeddings (n, d) to (n, t, d)."""
        reduced, prompt = self.down(tokens), self.prompt(prompt)[:, None]
        if self.mix is not None:
            reduced = self.mix(torch.cat([reduced, prompt.expand_as(reduced)], dim=-1))
        elif self.weights is not None:  # M: projection, GELU, projection; Re: reshape
            h = reduced.shape[-1]
            reduced = reduced @ self.weights(nn.functional.gelu(prompt)).unflatten(-1, (h, h))[:, 0]
        else:
            reduced = reduced + prompt
        out: Tensor = tokens + self.up(nn.functional.gelu(reduced))
        return out


class ConditionedLayer(nn.Module):
    """A layer of SAM's two-way transformer with three adapters, the first one conditioned."""

    layer: Any

    def __init__(self, layer: Any, d: int, outputs: int, kind: str) -> None:
        super().__init__()
        self.layer, self.outputs = layer, outputs
        self.prompt_adapter = ConditionedAdapter(d, kind)
        self.mlp_adapter, self.image_adapter = Adapter(d, skip=False), Adapter(d, skip=True)

    def forward(
        self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As in `segment_anything`'s layer; the tokens after the output tokens are the prompt's."""
        layer, prompt = self.layer, query_pe[:, self.outputs :].mean(1)
        q = queries if layer.skip_first_layer_pe else queries + query_pe
        attended = layer.self_attn(q=q, k=q, v=queries)
        queries = layer.norm1(attended if layer.skip_first_layer_pe else queries + attended)
        attended = layer.cross_attn_token_to_image(q=queries + query_pe, k=keys + key_pe, v=keys)
        queries = layer.norm2(queries + self.prompt_adapter(attended, prompt))
        queries = layer.norm3(queries + layer.mlp(queries) + 0.5 * self.mlp_adapter(queries))
        attended = layer.cross_attn_image_to_token(q=keys + key_pe, k=queries + query_pe, v=queries)
        return queries, layer.norm4(keys + self.image_adapter(attended))


# The original resizes and scales its images and augments nothing else.
PUBLISHED = Recipe(
    lr=1e-4,
    optimizer="adam",
    weight_decay=0.0,
    schedule="constant",
    loss="bce_positive_twice",
    loss_at="decoder",
    epochs=100,
    batch_size=32,
    augmentation="none",
    warmup_steps=0,
    precision="fp32",
    clip_norm=0.0,
)


# Trainable in the original, although its loss does not depend on them.
IDLE = {
    r"head\.mask_decoder\.iou_prediction_head\..*": "SAM's quality score is not in the loss",
    r"head\.mask_decoder\.output_hypernetworks_mlps\.[1-9].*": "only the first mask is used",
}


@register_method(
    "med_sa",
    paper="https://arxiv.org/abs/2304.12620",
    lr=2e-3,
    prompts="oracle",
    published=PUBLISHED,
    published_size=1024,
    published_options={"depth_groups": "windows", "depth_grid": "unequal", "padding": "norm"},
    idle=IDLE,
    automatic_options={"prompt": "image"},
)
def med_sa(
    task: Task,
    *,
    dims: int = 2,
    prompt: str = "point",
    unit: str = "class",
    clicks: int = 1,
    overlap: float = 1.0,
    condition: str = "none",
    decoder: str = "trained",
    depth_groups: str = "slices",
    depth_grid: str = "square",
    padding: str = "zero",
    ratio: float = 0.25,
    placement: str = "both",
    blocks: str = "all",
) -> nn.Module:
    """Med-SA: adapters in a frozen encoder, with prompts (condition=none|add|concat|hyp)."""
    form = BlockForm(dims, task.depth, depth_groups, depth_grid, padding, ratio, placement)
    conditions = ("none", "add", "concat", "hyp")
    require(condition in conditions, f"condition '{condition}': give {', '.join(conditions)}")
    require(decoder in ("trained", "frozen"), f"decoder '{decoder}': give trained or frozen")
    sam = load_sam(task)
    require_vit(sam.image_encoder, "Med-SA")
    rule = PromptRule(prompt, unit, clicks, overlap)
    model = SamSegmenter(sam, PromptedDecoder(sam, task.num_classes, rule))
    freeze(model.image_encoder)
    freeze(model.head.prompt_encoder)
    adapted = model.image_encoder.blocks
    for index in select_blocks(blocks, len(adapted)):
        adapted[index] = AdaptedBlock(adapted[index], form)
    masks = model.head.mask_decoder
    if decoder == "frozen":
        freeze(masks)
    if condition != "none":
        outputs = 1 + masks.num_mask_tokens + getattr(masks, "further_tokens", 0)
        layers = masks.transformer.layers
        if any(type(layer) is not TwoWayAttentionBlock for layer in layers):
            raise UnsupportedError(
                f"condition={condition} changes the layers of SAM's decoder, and this backbone has"
                " others: use condition=none"
            )
        for index, layer in enumerate(layers):
            layers[index] = ConditionedLayer(layer, masks.transformer_dim, outputs, condition)
    return model
