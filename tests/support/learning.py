"""Which parameters of a method a gradient reaches."""

import re

from torch import nn

from bench.plugins.registry import Method

# The originals hand these to the optimiser (they count as trainable there), though without prompts
# or with one mask a prompt no gradient, or a gradient of zero, reaches them.
_IOU = r"head\.mask_decoder\.iou_prediction_head\..*"
_PROMPTS = r"head\.prompt_encoder\.(?!no_mask_embed).*"
_OTHER_TOKENS = r"head\.mask_decoder\.output_hypernetworks_mlps\.[1-9].*"
IDLE = {
    "samed": rf"{_IOU}|{_PROMPTS}",
    "samed_s": rf"{_IOU}|{_PROMPTS}",
    "sam_adapter": rf"{_IOU}|head\.mask_decoder\.output_hypernetworks_mlps\.[2-9].*",
    "med_sa": rf"{_IOU}|{_OTHER_TOKENS}",
    "medsam": rf"{_IOU}|{_OTHER_TOKENS}",
}


def learning(method: Method, model: nn.Module) -> set[str]:
    """Trainable parameters that a gradient is to reach."""
    idle = IDLE.get(method.name, "(?!)")
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    return {name for name in trainable if not re.fullmatch(idle, name)}
