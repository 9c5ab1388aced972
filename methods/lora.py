"""LoRA on any linear layers of the frozen image encoder (Hu et al., 2021); decoder trained.

SAMed's placement (Zhang and Liu, 2023) is the default: queries and values of every block, scale 1.
The scale is alpha / rank (Hu et al., section 4.1): another rank keeps it at 1 with alpha = rank.
That of Med-SA's repository is `targets=qvm,rank=4,alpha=1`.
The published recipe is that of a report on particle micrographs, whose LoRA sits in the encoder
alone, where is not established (no place gives its parameter counts); how its decoder names classes
is not told, so ours is trained. The batch is the stated 4; its own table has its figure at 8.
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

# 5,820 views of 512 px, of which 7 in 10 are for training, 40 times over.
PUBLISHED = Recipe(
    lr=1e-4,
    optimizer="adam",
    weight_decay=0.01,
    schedule="constant",
    loss="ce_dice",
    steps=40_740,
    batch_size=4,
    bank_views=4_074,
    warmup_steps=0,
    precision="fp32",
    clip_norm=0.0,
    augmentation="sliding",
)


@register_method(
    "lora",
    paper="https://arxiv.org/abs/2106.09685",
    lr=3e-3,
    published=PUBLISHED,
    published_size=512,
    published_options={"rank": 512, "alpha": 512.0},
)
def lora(
    task: Task, *, rank: int = 4, alpha: float = 4.0, targets: str = "qv", blocks: str = "all"
) -> nn.Module:
    """Low-rank updates of frozen layers (targets: letters of q, k, v, o, m); decoder trained."""
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    freeze(model.image_encoder)
    for index in select_blocks(blocks, len(model.image_encoder.blocks)):
        add_lora(model.image_encoder.blocks[index], rank, alpha, targets)
    return model
