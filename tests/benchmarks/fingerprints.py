"""What a method costs as far as it can be counted: the same on every machine, to the last digit.

Counted on the meta device, which knows shapes and no values, in fp32: nothing depends on the
kernels, the speed or the load of a machine. Peak memory is what tensors take there; how PyTorch
splits an operation into tensors belongs to its version, so that figure binds for one version only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.fx.experimental import _config as symbolic
from workload import RECIPE, build, noise, prompts_for

from bench.cost import (
    checkpoint_bytes,
    count_forward_flops,
    count_params,
    count_train_step_flops,
    measure_memory,
    on_meta,
    trained_state,
)
from bench.env import environment
from bench.registry import list_methods
from bench.train import Reused, make_optimizer, train_step

PEAK = "peak_bytes"

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Fingerprints:
    """Counts of every method, and the versions of the packages that they were made with."""

    packages: Mapping[str, str | None]
    methods: Mapping[str, Counts]


@dataclass(frozen=True)
class Difference:
    """A count that is no longer what it was; None on the side that does not have it.

    `binds` is False where another version of PyTorch may be the reason.
    """

    method: str
    measure: str
    stored: int | None
    now: int | None
    binds: bool = True


def count(method: str, **options: Any) -> dict[str, int]:
    """The counts of one method; those of training only where something trains."""
    model = build(method, **options)
    trainable, total = count_params(model)
    meta = on_meta(model)
    counts = {
        "trainable_params": trainable,
        "total_params": total,
        "checkpoint_bytes": checkpoint_bytes(trained_state(model)),
        "forward_flops": _forward_flops(meta),
    }
    return {**counts, **_training(meta)} if trainable else counts


def count_all() -> Fingerprints:
    """The counts of every method that can be used here."""
    methods = {method.name: count(method.name) for method in list_methods()}
    return Fingerprints(environment("cpu")["packages"], methods)


def differences(stored: Fingerprints, now: Fingerprints) -> list[Difference]:
    """Every count that differs, by method; a new or missing method differs in all of its counts."""
    same_torch = stored.packages.get("torch") == now.packages.get("torch")
    found = []
    for method in sorted({*stored.methods, *now.methods}):
        old, new = stored.methods.get(method, {}), now.methods.get(method, {})
        for measure in dict.fromkeys((*old, *new)):
            before, after = old.get(measure), new.get(measure)
            if before != after:
                known = before is not None and after is not None
                binds = same_torch or measure != PEAK or not known
                found.append(Difference(method, measure, before, after, binds))
    return found


def read(path: Path) -> Fingerprints:
    """The fingerprints in a file."""
    return Fingerprints(**json.loads(path.read_text()))


def write(fingerprints: Fingerprints, path: Path) -> None:
    """Write the fingerprints to a file."""
    path.write_text(json.dumps(vars(fingerprints), indent=1) + "\n")


def _forward_flops(meta: torch.nn.Module) -> int:
    images = torch.zeros_like(noise(1).images, dtype=torch.float32, device="meta")
    prompts = prompts_for(meta, 1)
    beside = () if prompts is None else (prompts.to(torch.device("meta")),)
    meta.eval()
    return count_forward_flops(lambda: meta(images, *beside))


class _OnMeta(Reused):
    """The trainer's view of a model on the meta device, which autocast does not know."""

    def autocast(self, device: torch.device) -> torch.autocast:
        """No change of precision."""
        return torch.autocast("cpu", enabled=False)


def _training(meta: torch.nn.Module) -> dict[str, int]:
    recipe = replace(RECIPE, precision="fp32")
    view = _OnMeta(meta.train(), recipe.precision, reuse=False)
    optimizer = make_optimizer(meta, recipe)
    views = noise(recipe.batch_size)
    images, masks = (part.to("meta") for part in (views.images, views.masks))

    prompts = prompts_for(meta, recipe.batch_size)
    on_meta_prompts = None if prompts is None else prompts.to(torch.device("meta"))

    def step() -> None:
        train_step(view, optimizer, recipe, images, masks, on_meta_prompts)
        optimizer.zero_grad(set_to_none=True)

    # Point prompts select by a mask, whose size is unknown on the meta device: as the counter, all.
    with symbolic.patch(meta_nonzero_assume_all_nonzero=True):  # type: ignore[attr-defined]
        peak = measure_memory(step, meta, optimizer, "meta").peak
    return {"train_step_flops": count_train_step_flops(step), PEAK: peak}
