"""Frozen image encoder, SAM's mask decoder trained with one mask token a class.

The "mask decoder only" row of SAMed (Zhang and Liu, 2023, table 2).
"""

from torch import nn

from bench import SamSegmenter, SemanticDecoder, Task, freeze, load_sam, register_method


@register_method("decoder_only", paper="https://arxiv.org/abs/2304.13785", lr=3e-3)
def decoder_only(task: Task) -> nn.Module:
    """Frozen encoder, SAM's mask decoder trained in full."""
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    freeze(model.image_encoder)
    return model
