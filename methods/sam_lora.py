"""Sam_LoRA: SAM prompted with boxes, with LoRA in the image encoder; nothing else is trained.

It follows the public code of M. S. Sam_LoRA (github.com/MathieuNlp/Sam_LoRA), which applies the
LoRA of SAMed (queries and values of every block, no scaling) to plain SAM: one mask per box,
pretrained decoder and prompt encoder. In the public code these two keep `requires_grad` but are not
passed to the optimiser; here they are frozen, so that only trained parameters are counted. In
training, each side of a box moves outwards by up to 19 px: pixels of the image in the public code,
pixels at an image side of 1024 here, so that boxes of small images stay meaningful. With the MONAI
version that the public code pins, its loss is reduced to Dice alone (`--loss binary_dice`).

By default every object has its own box. The public code draws one box around the whole mask of an
image; the published recipe does so too (`unit=class`: with one foreground class, one box per
image). The rank of the published recipe is 512. `rank=0` is fine-tuning, as a report on steel
defines it: the parameters that the public code passes to its optimiser, those of the encoder, are
trained themselves, without LoRA. The public code itself refuses rank 0.
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
    freeze_other_blocks,
    load_sam,
    register_method,
    require,
    select_blocks,
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
    published_options={"rank": 512, "unit": "class"},
    automatic_options={"prompt": "image"},
)
def sam_lora(
    task: Task,
    *,
    rank: int = 4,
    blocks: str = "all",
    prompt: str = "box",
    unit: str = "object",
    clicks: int = 1,
    jitter: float = 19.0,
    overlap: float = 1.0,
) -> nn.Module:
    """LoRA on q and v of SAM's encoder (rank=0: encoder trained), with prompts; rest frozen."""
    require(rank >= 0, f"rank {rank} is negative: give 1 or more, or 0 for fine-tuning")
    sam = load_sam(task)
    rule = PromptRule(prompt, unit, clicks, overlap, jitter)
    model = SamSegmenter(sam, PromptedDecoder(sam, task.num_classes, rule))
    encoder = model.image_encoder
    freeze(model.head)
    if rank == 0:
        freeze_other_blocks(encoder, blocks)
        return model
    freeze(encoder)
    for index in select_blocks(blocks, len(encoder.blocks)):
        add_lora(encoder.blocks[index], rank, rank, "qv")
    return model
