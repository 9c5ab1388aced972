"""What the suite adds to a plain training loop, and what it saves by running frozen work once.

python tests/benchmarks/harness.py            suite / plain loop for the same work; aim: 1.03
python tests/benchmarks/harness.py --reuse    epoch without / with reuse; aim: 10

Ends with 1 if an aim is missed beyond doubt. Explained in docs/benchmarks.md.
"""

import argparse
import copy
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation

import numpy as np
import torch
import torch.nn.functional as F
from pairing import CLOCKS, Ratio, ratio, take_turns
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from workload import RECIPE, TASK, build, noise

from bench.learn.frozen import run_frozen_stages
from bench.learn.images import LabelledImages
from bench.learn.loop import fit, make_optimizer, train_step
from bench.learn.model import Model, ModelInput
from bench.spec import Recipe

OVERHEAD_AIM, REUSE_AIM = 1.03, 10.0
SEED = 0


@dataclass(frozen=True)
class Case:
    """Training that both loops do: whole models on images, or a head on features kept."""

    method: str
    steps: int
    reuse: bool


# With reuse a step is short, so that the suite's own work weighs most.
CASES = (Case("full", 4, False), Case("unet", 4, False), Case("frozen_head", 40, True))
REUSING = (("frozen_head", "decoder"), ("frozen_head", "image"), ("decoder_only", "image"))


def plain_loop(model: Any, views: LabelledImages, recipe: Recipe, keep_features: bool) -> float:
    """Train as a script without the suite would, on the same batches; returns the mean loss."""
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.lr, weight_decay=recipe.weight_decay)
    warmup = min(recipe.warmup_steps, recipe.steps // 2)

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    rng = np.random.default_rng(SEED)
    passes = math.ceil(recipe.steps * recipe.batch_size / len(views))
    order = np.concatenate([rng.permutation(len(views)) for _ in range(passes)])
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16")
    inputs = views.images
    if keep_features:
        with torch.no_grad(), autocast:
            normalised = (inputs.float() / 255 - model.pixel_mean) / model.pixel_std
            inputs = model.image_encoder(normalised)
    losses = []
    for step in range(recipe.steps):
        rows = torch.from_numpy(order[step * recipe.batch_size : (step + 1) * recipe.batch_size])
        with autocast:
            if keep_features:
                logits = model.head(inputs[rows], views.images.shape[-1])
            else:
                logits = model(inputs[rows].float() / 255)
        loss = _cross_entropy_and_dice(logits.float(), views.masks[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    return torch.stack(losses).mean().item()


def suite_loop(model: nn.Module, views: LabelledImages, recipe: Recipe, reuse: bool) -> float:
    """The same training by `bench.learn.loop.fit`, one point at its end; returns the mean loss."""
    (last,) = fit(
        Model(model, TASK, recipe),
        views,
        seed=SEED,
        report=lambda row: None,
        validate=lambda: None,
        points=1,
        keep_frozen=reuse,
    )
    return last["loss"]


def measure_overhead(case: Case, pairs: int, clock: str) -> Ratio:
    """Time of the suite's loop over that of the plain loop.

    Raises:
        RuntimeError: they did not do the same work, as the losses tell.
    """
    views, recipe = noise(RECIPE.batch_size), replace(RECIPE, steps=case.steps)
    start = build(case.method)
    losses: dict[Callable[..., float], float] = {}

    def timed(loop: Callable[..., float]) -> float:
        model, now = copy.deepcopy(start), CLOCKS[clock]
        began = now()
        losses[loop] = loop(model, views, recipe, case.reuse)
        return now() - began

    for loop in (suite_loop, plain_loop):  # warm-up
        timed(loop)
    times = take_turns(lambda: timed(suite_loop), lambda: timed(plain_loop), pairs)
    if not math.isclose(losses[suite_loop], losses[plain_loop], rel_tol=1e-3):
        raise RuntimeError(f"{case.method}: the two loops end with different losses: {losses}")
    return ratio(*times)


def measure_reuse(
    method: str, pairs: int, clock: str, images: int = 16, loss_at: str = "image"
) -> Ratio:
    """Time of one epoch that runs the frozen stages every time over one that kept their output.

    Computing that output once, before the first epoch, is in neither.
    """
    views, batch = noise(images), RECIPE.batch_size
    recipe = replace(RECIPE, loss_at=loss_at)

    def epoch(reuse: bool) -> Callable[[], float]:
        model, now = Model(build(method).train(), TASK, recipe), CLOCKS[clock]
        optimizer, rows = make_optimizer(model), views.images
        inputs = run_frozen_stages(model, rows) if reuse else ModelInput(rows)

        def run() -> float:
            began = now()
            for rows in torch.randperm(images).split(batch):
                train_step(model, optimizer, inputs[rows], views.masks[rows])
            return now() - began

        return run

    without, kept = epoch(False), epoch(True)
    for run in (without, kept):  # warm-up
        run()
    return ratio(*take_turns(without, kept, pairs))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    asked = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as in a cell
    if asked.reuse:
        title, aim, wanted = "epoch without reuse / with reuse", REUSE_AIM, "above"
        found = {
            f"{name}, loss at the {place}": measure_reuse(
                name, asked.pairs, asked.clock, loss_at=place
            )
            for name, place in REUSING
        }
    else:
        title, aim, wanted = "suite's loop / plain loop", OVERHEAD_AIM, "within"
        found = {case.method: measure_overhead(case, asked.pairs, asked.clock) for case in CASES}
    table = Table("work", "ratio", "95 % interval", "pairs", f"aim {aim:g}", title=title)
    verdicts = {name: one.against(aim) for name, one in found.items()}
    for name, one in found.items():
        word = {"unclear": "unclear", wanted: "met"}.get(verdicts[name], "missed")
        table.add_row(name, *one.shown(), word)
    Console(highlight=False).print(table)
    return int(any(verdict not in ("unclear", wanted) for verdict in verdicts.values()))


def _cross_entropy_and_dice(logits: Tensor, masks: Tensor) -> Tensor:
    target, labelled = masks.long(), (masks != 255)[:, None]
    entropy = F.cross_entropy(logits, target, ignore_index=255)
    rows = torch.where(labelled, target[:, None], 0)
    truth = torch.zeros_like(logits).scatter_(1, rows, 1.0) * labelled
    probability = logits.softmax(1) * labelled
    overlap = (probability * truth).sum((0, 2, 3))
    sizes = (probability + truth).sum((0, 2, 3))
    return entropy + 1 - ((2 * overlap + 1) / (sizes + 1)).mean()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reuse", action="store_true", help="measure reuse instead")
    parser.add_argument("--pairs", metavar="N", type=int, default=15, help="runs of each kind")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
