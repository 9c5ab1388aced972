"""SAM-Adapter: a frozen encoder with a trained prompt generator (Chen et al., 2023, section 3.2).

It follows Explicit Visual Prompting (Liu et al., 2023). The patch embeddings and the high
frequencies of the image are each projected to d / 32 channels per token and added. For each block,
one linear layer with GELU and one layer shared by all blocks turn the sum into a prompt, which is
added to the input of the block. Every block receives the same sum, as in the public code; with
`features=chained`, later blocks use the output of the previous block instead of the patch
embeddings, as the method is also described. The prompt generator and the mask decoder are trained.
There is one mask token per class except the background, whose logit is 0.

Two habits of the public code are options, which the published recipe sets; the defaults follow the
paper:

* it views the patch embeddings (B, H, W, C) as (B, C, H W) without a permutation before it projects
  them, which mixes channels and places (`embedding=reshaped`; released weights need it). By default
  each token is projected by itself (`embedding=tokens`);
* it loads neither SAM's embedding of the empty prompt nor its position encoding from the
  checkpoint, because their names do not match, and keeps noise (`own_codes=true`). By default both
  are loaded.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from bench import (
    Recipe,
    Sam,
    SamSegmenter,
    SemanticDecoder,
    Stage,
    Task,
    UnsupportedError,
    freeze,
    load_sam,
    register_method,
    require,
    require_vit,
    select_blocks,
)


class PromptGenerator(nn.Module):
    """Tokens added to the input of `count` blocks of width d, over h = d / reduction channels."""

    def __init__(self, patches: Any, count: int, reduction: int, reshaped: bool) -> None:
        super().__init__()
        self.reshaped = reshaped
        d = patches.out_channels
        h = d // reduction
        self.embedding = nn.Linear(d, h)
        self.frequencies = nn.Conv2d(3, h, patches.kernel_size, patches.stride)
        self.blocks = nn.ModuleList(nn.Linear(h, h) for _ in range(count))
        self.shared = nn.Linear(h, d)
        layer: Any
        for layer in (self.embedding, self.shared, *self.blocks):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        fan_out = h * math.prod(patches.kernel_size)
        nn.init.normal_(self.frequencies.weight, std=math.sqrt(2 / fan_out))
        nn.init.constant_(self.frequencies.get_parameter("bias"), 0.0)

    def embed(self, patches: Tensor) -> Tensor:
        """Project patch embeddings (B, s, s, d) to features (B, s, s, h)."""
        if self.reshaped:  # (B, s, s, d) viewed as (B, d, s s), as in the public code
            rows, height, width, d = patches.shape
            channels_first = patches.reshape(rows, d, height * width)
            patches = channels_first.transpose(1, 2).unflatten(1, (height, width))
        features: Tensor = self.embedding(patches)
        return features

    def high(self, images: Tensor) -> Tensor:
        """Features (B, s, s, h) of the high frequencies of normalised images (B, 3, S, S)."""
        high: Tensor = self.frequencies(high_frequencies(images))
        return high.permute(0, 2, 3, 1)

    def prompt(self, position: int, features: Tensor) -> Tensor:
        """Prompt (B, s, s, d) for the block at `position` in the selection, from features."""
        added: Tensor = self.shared(nn.functional.gelu(self.blocks[position](features)))
        return added


def high_frequencies(images: Tensor, share: float = 0.25) -> Tensor:
    """Magnitude of images (..., S, S) after removal of the central `share` of their spectrum."""
    height, width = images.shape[-2:]
    half = int(math.sqrt(height * width * share)) // 2
    spectrum = torch.fft.fft2(images.float(), norm="forward")
    spectrum = torch.fft.fftshift(spectrum, (-2, -1))
    kept = torch.ones(height, width, device=images.device)
    kept[height // 2 - half : height // 2 + half, width // 2 - half : width // 2 + half] = 0
    spectrum = torch.fft.ifftshift(spectrum * kept, (-2, -1))
    return torch.fft.ifft2(spectrum, norm="forward").real.abs()


class PromptedEncoder(SamSegmenter):
    """A SAM with the prompts of a generator added to the inputs of the blocks `selected`."""

    def __init__(
        self, sam: Sam, head: nn.Module, generator: nn.Module, selected: tuple[int, ...],
        chained: bool,
    ) -> None:  # fmt: skip
        super().__init__(sam, head)
        self.generator: Any = generator
        self.positions = {index: position for position, index in enumerate(selected)}
        self.chained = chained

    def stages(self) -> list[Stage]:
        """Return one stage, because all prompts are made from the patch embeddings."""
        encoder = (*self.image_encoder.parameters(), *self.generator.parameters())
        return [Stage(self._encode, encoder)]

    def _encode(self, images: Tensor) -> Tensor:
        encoder, normalised = self.image_encoder, self.normalise(images)
        embedded = encoder.patch_embed(normalised)
        generator, high = self.generator, self.generator.high(normalised)
        features, tokens = generator.embed(embedded) + high, encoder.add_positions(embedded)
        _, *blocks, neck = encoder.stages()
        width = tokens.shape[-1]
        for index, block in enumerate(blocks):
            if index in self.positions:
                prompt = generator.prompt(self.positions[index], features)
                if beside := tokens.shape[-1] - width:  # tokens that SAM-HQ keeps for its decoder
                    prompt = nn.functional.pad(prompt, (0, beside))
                tokens = tokens + prompt
            tokens = block.run(tokens)
            if self.chained:
                features = generator.embed(tokens[..., :width]) + high
        return neck.run(tokens)


# The original runs on 4 GPUs with 2 images each, but takes the model out of its distributed
# wrapper: gradients are not averaged, so each process trains with batches of 2.
PUBLISHED = Recipe(
    lr=2e-4,
    final_lr=1e-7,
    rate_levels=20,
    loss="bce_soft_iou",
    epochs=20,
    batch_size=2,
    augmentation="mirror",
    warmup_steps=0,
    precision="fp32",
    clip_norm=0.0,
)


# Trainable in the original, although its loss does not depend on them.
IDLE = {
    r"head\.mask_decoder\.iou_prediction_head\..*": "SAM's quality score is not in the loss",
    r"head\.mask_decoder\.output_hypernetworks_mlps\.[2-9].*": "only the first two masks are used",
    r"head\.mask_decoder\.hf_mlp\.[2-9].*": "only the first two masks of SAM-HQ are used",
}


@register_method(
    "sam_adapter",
    paper="https://arxiv.org/abs/2304.09148",
    lr=2e-3,
    published=PUBLISHED,
    published_size=1024,
    published_options={"embedding": "reshaped", "own_codes": True},
    idle=IDLE,
)
def sam_adapter(
    task: Task,
    *,
    reduction: int = 32,
    features: str = "shared",
    embedding: str = "tokens",
    own_codes: bool = False,
    blocks: str = "all",
) -> nn.Module:
    """SAM-Adapter: trained prompts from patch embeddings and high frequencies; decoder trained."""
    require(reduction >= 1, f"reduction {reduction} is too small: give 1 or more")
    require(features in ("shared", "chained"), f"features '{features}': give shared or chained")
    require(
        embedding in ("tokens", "reshaped"), f"embedding '{embedding}': give tokens or reshaped"
    )
    sam = load_sam(task)
    require_vit(sam.image_encoder, "SAM-Adapter")
    if own_codes:
        if not isinstance(sam.prompt_encoder.no_mask_embed, nn.Embedding):
            raise UnsupportedError(
                "own_codes=true draws the embedding of no mask, which this backbone does not have:"
                " leave it out"
            )
        nn.init.normal_(sam.prompt_encoder.no_mask_embed.weight)
        nn.init.normal_(sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix)
    head = SemanticDecoder(sam, task.num_classes, background_token=False, iou_head=True)
    encoder = sam.image_encoder
    selected = select_blocks(blocks, len(encoder.blocks))
    patches = encoder.patch_embed.proj
    generator = PromptGenerator(patches, len(selected), reduction, embedding == "reshaped")
    model = PromptedEncoder(sam, head, generator, selected, features == "chained")
    freeze(model.image_encoder)
    return model
