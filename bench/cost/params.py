"""Numbers of parameters, and the size of the file that is saved for each task."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


def count_params(model: nn.Module) -> tuple[int, int]:
    """Count the parameters of a model.

    A parameter is trainable if its `requires_grad` is True. A parameter that several modules share
    counts once. Buffers, such as BatchNorm statistics, do not count.

    Returns:
        Number of trainable parameters, and number of all parameters.
    """
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes)


def count_params_of_parts(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Count the parameters of each part of a model as `count_params` does.

    A parameter that several parts share counts in the first of them.

    Returns:
        Name of each direct child, and "" for parameters that the model owns itself, to its numbers
        of trainable and of all parameters. What has no parameters of its own is left out.
    """
    counts: dict[str, tuple[int, int]] = {}
    for name, parameter in model.named_parameters():
        part, dot, _ = name.partition(".")
        trainable, total = counts.get(part if dot else "", (0, 0))
        size = parameter.numel()
        learns = size if parameter.requires_grad else 0
        counts[part if dot else ""] = trainable + learns, total + size
    return counts


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the part of `model.state_dict()` that training may have changed.

    It consists of the trainable parameters (a shared one once), and the persistent buffers of each
    module that directly owns a trainable parameter, such as the statistics of a BatchNorm layer
    with a trainable scale. All other buffers are left out: they belong to the frozen foundation
    model, which is stored separately.

    Returns:
        Name to tensor, without gradients; the tensors share the memory of the model.
    """
    state = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    persistent = model.state_dict().keys()
    for path, module in model.named_modules():
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            for name, buffer in module.named_buffers(prefix=path, recurse=False):
                if name in persistent:
                    state[name] = buffer.detach()
    return state


def checkpoint_bytes(state: Mapping[str, Tensor]) -> int:
    """Return the size in bytes of `state` as one safetensors file; 0 if `state` is empty.

    The size is computed from the file format (eight bytes of length, a JSON header without further
    metadata, padded to a multiple of eight bytes, the data), so the tensors may be on the meta
    device.

    Raises:
        KeyError: a tensor has a type that is not in `_NAMES`, such as a complex one.
    """
    if not state:
        return 0
    header, end = {}, 0
    # The writer sorts by type, widest first, then by name.
    order = sorted(state, key=lambda name: (-state[name].element_size(), name))
    for name in order:
        tensor = state[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    length = len(json.dumps(header, separators=(",", ":")).encode())
    return 8 + -(-length // 8) * 8 + end


_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class LayerListing:
    """Totals of torchinfo's summary of a model for one batch.

    Attributes:
        mult_adds: multiply-adds of all layers.
        activation_bytes: outputs of all layers, twice; its "forward/backward pass size".
        param_bytes: parameters of layers; its "params size".
    """

    mult_adds: int
    activation_bytes: int
    param_bytes: int


def list_layers(model: nn.Module, image_size: int, batch: int) -> LayerListing:
    """The totals of torchinfo's summary.

    Args:
        model: on the meta device, where nothing is computed; it takes images alone.
        image_size: side in pixels.
        batch: number of images.

    Raises:
        RuntimeError: the model does not run on such a batch.
    """
    from torchinfo import summary

    images = torch.zeros(batch, 3, image_size, image_size, device="meta")
    totals = summary(model, input_data=images, device="meta", verbose=0)
    return LayerListing(totals.total_mult_adds, totals.total_output_bytes, totals.total_param_bytes)
