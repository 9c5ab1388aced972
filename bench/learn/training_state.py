"""The state of a training between two steps, and its file.

A training that is restored from its state makes the same steps as one that was not interrupted:
bit for bit on the same CPU with the same packages and number of threads. The output of frozen
stages and the views of the images are not kept, because they are computed again from the seed.
"""

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import UserError, WriteError
from bench.files import atomic_path, check_regular
from bench.learn.model import Model
from bench.learn.position import Position

FORMAT, VERSION = "sam-adapt-bench training", "1"


class StateError(UserError):
    """A file does not hold a state that the training can continue from.

    Args:
        path: of the file.
        reason: why, as the rest of a sentence after the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the saved training {path} {reason}: the cell starts from step 0")


@dataclass(frozen=True)
class TrainingState:
    """The state of a training after a step.

    Attributes:
        tensors: on the CPU, by name; they may share the memory of the model and the optimiser, so
            write them before the next step.
        values: everything else, as JSON can hold it.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    @classmethod
    def of(
        cls, model: Model, optimizer: torch.optim.Optimizer, position: Position
    ) -> "TrainingState":
        """Return the present state: model, optimiser, position, and all random generators."""
        tensors = {f"model/{name}": tensor for name, tensor in _changeable(model).items()}
        numbers: dict[str, dict[str, Any]] = {}
        for index, entries in optimizer.state_dict()["state"].items():
            numbers[str(index)] = {}
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{index}/{name}"] = value
                else:
                    numbers[str(index)][name] = value
        if position.losses:
            tensors["losses"] = torch.stack(position.losses)
        tensors["random/torch"] = torch.get_rng_state()
        if model.device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(model.device)
        kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - methods may use it
        values = {
            "optimizer": numbers,
            "position": {
                name: getattr(position, name)
                for name in ("step", "images", "seconds", "order", "left", "curve")
            },
            "rng": position.rng.bit_generator.state,
            "numpy": [kind, np.asarray(keys).tolist(), *rest],
            "python": random.getstate(),
        }
        return cls({name: _packed(tensor) for name, tensor in tensors.items()}, values)

    def restore(self, model: Model, optimizer: torch.optim.Optimizer) -> Position:
        """Set model, optimiser and random generators to this state; return the position.

        Args:
            model: as built for the same cell; its mode is not changed.
            optimizer: new, for this model.

        Raises:
            ValueError: the state is that of another model; nothing is changed.
        """
        current, kept = _changeable(model), _below("model/", self.tensors)
        indices = {int(index) for index in self.values["optimizer"]}
        if _types(current) != _types(kept) or not indices <= {*range(len(model.trainable))}:
            raise ValueError("holds the tensors of another model")
        with torch.no_grad():
            for name, tensor in current.items():
                tensor.copy_(kept[name])
        self._restore_optimizer(model, optimizer)
        position = Position(np.random.default_rng(), **self.values["position"])
        position.rng.bit_generator.state = self.values["rng"]
        if "losses" in self.tensors:
            position.losses = list(self.tensors["losses"].to(model.device).unbind())
        torch.set_rng_state(self.tensors["random/torch"])
        if "random/cuda" in self.tensors:
            torch.cuda.set_rng_state(self.tensors["random/cuda"], model.device)
        np.random.set_state(tuple(self.values["numpy"]))  # noqa: NPY002
        version, keys, following = self.values["python"]
        random.setstate((version, tuple(keys), following))
        return position

    def _restore_optimizer(self, model: Model, optimizer: torch.optim.Optimizer) -> None:
        entries: dict[int, dict[str, Any]] = {
            int(index): dict(numbers) for index, numbers in self.values["optimizer"].items()
        }
        for name, tensor in _below("optimizer/", self.tensors).items():
            index, _, key = name.partition("/")
            parameter = model.trainable[int(index)]
            if tensor.shape == parameter.shape and parameter.dim():
                # In the parameter's order of memory: another order may round differently.
                tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
            entries[int(index)][key] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})


class StateKeeper(Protocol):
    """Where `bench.learn.loop.fit` takes an earlier state from, and to whom it offers new ones."""

    def restore(self, model: Model, optimizer: torch.optim.Optimizer) -> Position | None:
        """Restore an earlier state and return its position; None to begin at step 0.

        Args:
            model: as built.
            optimizer: new, for this model.
        """

    def after_step(self, take: Callable[[], TrainingState], last: bool) -> None:
        """Keep the state, if it is time to.

        It may end the process by raising SystemExit.

        Args:
            take: returns the present state.
            last: whether the training has ended.
        """


def write_state(path: Path, state: TrainingState, key: Mapping[str, str]) -> None:
    """Write a state atomically; an older one is replaced.

    Args:
        path: of a safetensors file; its folder is created.
        state: of a training.
        key: what must be the same where it is read; the names are not those of this module.

    Raises:
        WriteError: the file cannot be written, for example because the disk is full.
    """
    text = json.dumps(state.values)
    about = {"format": FORMAT, "version": VERSION, **key, "values": text}
    about["sha256"] = _digest(state.tensors, about)
    try:
        with atomic_path(path, durable=True) as temporary:
            save_file(state.tensors, temporary, about)
    except SafetensorError as error:
        raise WriteError(f"cannot write {path} ({error}): free some space") from error


def read_state(path: Path, key: Mapping[str, str]) -> TrainingState:
    """Read the state in a file of `write_state`. Nothing in the file is executed.

    Args:
        path: of the file.
        key: what the state must have been written with. For each name the sentence of the error
            says "has another NAME".

    Raises:
        StateError: the file is damaged, of another version of this format, or has another key.
    """
    try:
        check_regular(path)
        with safe_open(path, "pt") as file:
            about: dict[str, str] = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, UserError) as error:
        raise StateError(path, f"is damaged ({error})") from error
    if about.get("format") != FORMAT:
        raise StateError(path, f"is not a file of the format '{FORMAT}'")
    if about.get("version") != VERSION:
        other = about.get("version")
        raise StateError(path, f"has version {other} of its format, and this one is {VERSION}")
    if about.pop("sha256", "") != _digest(tensors, about):
        raise StateError(path, "is damaged (its SHA-256 differs)")
    for name, value in key.items():
        if about.get(name) != value:
            raise StateError(
                path, f"has another {name} (it was '{about.get(name)}', not '{value}')"
            )
    return TrainingState(tensors, json.loads(about["values"]))


def _changeable(model: Model) -> dict[str, Tensor]:
    """Return all tensors that a training may change, by name; not copies."""
    module = model.module
    trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    return trained | {name: buffer.detach() for name, buffer in module.named_buffers()}


def _types(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _packed(tensor: Tensor) -> Tensor:
    """Return the tensor on the CPU as the writer needs it: contiguous, in memory of its own."""
    packed = tensor.detach().cpu().contiguous()
    alone = packed.untyped_storage().nbytes() == packed.nbytes
    return packed if alone else packed.clone()


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """SHA-256 of names, types, shapes and contents, in 64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(sorted(about.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
