"""Full fine-tuning: all parameters of the image encoder and the mask decoder are trained."""

from torch import nn

from bench import SamSegmenter, SemanticDecoder, Task, load_sam, register_method


@register_method("full", paper="https://arxiv.org/abs/2304.02643", lr=2e-3)
def full(task: Task) -> nn.Module:
    """Full fine-tuning: the image encoder and the mask decoder are trained."""
    sam = load_sam(task)
    return SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
