"""Functions that change a model: freeze parameters, replace modules, merge modules."""

import copy
import re
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from segment_anything.modeling import ImageEncoderViT
from torch import nn

from bench.errors import UnsupportedError, UserError, check_number


@runtime_checkable
class Mergeable(Protocol):
    """A module that replaces a plain module and can be merged back into a plain module."""

    def merged(self) -> nn.Module:
        """Return a module with the class and the tensor names of the replaced module.

        Raises:
            UnsupportedError: the change cannot be written into the replaced module.
        """


def require(condition: bool, message: str) -> None:
    """Check a condition on an option.

    Args:
        condition: must be true.
        message: one sentence with the value of the option and the allowed values.

    Raises:
        UserError: `condition` is false.
    """
    if not condition:
        raise UserError(message)


def require_size(module: nn.Module, method: str) -> None:
    """Check the number of parameters of a model, before memory is allocated for them.

    Args:
        module: may be on the meta device.
        method: name of the method, for the message.

    Raises:
        UserError: it is above the bound `parameters`.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    check_number("parameters", parameters, f"the number of parameters of {method}")


def require_vit(encoder: nn.Module, method: str) -> None:
    """Check that an encoder has SAM's ViT blocks.

    Args:
        encoder: image encoder of a foundation model.
        method: name of the method, for the message.

    Raises:
        UnsupportedError: the encoder is not SAM's ViT.
    """
    if not isinstance(encoder, ImageEncoderViT):
        raise UnsupportedError(
            f"{method} changes SAM's ViT blocks, and this backbone does not have them"
        )


def require_attention(block: nn.Module, method: str) -> None:
    """Check that an encoder block has attention and an MLP.

    Args:
        block: of an image encoder.
        method: name of the method, for the message.

    Raises:
        UnsupportedError: it has not, as in a convolutional encoder.
    """
    if not (hasattr(block, "attn") and hasattr(block, "mlp")):
        raise UnsupportedError(
            f"{method} changes the attention of encoder blocks, and the encoder of this backbone"
            " has convolutions only"
        )


def freeze(module: nn.Module) -> None:
    """Set `requires_grad` of all parameters of `module` to False; buffers are not affected."""
    module.requires_grad_(False)


def replace_modules(
    root: nn.Module, pattern: str, make: Callable[[Any], nn.Module]
) -> list[nn.Module]:
    r"""Replace every module whose full path matches `pattern` by `make(module)`.

    A module that occurs at several paths is replaced at the first one only.

    Args:
        root: module whose submodules are searched, and changed in place.
        pattern: regular expression for paths below `root`, such as r"blocks\.\d+\.attn\.qkv".
        make: function from the old module to the new one, which may contain the old module.

    Returns:
        The new modules, in the order of the model.

    Raises:
        LookupError: no module matches; a replacement without effect is always a mistake.
    """
    paths = [path for path, _ in root.named_modules() if re.fullmatch(pattern, path)]
    if not paths:
        raise LookupError(f"no module of {type(root).__name__} matches '{pattern}'")
    replacements = []
    for path in paths:
        parent, _, name = path.rpartition(".")
        new = make(root.get_submodule(path))
        setattr(root.get_submodule(parent), name, new)
        replacements.append(new)
    return replacements


def select_blocks(blocks: str, block_count: int) -> tuple[int, ...]:
    """Return the indices of the encoder blocks that an option selects, in ascending order.

    Args:
        blocks: "all", or block indices from 0 on and ranges with both ends included, joined by
            "+" in ascending order, such as "2+5+8-11".
        block_count: number of blocks of the encoder.

    Raises:
        UserError: `blocks` has another form, names a block twice or in descending order, or names
            a block that the encoder does not have.
    """
    if blocks == "all":
        return tuple(range(block_count))
    selected: list[int] = []
    for part in blocks.split("+"):
        ends = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        if ends is None:
            raise UserError(
                f"blocks '{blocks}' is not a list of blocks: write all, or indices and ranges"
                f" joined by +, such as 0+2-{max(3, block_count - 1)}"
            )
        first, last = int(ends[1]), int(ends[2] or ends[1])
        require(first <= last, f"blocks '{blocks}': write the range {part} as {last}-{first}")
        require(
            last < block_count,
            f"blocks '{blocks}': this encoder has no block {last}, only 0-{block_count - 1}",
        )
        require(
            not selected or selected[-1] < first,
            f"blocks '{blocks}': name each block once, in ascending order",
        )
        selected += range(first, last + 1)
    return tuple(selected)


def freeze_other_blocks(encoder: Any, blocks: str) -> None:
    """Freeze the encoder blocks that an option does not select.

    Other parameters, as those of selected blocks and of the neck, stay as they are.

    Args:
        encoder: image encoder with `blocks`.
        blocks: value of the option, as of `select_blocks`.

    Raises:
        UserError: as `select_blocks`.
    """
    selected = select_blocks(blocks, len(encoder.blocks))
    for index, block in enumerate(encoder.blocks):
        if index not in selected:
            freeze(block)


def merge(model: nn.Module) -> nn.Module:
    """Return a copy of the model in which every mergeable module is merged.

    The outputs are the same but for rounding. The merged modules have the tensor names of the base
    model; other modules of a method stay in the copy.

    Args:
        model: remains unchanged.

    Raises:
        UnsupportedError: the model has no such module, or one of them cannot be merged.
    """
    merged = copy.deepcopy(model)
    names: list[str] = []
    for name, part in merged.named_modules():
        inside = name.startswith(tuple(f"{outer}." for outer in names))
        if isinstance(part, Mergeable) and not inside:  # it merges its own submodules
            names.append(name)
    if not names:
        raise UnsupportedError(
            "this model has nothing that can be merged: its method changes the base model's own"
            " weights, or adds modules that cannot be written into a weight of the base model"
        )
    for name in names:
        parent, _, last = name.rpartition(".")
        mergeable: Any = merged.get_submodule(name)
        setattr(merged.get_submodule(parent), last, mergeable.merged())
    return merged
