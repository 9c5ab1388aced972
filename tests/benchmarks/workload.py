"""The work that is counted and timed: noise images, sam_nano, random weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from bench.learn.frozen import run_frozen_stages
from bench.learn.images import LabelledImages
from bench.learn.loop import fit, make_optimizer, train_step
from bench.learn.model import Model
from bench.plugins.registry import get_method
from bench.sam import Prompts
from bench.spec import Recipe, Task

TASK = Task(num_classes=3, image_size=256, backbone="sam_nano", weights="random")
# Spelt out, so that figures stay comparable when the protocol's own recipe changes.
RECIPE = Recipe(lr=1e-3, loss="ce_dice", batch_size=8, precision="bf16")

Work = Callable[[], object]


def build(method: str, **options: Any) -> nn.Module:
    """The method's model for the task, the same every time."""
    torch.manual_seed(0)
    return get_method(method).build(TASK, **options)


def noise(count: int) -> LabelledImages:
    """Images (count, 3, 256, 256) and masks (count, 256, 256) without meaning, always the same."""
    random = torch.Generator().manual_seed(0)
    side, classes = TASK.image_size, TASK.num_classes
    images = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=random)
    masks = torch.randint(classes, (count, side, side), dtype=torch.uint8, generator=random)
    return LabelledImages(images, masks)


def prompts_for(model: Model, count: int) -> Prompts | None:
    """One prompt per image where the model takes prompts."""
    rule = model.prompt_rule
    return None if rule is None else rule.example(TASK.image_size, count)


def training(method: str, batch: int, recipe: Recipe = RECIPE) -> Work:
    """One step of the trainer on a batch, as in a cell: frozen stages have run before."""
    model, views = Model(build(method).train(), TASK, recipe), noise(batch)
    optimizer, prompts = make_optimizer(model), prompts_for(model, batch)
    inputs = run_frozen_stages(model, views.images)
    return lambda: train_step(model, optimizer, inputs, views.masks, prompts)


def inference(method: str, batch: int) -> Work:
    """Logits of a batch, as in the evaluation of a cell."""
    model = Model(build(method).eval(), TASK, RECIPE)
    images, prompts = noise(batch).images, prompts_for(model, batch)
    return lambda: _without_gradients(model, images, prompts)


def loop(steps: int = 100) -> Work:
    """The training loop around a model that does next to nothing: batches, schedule, curve."""
    recipe = replace(RECIPE, steps=steps, batch_size=1)
    model = Model(nn.Conv2d(3, TASK.num_classes, 1), TASK, recipe)
    views = noise(4)
    small = LabelledImages(views.images[:, :, :16, :16], views.masks[:, :16, :16])
    return lambda: fit(model, small, seed=0, report=lambda row: None, validate=lambda: None)


def make(name: str, batch: int = 2) -> Work:
    """The work of that name: "train <method>", "infer <method>" or "loop".

    Raises:
        ValueError: there is no such work.
        UserError: there is no such method.
    """
    kind, _, method = name.partition(" ")
    if kind == "loop":
        return loop()
    if kind not in ("train", "infer") or not method:
        raise ValueError(f"no work '{name}': write 'train <method>', 'infer <method>' or 'loop'")
    return {"train": training, "infer": inference}[kind](method, batch)


def _without_gradients(model: Model, images: torch.Tensor, prompts: Prompts | None) -> object:
    with torch.no_grad():
        return model.forward(images, prompts)
