"""Sam_LoRA: SAM prompted with boxes, with LoRA in the image encoder; nothing else is trained.

It follows the public code of M. S. Sam_LoRA (github.com/MathieuNlp/Sam_LoRA), which applies the
LoRA of SAMed (queries and values of every block, no scaling) to plain SAM: one mask per box,
pretrained decoder and prompt encoder. In the public code these two keep `requires_grad` but are not
passed to the optimiser; here they are frozen, so that only trained parameters are counted. In
training, each side of a box moves outwards by up to 19 px: pixels of the image in the public code,
pixels at an image side of 1024 here, so that boxes of small images stay meaningful. The rank of the
published recipe is 512. With the MONAI version that the public code pins, its loss is reduced to
Dice alone (`--loss binary_dice`).
"""

from torch import nn

from bench import (
    PromptedDecoder,
    PromptRule,
    Recipe,
    SamSegmenter,
    Task,
    add_lora,
    freeze,
    load_sam,
    register_method,
)

PUBLISHED = Recipe(
    lr=1e-4,
    optimizer="adam",
    weight_decay=0.0,
    schedule="constant",
    loss="bce_binary_dice",
    epochs=50,
    batch_size=1,
    augmentation="none",
    warmup_steps=0,
    precision="fp32",
    clip_norm=0.0,
)


@register_method(
    "sam_lora",
    paper="https://arxiv.org/abs/2106.09685",
    lr=3e-3,
    prompts="oracle",
    published=PUBLISHED,
    published_size=1024,
    published_options={"rank": 512},
)
def sam_lora(
    task: Task,
    *,
    rank: int = 4,
    prompt: str = "box",
    unit: str = "object",
    clicks: int = 1,
    jitter: float = 19.0,
    overlap: float = 1.0,
) -> nn.Module:
    """LoRA on encoder q and v of SAM with prompts (unit=object|component|class); rest frozen."""
    sam = load_sam(task)
    rule = PromptRule(prompt, unit, clicks, overlap, jitter)
    model = SamSegmenter(sam, PromptedDecoder(sam, task.num_classes, rule))
    freeze(model)
    for block in model.image_encoder.blocks:
        add_lora(block, rank, rank, "qv")
    return model
