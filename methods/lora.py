"""LoRA on linear layers of the frozen image encoder (Hu et al., 2021).

The low-rank updates and the mask decoder are trained; with `decoder=frozen` only the updates are,
and class k is read from SAM's mask token k modulo 4. The default placement is that of SAMed (Zhang
and Liu, 2023): queries and values of every block, with scale 1. The scale is alpha / rank (Hu et
al., section 4.1): with another rank, set alpha = rank to keep it at 1. The placement of Med-SA's
repository is `targets=qvm,rank=4,alpha=1`.

The published recipe is that of a report on particle micrographs. The report applies LoRA to the
encoder only; it does not say to which layers (no placement reproduces its parameter counts), nor
whether its decoder is trained. Here it is, because SAM's mask tokens mean no classes;
`decoder=frozen` with the same recipe is the other reading. The batch size is 4, as the text of the
report states; its own table gives the corresponding figure at a batch size of 8.
"""

from torch import nn

from bench import (
    Recipe,
    SamSegmenter,
    SemanticDecoder,
    Task,
    add_lora,
    freeze,
    load_sam,
    register_method,
    require,
    select_blocks,
)

# 40 epochs over 4,074 views (70 % of 5,820 views of 512 px), each in 1,019 batches.
PUBLISHED = Recipe(
    lr=1e-4,
    optimizer="adam",
    weight_decay=0.01,
    schedule="constant",
    loss="ce_dice",
    epochs=40,
    batch_size=4,
    bank_views=4_074,
    epoch_images=4_074,
    warmup_steps=0,
    precision="fp32",
    clip_norm=0.0,
    augmentation="sliding",
)


@register_method(
    "lora",
    paper="https://arxiv.org/abs/2106.09685",
    lr=3e-3,
    published=PUBLISHED,
    published_size=512,
    published_options={"rank": 512, "alpha": 512.0},
)
def lora(
    task: Task,
    *,
    rank: int = 4,
    alpha: float = 4.0,
    targets: str = "qv",
    blocks: str = "all",
    decoder: str = "trained",
) -> nn.Module:
    """LoRA on frozen encoder layers (targets: of q, k, v, o, m, f); decoder trained or frozen."""
    require(decoder in ("trained", "frozen"), f"decoder '{decoder}': give trained or frozen")
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    freeze(model.image_encoder)
    for index in select_blocks(blocks, len(model.image_encoder.blocks)):
        add_lora(model.image_encoder.blocks[index], rank, alpha, targets)
    if decoder == "frozen":
        freeze(model.head)
    return model
