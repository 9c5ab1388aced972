"""Bottleneck adapters in a frozen image encoder (Houlsby et al., 2019, section 2.1).

A small MLP with a skip connection follows the attention and the MLP of every selected block. Its
last layer is initialised with zeros, so the untrained model equals the pretrained one. The
adapters and the mask decoder are trained.
"""

from torch import Tensor, nn

from bench import (
    SamSegmenter,
    SemanticDecoder,
    Task,
    freeze,
    load_sam,
    register_method,
    require,
    require_attention,
    select_blocks,
)


class Adapter(nn.Module):
    """y = f(x) + up(GELU(down(f(x)))) around a sub-layer f of width d; tokens (..., d)."""

    def __init__(self, layer: nn.Module, width: int, bottleneck: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply the sub-layer, then the bottleneck to its output; tokens (..., d)."""
        output = self.layer(tokens)
        return output + self.up(nn.functional.gelu(self.down(output)))


@register_method("adapter", paper="https://arxiv.org/abs/1902.00751", lr=3e-3)
def adapter(task: Task, *, bottleneck: int = 16, blocks: str = "all") -> nn.Module:
    """Bottleneck adapters after attention and MLP of frozen blocks; mask decoder trained."""
    require(bottleneck >= 1, f"bottleneck {bottleneck} is too small: give 1 or more")
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    encoder = model.image_encoder
    freeze(encoder)
    for index in select_blocks(blocks, len(encoder.blocks)):
        block = encoder.blocks[index]
        require_attention(block, "the adapter")
        width = block.attn.proj.out_features
        block.attn = Adapter(block.attn, width, bottleneck)
        block.mlp = Adapter(block.mlp, width, bottleneck)
    return model
