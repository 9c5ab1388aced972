"""LoRA on a frozen image encoder with a convolutional head, as in the MobileSAM nuclei report.

The LoRA pairs have no bias and are linear layers. They are on the fused qkv layer (d to r to 3d,
one pair for all three) and on the output projection of every attention layer. The head is a 3x3
convolution to half the channels, ReLU, a 1x1 convolution and bilinear interpolation to the side of
the image. LoRA pairs and head are trained. With backbone mobile_sam, rank 8 and two classes it is
the model of the report: 384,386 trainable parameters.
"""

from torch import nn

from bench import (
    ConvHead,
    LoRALinear,
    Recipe,
    SamSegmenter,
    Task,
    freeze,
    load_sam,
    register_method,
    replace_modules,
    require,
)

# The report does not state loss, optimiser and rate: those of the equal protocol are used.
PUBLISHED = Recipe(lr=3e-3, epochs=10, batch_size=4, augmentation="none")


@register_method(
    "mobile_sam_lora",
    paper="https://arxiv.org/abs/2306.14289",
    lr=3e-3,
    published=PUBLISHED,
    published_size=1024,
)
def mobile_sam_lora(task: Task, *, rank: int = 8) -> nn.Module:
    """LoRA on fused qkv and projection of every attention, convolutional head trained."""
    require(rank >= 1, f"rank {rank} is too small: give 1 or more")
    sam = load_sam(task)
    model = SamSegmenter(sam, ConvHead(sam.prompt_encoder.embed_dim, task.num_classes))
    freeze(model.image_encoder)
    replace_modules(
        model.image_encoder,
        r".*\.attn\.(qkv|proj)",
        lambda layer: LoRALinear(layer, rank, rank),
    )
    return model
