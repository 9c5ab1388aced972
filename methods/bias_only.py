"""BitFit: only the biases of the image encoder are trained (Ben Zaken et al., 2022, section 3).

These are the biases of all linear layers, norms and the patch embedding. The tables of relative
positions of SAM and of TinyViT are also added to attention logits, but they are not biases in this
sense and stay frozen. `blocks` selects encoder blocks; the biases outside the blocks are always
trained. The mask decoder is trained in full.
"""

from torch import nn

from bench import (
    SamSegmenter,
    SemanticDecoder,
    Task,
    freeze_other_blocks,
    load_sam,
    register_method,
)


@register_method("bias_only", paper="https://arxiv.org/abs/2106.10199", lr=5e-3)
def bias_only(task: Task, *, blocks: str = "all") -> nn.Module:
    """BitFit: the biases of the encoder and the mask decoder are trained."""
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    for name, parameter in model.image_encoder.named_parameters():
        if not name.endswith(".bias"):
            parameter.requires_grad_(False)
    freeze_other_blocks(model.image_encoder, blocks)
    return model
