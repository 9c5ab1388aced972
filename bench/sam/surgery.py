"""Changes to a built model: freezing and replacing modules."""

import re
from collections.abc import Callable
from typing import Any

from segment_anything.modeling import ImageEncoderViT
from torch import nn

from bench.errors import UnsupportedError, UserError


def require(condition: bool, message: str) -> None:
    """Refuse an option in one sentence: what was given, what is allowed."""
    if not condition:
        raise UserError(message)


def require_vit(encoder: nn.Module, method: str) -> None:
    """Refuse encoders without SAM's ViT blocks.

    Raises:
        UnsupportedError: another encoder.
    """
    if not isinstance(encoder, ImageEncoderViT):
        raise UnsupportedError(f"{method} changes SAM's ViT blocks, which this backbone has not")


def freeze(module: nn.Module) -> None:
    """Take every parameter of `module` out of training."""
    module.requires_grad_(False)


def replace_modules(
    root: nn.Module, pattern: str, make: Callable[[Any], nn.Module]
) -> list[nn.Module]:
    r"""Put `make(module)` in the place of every module whose whole path matches `pattern`.

    Args:
        root: searched downwards; nothing inside a replaced module is searched.
        pattern: regular expression over paths below `root`, as in r"blocks\.\d+\.attn\.qkv".
        make: from the old module to the new one, which may contain the old.

    Returns:
        The new modules, in the order of the model.

    Raises:
        LookupError: nothing matched. Surgery that does nothing is never wanted.
    """
    paths = [path for path, _ in root.named_modules() if re.fullmatch(pattern, path)]
    if not paths:
        raise LookupError(f"no module of {type(root).__name__} matches '{pattern}'")
    made = []
    for path in paths:
        parent, _, name = path.rpartition(".")
        new = make(root.get_submodule(path))
        setattr(root.get_submodule(parent), name, new)
        made.append(new)
    return made


def select_blocks(blocks: str, depth: int) -> range:
    """Encoder blocks named by an option: "all", one 0-based index, or "first-last" inclusive.

    Raises:
        UserError: anything else, or blocks outside the encoder.
    """
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", blocks)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, depth - 1)
    require(
        (blocks == "all" or match is not None) and first <= last < depth,
        f"blocks '{blocks}' cannot be taken: write all, or a range as 0-{depth - 1}",
    )
    return range(first, last + 1)
