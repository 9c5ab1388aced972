"""SAMed (Zhang and Liu, 2023, sections 3.2 and 3.3).

LoRA on queries and values of every encoder block, without scaling; the mask decoder has one fresh
token a class, background included, and gets no prompt. Pixels are taken as they are, in [0, 1],
as in the original code, which passes mean 0 and deviation 1. Prompt encoder and IoU head go to the
optimiser as there, though of both the embedding of the empty prompt alone ever gets a gradient.
"""

from torch import nn

from bench import (
    Recipe,
    SamSegmenter,
    SemanticDecoder,
    Task,
    add_lora,
    freeze,
    load_sam,
    register_method,
)

# Its trainer's schedule is laid out for 200 epochs and stopped after 160.
PUBLISHED = Recipe(
    lr=0.005,
    weight_decay=0.1,
    warmup_steps=250,
    schedule="poly",
    power=0.9,
    horizon=200 / 160,
    loss="ce_squared_dice",
    loss_at="decoder",
    epochs=160,
    batch_size=24,
    augmentation="turns",
    precision="fp32",
    clip_norm=0.0,
)


# Trainable in the original, though its loss does not depend on them.
IDLE = {
    r"head\.mask_decoder\.iou_prediction_head\..*": "SAM's quality score is not in the loss",
    r"head\.prompt_encoder\.(?!no_mask_embed).*": "no prompts are given",
}


@register_method(
    "samed",
    paper="https://arxiv.org/abs/2304.13785",
    lr=3e-3,
    published=PUBLISHED,
    published_size=512,
    idle=IDLE,
)
def samed(task: Task, *, rank: int = 4, targets: str = "qv", pixels: str = "unit") -> nn.Module:
    """LoRA in the encoder (targets: of q, k, v, o); decoder with a fresh token a class trained."""
    sam = load_sam(task)
    head = SemanticDecoder(
        sam, task.num_classes, fresh_tokens=True, iou_head=True, prompt_encoder=True
    )
    model = SamSegmenter(sam, head, pixels)
    freeze(model.image_encoder)
    for block in model.image_encoder.blocks:
        add_lora(block, rank, rank, targets)
    return model
