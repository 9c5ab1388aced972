"""SAM's mask decoder trained with one mask token per class; the image encoder is frozen.

This corresponds to the row "mask decoder only" of SAMed (Zhang and Liu, 2023, table 2). Unlike
SAMed, the mask tokens start from the pretrained ones, and the model has neither the IoU head nor
the unused parts of the prompt encoder.
"""

from torch import nn

from bench import SamSegmenter, SemanticDecoder, Task, freeze, load_sam, register_method


@register_method("decoder_only", paper="https://arxiv.org/abs/2304.13785", lr=3e-3)
def decoder_only(task: Task) -> nn.Module:
    """SAM's mask decoder trained in full; the image encoder is frozen."""
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    freeze(model.image_encoder)
    return model
