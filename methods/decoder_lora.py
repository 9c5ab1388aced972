"""Frozen encoder, LoRA in the mask decoder's transformer, the rest of the decoder trained.

The decoder half of SAMed_s (Zhang and Liu, 2023, table 3): q and v of every attention.
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
)


@register_method("decoder_lora", paper="https://arxiv.org/abs/2304.13785", lr=3e-3)
def decoder_lora(task: Task, *, rank: int = 4, alpha: float = 4.0) -> nn.Module:
    """Low-rank updates of the decoder's q and v projections; tokens and upscaling trained."""
    require(rank >= 1, f"rank {rank} is too small: give 1 or more")
    require(alpha > 0, f"alpha {alpha} is not positive")
    sam = load_sam(task)
    head = SemanticDecoder(sam, task.num_classes)
    model = SamSegmenter(sam, head)
    freeze(model.image_encoder)
    transformer = head.mask_decoder.transformer
    freeze(transformer)
    replace_modules(transformer, r".*\.[qv]_proj", lambda layer: LoRALinear(layer, rank, alpha))
    return model
