"""Record the size of what enters and leaves each module of a model, in the order of the calls."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

DIGITS = 8  # significant decimal digits of stored values; float32 has 7


class Trace:
    """Norms of the inputs and outputs of modules, apart from those of `torch.nn` itself.

    Indices in names are replaced by a star, so that all blocks of an encoder share one name.

    Attributes:
        norms: name of the modules to their norms (see `norm`): input and output of each call in
            turn.
        events: (name, position in `norms[name]`), in the order in which the values appear.
        kinds: name of the modules to the name of their class; the last one where they differ.
    """

    def __init__(self) -> None:
        self.norms: dict[str, list[float]] = {}
        self.events: list[tuple[str, int]] = []
        self.kinds: dict[str, str] = {}

    def hooks(self, name: str, kind: str) -> tuple[Callable[..., None], Callable[..., None]]:
        """Two hooks of a module, before and after its call, that add its norms to this trace.

        Args:
            name: of the module, of `starred`.
            kind: name of its class.
        """

        def before(module: nn.Module, inputs: Any, keywords: Any) -> None:
            self._add(name, kind, norm((inputs, keywords)))

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            self._add(name, kind, norm(output))

        return before, after

    def _add(self, name: str, kind: str, value: float) -> None:
        norms = self.norms.setdefault(name, [])
        self.kinds[name] = kind
        self.events.append((name, len(norms)))
        norms.append(value)


@contextmanager
def tracing(module: nn.Module) -> Iterator[Trace]:
    """Trace the calls of all modules below `module` until the block ends.

    Yields:
        The trace, which grows with each call. `module` itself and modules of `torch.nn` are not in
        it.
    """
    trace, handles = Trace(), []
    for path, part in module.named_modules():
        if not path or _is_plain(part):
            continue

        before, after = trace.hooks(starred(path), type(part).__name__)
        handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(part.register_forward_hook(after))
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()


def starred(path: str) -> str:
    """A path of modules with a star in place of each index behind a dot, as `blocks.*.attn`."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", path)


def part_of(path: str) -> str:
    """The part of a model to which a path belongs: its first word, without "image_" before it."""
    return path.partition(".")[0].removeprefix("image_")


def owners(module: nn.Module) -> Mapping[str, str]:
    """Name of each parameter to "part: class", the class of the innermost module not of `torch.nn`.

    It is the class of `module` where no other one is left.
    """
    classes = {path: "" if _is_plain(m) else type(m).__name__ for path, m in module.named_modules()}
    found = {}
    for name, _ in module.named_parameters():
        path = name.rpartition(".")[0]
        while path and not classes[path]:
            path = path.rpartition(".")[0]
        found[name] = f"{part_of(name)}: {classes[path] or type(module).__name__}"
    return found


def norm(value: Any) -> float:
    """Root of the weighted mean square of the first tensor in `value`, with `DIGITS` digits.

    It is 0 if the first tensor is empty, or if the (nested) lists and dicts hold none.
    The weights repeat from 0.5 to 1.5 along the tensor, so that an exchange of entries changes the
    norm, too.
    """
    tensor = _first_tensor(value)
    if tensor is None or not tensor.numel():
        return 0.0
    flat = tensor.detach().double().flatten()
    weights = 0.5 + (torch.arange(len(flat)) * 7919 % 1009) / 1008
    return rounded((flat.square() * weights).mean().sqrt().item())


def rounded(value: float) -> float:
    """A value with the `DIGITS` significant digits that are stored."""
    return float(f"{value:.{DIGITS}g}")


def _is_plain(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        tensors = (_first_tensor(entry) for entry in value)
        return next((tensor for tensor in tensors if tensor is not None), None)
    return None
