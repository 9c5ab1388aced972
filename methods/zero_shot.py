"""Pretrained SAM with boxes or clicks derived from the ground truth: an upper reference.

Nothing is trained. Its rows in tables are marked as oracle and are never ranked with other methods.
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


@register_method("zero_shot", paper="https://arxiv.org/abs/2304.02643", lr=None, prompts="oracle")
def zero_shot(
    task: Task,
    *,
    prompt: str = "box",
    unit: str = "object",
    clicks: int = 1,
    overlap: float = 1.0,
) -> nn.Module:
    """Pretrained SAM with oracle prompts (prompt=box|point), nothing trained."""
    sam = load_sam(task)
    rule = PromptRule(prompt, unit, clicks, overlap)
    head = PromptedDecoder(sam, task.num_classes, rule, best_of_three=clicks == 1)
    model = SamSegmenter(sam, head)
    freeze(model)
    return model
