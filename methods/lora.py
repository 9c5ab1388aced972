"""LoRA on any linear layers of the frozen image encoder (Hu et al., 2021); decoder trained.

SAMed's placement (Zhang and Liu, 2023) is the default: queries and values of every block, scale 1.
"""

from torch import nn

from bench import (
    LoRALinear,
    SamSegmenter,
    SemanticDecoder,
    Task,
    freeze,
    load_sam,
    register_method,
    replace_modules,
    require,
    select_blocks,
)


@register_method("lora", paper="https://arxiv.org/abs/2106.09685", lr=3e-3)
def lora(
    task: Task, *, rank: int = 4, alpha: float = 4.0, targets: str = "qv", blocks: str = "all"
) -> nn.Module:
    """Low-rank updates of frozen layers (targets: letters of q, k, v, o, m); decoder trained."""
    require(rank >= 1, f"rank {rank} is too small: give 1 or more")
    require(alpha > 0, f"alpha {alpha} is not positive")
    require(
        bool(targets) and len(set(targets)) == len(targets) and set(targets) <= set("qkvom"),
        f"targets '{targets}' cannot be taken: give any of the letters q, k, v, o and m (MLP)",
    )
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    freeze(model.image_encoder)
    for index in select_blocks(blocks, len(model.image_encoder.blocks)):
        block = model.image_encoder.blocks[index]
        if set(targets) & set("qkv"):
            replace_modules(
                block, r"attn\.qkv", lambda layer: LoRALinear(layer, rank, alpha, targets, "qkv")
            )
        if "o" in targets:
            replace_modules(block, r"attn\.proj", lambda layer: LoRALinear(layer, rank, alpha))
        if "m" in targets:
            replace_modules(block, r"mlp\.lin\d", lambda layer: LoRALinear(layer, rank, alpha))
    return model
