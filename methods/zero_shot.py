"""Pretrained SAM with boxes or clicks derived from the ground truth: an upper reference.

Nothing is trained. Its rows in tables are marked as oracle and are never ranked with other methods.
With `prompt=image` the only prompt is one box around the whole image, as in the row "SAM" of the
tables of SAM-Adapter (Chen et al., 2023). It needs no ground truth: the rows are marked as
automatic, and the dataset must have one foreground class.
"""

from torch import nn

from bench import (
    PromptedDecoder,
    PromptRule,
    SamSegmenter,
    Task,
    freeze,
    load_sam,
    register_method,
)


@register_method(
    "zero_shot",
    paper="https://arxiv.org/abs/2304.02643",
    lr=None,
    prompts="oracle",
    automatic_options={"prompt": "image"},
)
def zero_shot(
    task: Task,
    *,
    prompt: str = "box",
    unit: str = "object",
    clicks: int = 1,
    overlap: float = 1.0,
) -> nn.Module:
    """Pretrained SAM with prompts (prompt=box|point: oracle; image: whole image), not trained."""
    sam = load_sam(task)
    rule = PromptRule(prompt, unit, clicks, overlap)
    head = PromptedDecoder(sam, task.num_classes, rule, best_of_three=clicks == 1)
    model = SamSegmenter(sam, head)
    freeze(model)
    return model
