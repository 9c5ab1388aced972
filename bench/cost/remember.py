"""Costs that follow from settings and code alone, remembered between cells and commands."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.data.remember import Remembered, State
from bench.files import code_hash
from bench.plugins import registry
from bench.plugins.registry import Method

_PACKAGE = Path(__file__).parents[1]
# Libraries that models are made of, and that count or predict them.
_LIBRARIES = (
    *("torch", "torchvision", "segment-anything", "timm", "segmentation-models-pytorch"),
    *("monai", "einops", "peft", "transformers", "fvcore", "numpy", "scipy"),
)


def remembered(subject: str, method: Method, settings: object, compute: Callable[[], Any]) -> Any:
    """What `compute` returns, or what it returned in an earlier process with the same settings.

    A result is used again only with the same source files of this project, the same versions of
    its libraries, and the same instructions of the processor.

    Args:
        subject: what the results are.
        method: results of methods of plugins are not remembered, because it is not known which
            code they depend on.
        settings: all that the result depends on besides the code. Its `repr` must tell all of it.
        compute: returns plain containers that JSON can hold, not None; its errors are passed on,
            and not remembered.
    """
    if not registry.is_built_in(method):
        return compute()
    state, name = State(_code(method.file), settled=True), repr(settings)
    result = Remembered(subject, _PACKAGE).recall(name, state)
    if result is None:
        result = compute()
        results = Remembered(subject, _PACKAGE)  # with what other processes wrote in the meantime
        results.keep(name, state, result)
        results.save()
    return result


@functools.cache
def _code(method_file: str) -> str:
    """What results depend on besides settings, as a hash; methods may share code of their folder.

    Args:
        method_file: of a built-in method.
    """
    methods = Path(method_file).parent
    parts = [
        code_hash(folder, sorted(folder.rglob("*.py")), _LIBRARIES)
        for folder in (_PACKAGE, methods)
    ]
    return " ".join([*parts, torch.backends.cpu.get_cpu_capability()])
