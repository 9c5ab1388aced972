"""BitFit: of the image encoder the biases alone learn (Ben Zaken et al., 2022, section 3).

All of them: of linear layers, norms and the patch embedding. SAM's tables of relative positions,
which are added to attention logits too, are no biases in this sense and stay frozen, as do those
of TinyViT. The mask decoder is trained in full.
"""

from torch import nn

from bench import SamSegmenter, SemanticDecoder, Task, load_sam, register_method


@register_method("bias_only", paper="https://arxiv.org/abs/2106.10199", lr=5e-3)
def bias_only(task: Task) -> nn.Module:
    """Every bias of the encoder (BitFit) and the mask decoder trained."""
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    for name, parameter in model.image_encoder.named_parameters():
        if not name.endswith(".bias"):
            parameter.requires_grad_(False)
    return model
