"""SAM as it comes, prompted with boxes or clicks made from the ground truth: an upper reference.

Nothing is trained. Its rows are marked as oracle and never ranked with the others.
"""

from torch import nn

from bench import PromptedDecoder, SamSegmenter, Task, freeze, load_sam, register_method, require


@register_method("zero_shot", paper="https://arxiv.org/abs/2304.02643", lr=None, prompts="oracle")
def zero_shot(task: Task, *, prompt: str = "box") -> nn.Module:
    """Pretrained SAM with oracle prompts (prompt=box|point), nothing trained."""
    require(prompt in ("box", "point"), f"prompt '{prompt}' is not known: give box or point")
    sam = load_sam(task)
    model = SamSegmenter(sam, PromptedDecoder(sam, task.num_classes, prompt))
    freeze(model)
    return model
