"""Sam_LoRA: box-prompted SAM with LoRA in the image encoder, nothing else trained.

After the public code of M. S. Sam_LoRA (github.com/MathieuNlp/Sam_LoRA), which took SAMed's LoRA
(queries and values of every block, no scaling) to plain SAM: one mask a box, decoder and prompt
encoder as they come. They keep `requires_grad` there but are not given to the optimiser; here they
are frozen, so that counts are of what learns. In training, each side of a box moves outwards by up
to 19 px: of the image there, at an image side of 1024 here, so that small images keep their boxes.
Its rank is 512 in the published recipe. The MONAI that it pins leaves Dice alone of its loss
(`--loss binary_dice`).
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
    """LoRA on encoder q and v of plain SAM, prompted (unit=object|component|class)."""
    sam = load_sam(task)
    rule = PromptRule(prompt, unit, clicks, overlap, jitter)
    model = SamSegmenter(sam, PromptedDecoder(sam, task.num_classes, rule))
    freeze(model)
    for block in model.image_encoder.blocks:
        add_lora(block, rank, rank, "qv")
    return model
