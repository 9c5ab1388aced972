"""MedSAM: full fine-tuning with box prompts (Ma et al., 2024, Nature Communications 15:654).

As in the methods section of the paper, the image encoder and the mask decoder are trained and the
prompt encoder is frozen. Each image is rescaled to [0, 1] and is not normalised by mean and
standard deviation. A box surrounds all pixels of a class in the image; in training, each of its
sides moves outwards by up to 20 px (of 1024). The original samples one class of the image in each
step; here all classes enter one loss, each with its own box. The rescaling by percentiles or CT
windows in the original belongs to the reading of the images and is not part of this method.
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

# 20 GPUs (5 nodes of 4) with 8 images each.
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


# Trainable in the original, although its loss does not depend on them.
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
    automatic_options={"prompt": "image"},
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
    """MedSAM: encoder and decoder trained with one box per class (or unit=object|component)."""
    sam = load_sam(task)
    rule = PromptRule(prompt, unit, clicks, overlap, jitter)
    model = SamSegmenter(sam, PromptedDecoder(sam, task.num_classes, rule), pixels)
    freeze(model.head.prompt_encoder)
    return model
