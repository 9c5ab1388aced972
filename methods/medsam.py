"""MedSAM (Ma et al., 2024, Nature Communications 15:654, methods section): full, box-prompted.

Image encoder and mask decoder learn, the prompt encoder is frozen. Images are stretched to [0, 1]
one by one and get no mean and deviation; a box goes round a whole class of the image, and in
training each of its sides moves outwards by up to 20 px (of 1024). The original draws one class of
the image in each step; here all of them are asked for, each with its own box, in one loss. Its
stretching by percentiles or CT windows belongs to the reading of the data.
"""

from torch import nn

from bench import (
    PromptedDecoder,
    PromptRule,
    Recipe,
    SamSegmenter,
    Task,
    freeze,
    load_sam,
    register_method,
)

PUBLISHED = Recipe(
    lr=1e-4,
    schedule="constant",
    loss="bce_binary_dice",
    epochs=150,
    batch_size=160,
    augmentation="none",
    warmup_steps=0,
    precision="fp32",
    clip_norm=0.0,
)


# Trainable in the original, though its loss does not depend on them.
IDLE = {
    r"head\.mask_decoder\.iou_prediction_head\..*": "SAM's quality score is not in the loss",
    r"head\.mask_decoder\.output_hypernetworks_mlps\.[1-9].*": "only the first mask is used",
}


@register_method(
    "medsam",
    paper="https://doi.org/10.1038/s41467-024-44824-z",
    lr=2e-3,
    prompts="oracle",
    published=PUBLISHED,
    published_size=1024,
    idle=IDLE,
)
def medsam(
    task: Task,
    *,
    prompt: str = "box",
    unit: str = "class",
    clicks: int = 1,
    jitter: float = 20.0,
    overlap: float = 1.0,
    pixels: str = "minmax",
) -> nn.Module:
    """Encoder and decoder trained in full with a box for each class (or unit=object|component)."""
    sam = load_sam(task)
    rule = PromptRule(prompt, unit, clicks, overlap, jitter)
    model = SamSegmenter(sam, PromptedDecoder(sam, task.num_classes, rule), pixels)
    freeze(model.head.prompt_encoder)
    return model
