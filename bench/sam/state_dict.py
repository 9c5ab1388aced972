"""Read the tensors of a checkpoint file, and check them before they enter a model.

Files of other projects often wrap the tensors: in a mapping with the state of their training, and
with the name of a wrapper in front of each tensor's name. Wrappers are removed, and a note says so.
"""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError
from bench.files import check_regular
from bench.wording import counted

# Keys of a mapping around the tensors: MedSAM's training and Meta's later models, Lightning,
# torch_em's and so micro-sam's training, PyTorch's tutorials.
WRAPPERS = ("model", "state_dict", "model_state", "model_state_dict")
DEEPEST = 8  # mappings around the tensors; a pickled one can hold itself
# First parts of all names: DataParallel, torch.compile, micro-sam, Lightning modules.
PREFIXES = ("module.", "_orig_mod.", "sam.", "model.", "sam_model.", "net.")


def read_state_dict(path: Path) -> tuple[dict[str, Any], str]:
    """Read the tensors of a .safetensors file or of a PyTorch checkpoint, without their wrappers.

    PyTorch checkpoints are read with `weights_only=True`, so that no code of the file runs. The
    values are not checked, see `checked_tensors`.

    Args:
        path: of the file.

    Returns:
        Values by name, tensors on the CPU, and a sentence that says what was removed; "" for a
        plain file.

    Raises:
        UserError: the file cannot be read, is not a mapping, or holds no values.
    """
    check_regular(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: object = load_file(path)
        else:
            with warnings.catch_warnings():  # of the time to check sparse tensors, refused later
                warnings.filterwarnings("ignore", "Validating sparse tensor", UserWarning)
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"cannot read the checkpoint {path}: it is damaged, or holds Python objects, which are"
            " not loaded because they can run code: save the `state_dict()` of its model"
        ) from error
    except Exception as error:  # a damaged file can raise many types
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
        raise UserError(
            f"cannot read the checkpoint {path} ({reason}): give a .safetensors or .pth file of"
            " tensors"
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"cannot read the checkpoint {path} (it holds a {type(content).__name__}): give a file"
            " of tensors by name, such as the `state_dict()` of a model"
        )
    state, note = _unwrapped(content, path.name)
    if not state:
        raise UserError(
            f"the checkpoint {path} holds no tensors: save the `state_dict()` of a trained model"
        )
    return state, note


def checked_tensors(
    state: Mapping[str, Any], expected: Mapping[str, Tensor], origin: str
) -> dict[str, Tensor]:
    """The values as tensors of the types that a model expects; shapes are not compared.

    Args:
        state: values by name.
        expected: tensors of the model by name. A value whose name is not among them keeps its type.
        origin: name of the file, for messages.

    Raises:
        UserError: a value is not a dense tensor of real numbers, has another kind of numbers than
            the model (integers for floating point), or holds NaN or infinity. The message names the
            first such tensor.
    """
    tensors = {}
    for name, value in state.items():
        model_type = expected[name].dtype if name in expected else None
        reason = _unfit(value, model_type)
        if reason is None:
            tensors[name] = value if model_type is None else value.to(model_type)
            if count := int((~tensors[name].isfinite()).sum()):
                verb = "is" if count == 1 else "are"
                reason = f"has {counted(count, 'value')} that {verb} not finite (NaN or infinity)"
        if reason is not None:
            raise UserError(
                f"{origin} is refused because the tensor '{name}' {reason}: give a checkpoint of"
                " finite floating-point tensors, as a training that did not diverge saves it"
            )
    return tensors


def check_names_and_shapes(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], origin: str, model: str
) -> None:
    """Check that a checkpoint has the tensors of a model, each in its shape.

    Args:
        state: tensors of the checkpoint.
        expected: tensors of the model.
        origin: name of the file, for messages.
        model: name of the model, for messages.

    Raises:
        UserError: a tensor is missing, unknown to the model, or has another shape.
    """
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    reasons = [
        f"{counted(len(names), 'tensor')} {what}, first '{names[0]}'"
        for names, what in ((missing, "missing"), (unknown, "unknown to it"))
        if names
    ]
    reasons += [
        f"the tensor '{name}' has the shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ][:1]
    if reasons:
        raise UserError(
            f"{origin} does not fit {model} ({'; '.join(reasons)}): give a checkpoint of {model},"
            " or another --backbone"
        )


def _unwrapped(content: Mapping[Any, Any], file: str) -> tuple[dict[str, Any], str]:
    """Values by name, and what was removed around them."""
    removed: list[str] = []
    left_out: list[str] = []
    for _ in range(DEEPEST):
        key = next((k for k in WRAPPERS if isinstance(content.get(k), Mapping)), None)
        if key is None:
            break
        left_out += [str(name) for name in content if name != key]
        removed.append(f"taken from '{key}'")
        content = content[key]
    state = {str(name): value for name, value in content.items()}
    while prefix := next((p for p in PREFIXES if _all_start_with(state, p)), None):
        removed.append(f"'{prefix}' removed from their names")
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    if not removed:
        return state, ""
    ignored = f"; not used: {', '.join(left_out)}" if left_out else ""
    return state, f"{file}: tensors {', '.join(removed)}{ignored}"


def _all_start_with(state: Mapping[str, Any], prefix: str) -> bool:
    return bool(state) and all(name.startswith(prefix) for name in state)


def _unfit(value: object, expected: torch.dtype | None) -> str | None:
    """Why a value cannot enter a model, apart from its numbers and shape; None if it can."""
    if not isinstance(value, Tensor):
        return "is None" if value is None else f"is not a tensor but a {type(value).__name__}"
    if value.layout != torch.strided or value.is_nested:
        return f"is sparse or nested ({str(value.layout).removeprefix('torch.')})"
    if value.is_quantized or value.is_meta:
        return "is quantised" if value.is_quantized else "has no values (meta device)"
    kind = str(value.dtype).removeprefix("torch.")
    if expected is not None and value.is_floating_point() != expected.is_floating_point:
        wanted = "floating-point numbers" if expected.is_floating_point else "integers"
        return f"has numbers of the type {kind}, and the model needs {wanted}"
    if value.is_complex():
        return f"has numbers of the type {kind}, and the model needs real numbers"
    return None
