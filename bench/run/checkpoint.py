"""What a method trained, as one file, and the way back onto a fresh foundation model.

A safetensors file with `bench.cost.trained_state` and nothing else; its header, which
`safetensors.safe_open(path, "pt").metadata()` shows too, tells how to build the rest.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.cost import trained_state
from bench.errors import UserError
from bench.files import atomic_path
from bench.plugins.registry import get_method
from bench.spec import Cell, OptionValue, Task
from bench.wording import PROJECT, project_version

SCHEMA = 1
SAMPLES = 4096  # numbers of each tensor that the print is made of
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Header:
    """How the model of a checkpoint is built.

    Attributes:
        label: method with the options that differ from its defaults, as in tables.
        task: what it was built for; its weights are "pretrained", "random", or a file's name.
        seed: of the building, on which random weights depend.
        weights_sha: SHA-256 of the file of weights; empty where there is none, or it is not known.
        base: print of all that the file does not hold, see `base_print`.
        version: of this project.
    """

    label: str
    method: str
    options: Mapping[str, OptionValue]
    task: Task
    seed: int
    weights_sha: str
    base: tuple[float, float]
    version: str
    schema: int = SCHEMA

    def to_metadata(self) -> dict[str, str]:
        """Text for the file: plain words as they are, all else as JSON."""
        values = {**asdict(self), "task": asdict(self.task), "options": dict(self.options)}
        plain = {key: v if isinstance(v, str) else json.dumps(v) for key, v in values.items()}
        return {"project": PROJECT, **plain}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Header":
        """Inverse of `to_metadata`; KeyError, TypeError or ValueError for other metadata."""
        norm, pattern = json.loads(metadata["base"])
        return cls(
            label=metadata["label"],
            method=metadata["method"],
            options=json.loads(metadata["options"]),
            task=Task(**json.loads(metadata["task"])),
            seed=int(metadata["seed"]),
            weights_sha=metadata["weights_sha"],
            base=(float(norm), float(pattern)),
            version=metadata["version"],
            schema=int(metadata["schema"]),
        )


def save_trained(model: nn.Module, path: Path, cell: Cell) -> Header:
    """Write what training may have changed in `model`, the model of `cell`, to `path`.

    The file appears whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    task = cell.task
    if task.weights not in ("pretrained", "random"):
        task = Task(**{**asdict(task), "weights": Path(task.weights).name})
    header = Header(
        label=cell.label,
        method=cell.method,
        options=dict(cell.options),
        task=task,
        seed=cell.seed,
        weights_sha=cell.weights_sha,
        base=base_print(model),
        version=project_version(),
    )
    # A fresh copy of each: the writer refuses memory that is shared or not in order.
    state = {
        name: tensor.cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in trained_state(model).items()
    }
    try:
        with atomic_path(path) as temporary:
            save_file(state, temporary, header.to_metadata())
    except SafetensorError as error:
        raise UserError(f"cannot write {path} ({error}): give a place you may write to") from error
    return header


def load_trained(path: Path, weights: Path | None = None) -> nn.Module:
    """The model of a checkpoint, on the CPU: built anew from its header, then given its tensors.

    Args:
        path: a file of `save_trained`.
        weights: the foundation model's own checkpoint, where it was a file of the user's.

    Raises:
        UserError: the file is damaged or none of this project's, its method or weights are not at
            hand, or it does not fit the base.
    """
    header = read_header(path)
    task = header.task
    if weights is not None:
        task = Task(**{**asdict(task), "weights": str(weights)})
    elif task.weights not in ("pretrained", "random"):
        raise UserError(
            f"{path} was trained on the checkpoint '{task.weights}': give its path as `weights`"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(header.seed)
        model = get_method(header.method).build(task, **header.options)
    return load_onto(model, path)


def load_onto(model: nn.Module, path: Path) -> nn.Module:
    """Put the tensors of a checkpoint into `model`, built as it was saved; returns the model.

    The model is changed only where all fits.

    Raises:
        UserError: the file is damaged or none of this project's, or does not fit the model.
    """
    header, state = read_header(path), _tensors(path)
    wanted = {name: tensor.shape for name, tensor in trained_state(model).items()}
    found = {name: tensor.shape for name, tensor in state.items()}
    odd = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
    if odd:
        raise UserError(
            f"{path} holds {header.label} for {_described(header.task)} and does not fit this model"
            f" (first of {len(odd)} tensors: {odd[0]}): build the model with the same options"
        )
    ours = base_print(model)
    if not all(
        math.isclose(a, b, rel_tol=0, abs_tol=TOLERANCE * max(1.0, header.base[0]))
        for a, b in zip(ours, header.base, strict=True)
    ):
        raise UserError(
            f"{path} was trained on other base weights ({_described(header.task)}, seed"
            f" {header.seed}) than this model has: give it the weights it was trained on"
        )
    model.load_state_dict(state, strict=False)
    return model.train(model.training)  # TinyViT keeps its attention biases from one mode to next


def read_header(path: Path) -> Header:
    """How the model of a checkpoint is built.

    Raises:
        UserError: the file is missing, damaged, of another version, or none of this project's.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    if metadata.get("project") != PROJECT:
        raise UserError(
            f"{path} is no checkpoint of {PROJECT}: give a file that `save_trained` wrote"
        )
    if metadata.get("schema") != str(SCHEMA):
        raise UserError(
            f"{path} has checkpoint schema {metadata.get('schema')}, this version reads {SCHEMA}:"
            f" use {PROJECT} {metadata.get('version')}"
        )
    try:
        return Header.from_metadata(metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


@torch.no_grad()
def base_print(model: nn.Module) -> tuple[float, float]:
    """Two numbers that tell one base from another: length, and product with a fixed pattern.

    They are made of samples of every persistent tensor outside `trained_state`. Numbers and no
    hash: positions resized to another image side differ in the last digit between machines.
    """
    trained = {tensor.data_ptr() for tensor in trained_state(model).values()}
    total = pattern = 0.0
    for index, (_, tensor) in enumerate(sorted(model.state_dict().items())):
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
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"cannot read the checkpoint {path} ({reason}): give a whole, undamaged file")


def _described(task: Task) -> str:
    return (
        f"{task.num_classes} classes at {task.image_size} px on {task.backbone}, {task.weights}"
        " weights"
    )
