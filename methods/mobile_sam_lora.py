"""LoRA on a frozen image encoder with a convolutional head, as in the MobileSAM nuclei report.

The LoRA pairs have no bias and are linear layers. They are on the fused qkv layer (d to r to 3d,
one pair for all three) and on the output projection of every attention layer; `targets` places
them elsewhere, such as `targets=fom` for the MLPs too or `targets=qv` for SAMed's placement. The
head is a 3x3 convolution to half the channels, ReLU, a 1x1 convolution and bilinear interpolation
to the side of the image. LoRA pairs and head are trained. With backbone mobile_sam, rank 8 and two
classes it is the model of the report: 384,386 trainable parameters. The BatchNorms of TinyViT are
frozen and use their stored statistics in training too; the report does not say which it uses.
"""

from torch import nn

from bench import (
    ConvHead,
    Recipe,
    SamSegmenter,
    Task,
    add_lora,
    freeze,
    load_sam,
    register_method,
    select_blocks,
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
def mobile_sam_lora(
    task: Task, *, rank: int = 8, targets: str = "fo", blocks: str = "all"
) -> nn.Module:
    """LoRA on encoder layers (targets: of q, k, v, o, m, f), convolutional head trained."""
    sam = load_sam(task)
    model = SamSegmenter(sam, ConvHead(sam.prompt_encoder.embed_dim, task.num_classes))
    encoder = model.image_encoder
    freeze(encoder)
    for index in select_blocks(blocks, len(encoder.blocks)):
        add_lora(encoder.blocks[index], rank, rank, targets)
    return model
