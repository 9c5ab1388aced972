"""Changes to a built model: freezing and replacing modules."""

import copy
import re
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from segment_anything.modeling import ImageEncoderViT
from torch import nn

from bench.errors import UnsupportedError, UserError


@runtime_checkable
class Mergeable(Protocol):
    """A module that stands in the place of a plain one and can be folded back into its kind."""

    def merged(self) -> nn.Module:
        """A plain module of the class, and with the tensor names, of what was replaced."""


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


def merge(model: nn.Module, kind: type[Any] = Mergeable) -> nn.Module:
    """A copy of the model with every mergeable module folded in: the base's names, equal outputs.

    Args:
        model: stays as it is.
        kind: class of the modules to fold in.

    Raises:
        UnsupportedError: there is none.
    """
    merged = copy.deepcopy(model)
    names: list[str] = []
    for name, part in merged.named_modules():
        # What lies inside a mergeable module is that module's own affair.
        if isinstance(part, kind) and not name.startswith(tuple(f"{outer}." for outer in names)):
            names.append(name)
    if not names:
        raise UnsupportedError(
            "this model has nothing that can be merged: its method changes the base's own weights,"
            " or adds parts that no weight of the base can take up"
        )
    for name in names:
        parent, _, last = name.rpartition(".")
        mergeable: Any = merged.get_submodule(name)
        setattr(merged.get_submodule(parent), last, mergeable.merged())
    return merged
