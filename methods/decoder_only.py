"""Frozen image encoder, SAM's mask decoder trained with one mask token a class.

What SAMed's "mask decoder only" row stands for (Zhang and Liu, 2023, table 2), but from pretrained
mask tokens, without the IoU head and the idle parts of the prompt encoder.
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
