"""SAMed: LoRA in the image encoder and a trained mask decoder without prompts.

The source is Zhang and Liu (2023, sections 3.2 and 3.3). LoRA is on queries and values of every
encoder block, without scaling. The mask decoder has one newly initialised token per class,
background included, and receives no prompt. Pixels are used in [0, 1] without normalisation, as in
the original code, which passes mean 0 and standard deviation 1. Prompt encoder and IoU head are
passed to the optimiser as in the original code, although of the two only the embedding of the empty
prompt ever receives a gradient.
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
    select_blocks,
)

# The original trainer plans its schedule for 200 epochs and stops after 160.
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


# Trainable in the original, although its loss does not depend on them.
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
def samed(
    task: Task,
    *,
    rank: int = 4,
    targets: str = "qv",
    blocks: str = "all",
    pixels: str = "unit",
) -> nn.Module:
    """SAMed: LoRA in the encoder (targets: of q, k, v, o); decoder with a new token per class."""
    sam = load_sam(task)
    head = SemanticDecoder(
        sam, task.num_classes, fresh_tokens=True, iou_head=True, prompt_encoder=True
    )
    model = SamSegmenter(sam, head, pixels)
    freeze(model.image_encoder)
    encoder = model.image_encoder
    for index in select_blocks(blocks, len(encoder.blocks)):
        add_lora(encoder.blocks[index], rank, rank, targets)
    return model
