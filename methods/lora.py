"""LoRA on any linear layers of the frozen image encoder (Hu et al., 2021); decoder trained.

SAMed's placement (Zhang and Liu, 2023) is the default: queries and values of every block, scale 1.
"""

from torch import nn

from bench import (
    SamSegmenter,
    SemanticDecoder,
    Task,
    add_lora,
    freeze,
    load_sam,
    register_method,
    select_blocks,
)


@register_method("lora", paper="https://arxiv.org/abs/2106.09685", lr=3e-3)
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
