"""Which methods run on which families of backbones: every pair is built on the meta device."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.errors import UnsupportedError, UserError
from bench.plugins.registry import Method
from bench.sam.backbone import Backbone
from bench.spec import Task


@dataclass(frozen=True)
class Pair:
    """A method on a backbone.

    Attributes:
        method: its name.
        backbone: its name.
        refusal: why the method does not run on the backbone; None if it runs.
        trainable: number of trainable parameters for one foreground class; 0 if it does not run.
    """

    method: str
    backbone: str
    refusal: str | None
    trainable: int = 0


def family_of(backbone: Backbone) -> str:
    """The family of a backbone: the name of the file that registers it."""
    return Path(backbone.file).stem


def smallest_of_families(backbones: Sequence[Backbone]) -> list[Backbone]:
    """The smallest backbone of each family, in the order of their sizes."""
    smallest: dict[str, Backbone] = {}
    for backbone in sorted(backbones, key=lambda one: (one.parameters, one.name)):
        smallest.setdefault(family_of(backbone), backbone)
    return list(smallest.values())


def try_pairs(methods: Sequence[Method], backbones: Sequence[Backbone]) -> list[Pair]:
    """Build every method with its default options on every backbone, at the backbone's own side.

    Nothing is computed and no weights are read.

    Args:
        methods: those from scratch are left out, as they use no backbone.
        backbones: to try.
    """
    adapting = [method for method in methods if not method.from_scratch]
    return [_try(method, backbone) for method in adapting for backbone in backbones]


def _try(method: Method, backbone: Backbone) -> Pair:
    task = Task(2, backbone.image_size, backbone.name, "random")
    try:
        with torch.device("meta"):
            module = method.build(task)
    except (UnsupportedError, UserError) as error:
        return Pair(method.name, backbone.name, str(error))
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return Pair(method.name, backbone.name, None, trainable)
