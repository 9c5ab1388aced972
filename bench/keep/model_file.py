"""The file of a kept model: what training changed, and the way back onto a new base model.

A safetensors file with the tensors of `bench.cost.trained_state` only. Its header, which
`safetensors.safe_open(path, "pt").metadata()` shows too, describes how to build the rest; nothing
of the file is executed.
"""

import math
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.cost.params import trained_state
from bench.errors import UnsupportedError, UserError, WriteError
from bench.files import atomic_path, file_sha256
from bench.keep.header import ModelHeader, read_header, unreadable
from bench.objects.rules import get_rule
from bench.plugins.registry import get_method
from bench.sam.build import weights_path
from bench.sam.state_dict import checked_tensors
from bench.spec import Task
from bench.wording import counted

SAMPLES = 4096  # numbers of each tensor that the print is made of
TOLERANCE = 1e-6


def save_model(module: nn.Module, path: Path, header: ModelHeader) -> ModelHeader:
    """Write the tensors of `trained_state(module)` and a header as one safetensors file.

    These are the tensors that training may have changed; the frozen ones are not saved. The file
    appears only when it is complete. The module is not changed.

    Args:
        module: as trained, on any device.
        path: ends in .safetensors by convention; its folder is created, a file is replaced.
        header: its `base` is computed here.

    Returns:
        The header as written.

    Raises:
        WriteError: the file cannot be written, for example because the disk is full.
    """
    header = replace(header, base=base_print(module))
    # A new copy of each: the writer refuses memory that is shared or not in order.
    state = {
        name: tensor.cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in trained_state(module).items()
    }
    try:
        with atomic_path(path, durable=True) as temporary:
            save_file(state, temporary, header.to_metadata())
    except SafetensorError as error:
        raise WriteError(
            f"cannot write {path} ({error}): free some space or choose another folder, then run"
            " the command again"
        ) from error
    return header


def load_module(path: Path, checkpoint: Path | None = None) -> tuple[nn.Module, ModelHeader]:
    """Load a kept model on the CPU: build it from its header, then set its trained tensors.

    Torch's random state on the CPU is as before afterwards.

    Args:
        path: a file of `save_model`.
        checkpoint: file with the weights of the backbone; needed where the model was trained on a
            checkpoint of the user, and an error where it did not start from a file of weights.

    Returns:
        The module in the mode in which its method builds it (usually training mode: call `eval`
        before predicting), and the header of the file.

    Raises:
        UserError: the file is not a kept model or is damaged, its method or the weights of its
            backbone are not on this machine, they are not those that it was trained on, or
            `checkpoint` is missing or too much.
    """
    header = read_header(path)
    cell = header.cell
    task = _located_weights(path, header, checkpoint)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cell.seed)
            built = get_rule(cell.recipe.objects).built_task(task)
            module = get_method(cell.method).build(built, **cell.options)
    except (UserError, UnsupportedError, TypeError) as error:
        raise UserError(f"cannot build the model of {path}: {error}") from error
    return load_onto(module, path), header


def _located_weights(path: Path, header: ModelHeader, checkpoint: Path | None) -> Task:
    """The task of a kept model with the path of the weights that it was trained on."""
    cell = header.cell
    task = cell.task
    if checkpoint is not None:
        if not cell.weights_sha:
            raise UserError(f"{path} does not start from a weights file: leave --checkpoint out")
        task = replace(task, weights=str(checkpoint))
    elif task.weights not in ("pretrained", "random"):
        raise UserError(
            f"{path} was trained on the checkpoint '{task.weights}': give that file by --checkpoint"
        )
    if not cell.weights_sha:
        return task
    try:
        file = weights_path(task)
    except UserError as error:
        raise UserError(f"{path} needs the weights of its backbone: {error}") from error
    sha = "" if file is None else file_sha256(file)
    if sha != cell.weights_sha:
        raise UserError(
            f"{path} was trained on {task.backbone} weights with SHA-256 {cell.weights_sha[:12]}..,"
            f" but {file} has {sha[:12]}..: give the right file by --checkpoint"
        )
    return task


def load_onto(module: nn.Module, path: Path) -> nn.Module:
    """Set the tensors of a kept model in `module`, built as it was; return the module.

    The module is changed only if everything fits; its mode is kept.

    Args:
        module: built by the same method with the same options, task and seed.
        path: of the kept model.

    Raises:
        UserError: the file is not a kept model or is damaged, it does not fit the module, or it was
            trained on other base weights.
    """
    header, trained = read_header(path), trained_state(module)
    state = checked_tensors(_tensors(path), trained, str(path))
    expected = {name: tensor.shape for name, tensor in trained.items()}
    stored = {name: tensor.shape for name, tensor in state.items()}
    odd = sorted(n for n in expected.keys() | stored.keys() if expected.get(n) != stored.get(n))
    if odd:
        raise UserError(
            f"{path} holds {_describe(header)} and does not fit this model (first of"
            f" {counted(len(odd), 'tensor')}: {odd[0]}): use the version of the method that it was"
            " trained with"
        )
    ours = base_print(module)
    if not all(
        math.isclose(a, b, rel_tol=0, abs_tol=TOLERANCE * max(1.0, header.base[0]))
        for a, b in zip(ours, header.base, strict=True)
    ):
        raise UserError(
            f"{path} was trained on other base weights ({_describe(header)}, seed"
            f" {header.cell.seed}) than this model has: give it the weights it was trained on"
        )
    module.load_state_dict(state, strict=False)
    return module.train(module.training)  # TinyViT caches its attention biases in evaluation mode


@torch.no_grad()
def base_print(module: nn.Module) -> tuple[float, float]:
    """Two numbers that identify the base: its length, and its product with a fixed pattern.

    They are computed from samples of every persistent tensor outside `trained_state`. They are not
    a hash, because positions resized to another image side differ in the last digit between
    machines: `load_onto` compares them within `TOLERANCE`. Both are 0 if there is no such tensor.

    Args:
        module: as its method built it, trained or not.
    """
    trained = {tensor.data_ptr() for tensor in trained_state(module).values()}
    total = pattern = 0.0
    for index, (_, tensor) in enumerate(sorted(module.state_dict().items())):
        if tensor.data_ptr() in trained:  # by place, as a shared tensor has several names
            continue
        values = tensor.detach().flatten()
        values = values[:: max(1, len(values) // SAMPLES)].cpu().double()
        total += values.square().sum().item()
        pattern += (values * torch.arange(len(values)).add(index + 1).double().sin()).sum().item()
    return math.sqrt(total), pattern


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error


def _describe(header: ModelHeader) -> str:
    task = header.cell.task
    return (
        f"{header.cell.label} for {task.num_classes} classes at {task.image_size} px on"
        f" {task.backbone}, {task.weights} weights"
    )
