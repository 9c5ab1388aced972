"""Of the image encoder the norms' scales and shifts alone learn, as in "LN-Tune".

LayerNorm tuning of transformers (Qi et al., 2022, section 3), here with the neck's LayerNorms over
channels and, in TinyViT, the BatchNorms, whose running statistics follow the images. The mask
decoder is trained in full.
"""

from segment_anything.modeling.common import LayerNorm2d
from torch import nn

from bench import SamSegmenter, SemanticDecoder, Task, load_sam, register_method

NORMS = (nn.LayerNorm, LayerNorm2d, nn.BatchNorm2d)


@register_method("norm_only", paper="https://arxiv.org/abs/2211.08682", lr=5e-3)
def norm_only(task: Task) -> nn.Module:
    """Scales and shifts of the encoder's norms and the mask decoder trained."""
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    for module in model.image_encoder.modules():
        if not isinstance(module, NORMS):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
    return model
