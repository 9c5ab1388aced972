"""SAMed_s: SAMed with LoRA in the decoder's transformer too (Zhang and Liu, 2023, section 3.4).

The transformer of the decoder is frozen and has LoRA on the query and value projections of every
attention layer. Tokens, upscaling and hypernetworks are trained in full. Everything else is as in
SAMed, including its pixel range and its parameters that receive no gradient.
"""

from torch import nn

from bench import (
    LoRALinear,
    Recipe,
    SamSegmenter,
    SemanticDecoder,
    Task,
    add_lora,
    freeze,
    load_sam,
    register_method,
    replace_modules,
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
    "samed_s",
    paper="https://arxiv.org/abs/2304.13785",
    lr=3e-3,
    published=PUBLISHED,
    published_size=512,
    idle=IDLE,
)
def samed_s(task: Task, *, rank: int = 4, blocks: str = "all", pixels: str = "unit") -> nn.Module:
    """SAMed_s: LoRA on q and v of encoder and decoder; tokens and upscaling trained."""
    sam = load_sam(task)
    head = SemanticDecoder(
        sam, task.num_classes, fresh_tokens=True, iou_head=True, prompt_encoder=True
    )
    model = SamSegmenter(sam, head, pixels)
    freeze(model.image_encoder)
    encoder = model.image_encoder
    for index in select_blocks(blocks, len(encoder.blocks)):
        add_lora(encoder.blocks[index], rank, rank, "qv")
    transformer = head.mask_decoder.transformer
    freeze(transformer)
    replace_modules(transformer, r".*\.[qv]_proj", lambda layer: LoRALinear(layer, rank, rank))
    return model
