"""A small convolutional head on a frozen image encoder: the linear probe of segmentation.

The head is that of the MobileSAM report: 3x3 convolution, ReLU, 1x1 convolution and bilinear
interpolation. Only the head is trained.
"""

from torch import nn

from bench import ConvHead, SamSegmenter, Task, freeze, load_sam, register_method


@register_method("frozen_head", paper="https://arxiv.org/abs/2304.02643", lr=3e-3)
def frozen_head(task: Task) -> nn.Module:
    """A convolutional head instead of SAM's decoder is trained; the image encoder is frozen."""
    sam = load_sam(task)
    model = SamSegmenter(sam, ConvHead(sam.prompt_encoder.embed_dim, task.num_classes))
    freeze(model.image_encoder)
    return model
