"""LoRA in the transformer of the mask decoder, with a frozen image encoder.

This is the decoder half of SAMed_s (Zhang and Liu, 2023, table 3): LoRA on the query and value
projections of every attention layer. The rest of the mask decoder is trained in full.
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
    """LoRA on q and v of the decoder's transformer; rest of the decoder trained, encoder frozen."""
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
