"""LayerNorm tuning: only scales and shifts of the image encoder's norms are trained ("LN-Tune").

The source is Qi et al. (2022, section 3), for transformers. Here the LayerNorms over channels in
the neck are trained too and, in TinyViT, the BatchNorms, whose running statistics are updated by
the training images. `blocks` selects encoder blocks; the norms outside the blocks are always
trained. The mask decoder is trained in full.
"""

from segment_anything.modeling.common import LayerNorm2d
from torch import nn

from bench import (
    SamSegmenter,
    SemanticDecoder,
    Task,
    freeze_other_blocks,
    load_sam,
    register_method,
)

NORMS = (nn.LayerNorm, LayerNorm2d, nn.BatchNorm2d)


@register_method("norm_only", paper="https://arxiv.org/abs/2211.08682", lr=5e-3)
def norm_only(task: Task, *, blocks: str = "all") -> nn.Module:
    """Scales and shifts of the encoder's norms and the mask decoder are trained."""
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    for module in model.image_encoder.modules():
        if not isinstance(module, NORMS):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
    freeze_other_blocks(model.image_encoder, blocks)
    return model
