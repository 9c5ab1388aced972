"""What a method costs, told from its shape alone: no data, no weights, no training."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from segment_anything.modeling import MaskDecoder
from torch import Tensor, nn

from bench.cost import (
    checkpoint_bytes,
    count_forward_flops,
    count_params,
    count_train_step_flops,
    trained_state,
)
from bench.errors import UnsupportedError, UserError, no_such
from bench.learn.loop import Supervised
from bench.learn.losses import get_loss
from bench.plugins.registry import Method
from bench.sam.build import ARCHITECTURES, build_sam
from bench.sam.prompts import PromptRule, Prompts
from bench.spec import Cell, OptionValue, Recipe, Task


def cost_cards(
    methods: Sequence[tuple[Method, Mapping[str, OptionValue]]],
    backbones: str,
    image_size: int | None,
    classes: int,
    batch: int,
    depth: int = 1,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Cost cards of every method on every backbone; methods from scratch once.

    Beside them a sentence for every method that cannot work on a backbone.

    Args:
        methods: each with its options that differ from the defaults.
        backbones: names, separated by commas.
        image_size: side in pixels; None for each backbone's own.
        classes: foreground classes.
        batch: images, or stacks of slices, of the training step.
        depth: slices of a stack; 1 for images.

    Raises:
        UserError: anything unknown or out of range, or no method can work on any backbone.
    """
    given = {"classes": classes, "batch-size": batch, "image-size": image_size, "depth": depth}
    for option, value in given.items():
        if value is not None and value < 1:
            raise UserError(f"--{option} is {value}: give 1 or more")
    cards, refused = {}, []
    for backbone in (word.strip() for word in backbones.split(",")):
        if backbone not in ARCHITECTURES:
            raise no_such("backbone", backbone, ARCHITECTURES)
        size = image_size or ARCHITECTURES[backbone].image_size
        for method, options in methods:
            on = "none" if method.from_scratch else backbone
            try:
                card = cost_card(
                    method, options, Task(classes + 1, size, on, "random", depth), batch
                )
            except UnsupportedError as error:
                refused.append(f"{method.name} on {backbone}: {error}")
                continue
            cards[card["method"], on, size] = card
    if refused and not cards:
        raise UserError(refused[0])
    return list(cards.values()), refused


def cost_card(
    method: Method, options: Mapping[str, OptionValue], task: Task, batch: int = 1
) -> dict[str, Any]:
    """Count what `method` costs for `task`, on the meta device; see docs/protocol/costs.md.

    Args:
        method: what to build.
        options: of the method, those that differ from its defaults.
        task: its weights are not read.
        batch: images, or volumes of `task.depth` slices, of the training step.

    Raises:
        UserError: an option is out of range.
        UnsupportedError: the method cannot do this task.
    """
    with torch.device("meta"):
        model = method.build(task, **options).to("meta")
    recipe = Recipe(lr=method.lr or 0.0)
    trainable, total = count_params(model)
    shape: list[int] = []

    def images(count: int) -> Tensor:
        return torch.zeros(count * task.depth, 3, task.image_size, task.image_size, device="meta")

    def forward(count: int) -> Tensor:
        beside = _prompts(model, count * task.depth, task.image_size)
        logits: Tensor = model(images(count), *beside)
        shape[:] = logits.shape
        return logits

    def step() -> None:
        masks = torch.zeros(batch * task.depth, *shape[2:], dtype=torch.uint8, device="meta")
        loss = get_loss(recipe.loss)
        if isinstance(model, Supervised):
            model.training_loss(images(batch), masks, loss).backward()
        else:
            loss(forward(batch), masks).backward()

    model.eval()
    forward_flops = count_forward_flops(lambda: forward(1))
    output_shape = list(shape)
    _train(model)
    label = Cell(method.name, "", task, recipe, options).label
    return {
        "method": label,
        "backbone": task.backbone,
        "image_size": task.image_size,
        "num_classes": task.num_classes - 1,
        "total_params": total,
        "trainable_params": trainable,
        "added_params": _added(model, task),
        "forward_flops": forward_flops,
        "train_step_flops": count_train_step_flops(step) if trainable else 0,
        "train_batch_size": batch,
        "output_shape": output_shape,
        "saved_bytes": checkpoint_bytes(trained_state(model)),
        "prompts": method.prompts,
    }


def _train(model: nn.Module) -> None:
    """Training mode but for BatchNorm: it counts nothing, and refuses a single number a channel."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _prompts(model: nn.Module, count: int, size: int) -> tuple[Prompts, ...]:
    """One prompt an image, for a model that takes prompts."""
    rule: PromptRule | None = getattr(model, "prompt_rule", None)
    if rule is None:
        return ()
    return (rule.example(size, count).to(torch.device("meta")),)


def _added(model: nn.Module, task: Task) -> int:
    """Parameters without a place in the plain foundation model of as many mask tokens."""
    if task.backbone == "none":
        return sum(parameter.numel() for parameter in model.parameters())
    decoders = [part for part in model.modules() if isinstance(part, MaskDecoder)]
    tokens: int = decoders[0].num_mask_tokens if decoders else 4
    with torch.device("meta"):
        plain = {
            name for name, _ in build_sam(task.backbone, task.image_size, tokens).named_parameters()
        }
    return sum(p.numel() for name, p in model.named_parameters() if _plain_name(name) not in plain)


def _plain_name(name: str) -> str:
    """The name that a parameter has in the plain model, without what methods wrap round it."""
    name = re.sub(r"\.(base|layer|base_layer)(?=\.)", "", name)
    name = name.removeprefix("head.")
    return f"prompt_encoder.{name}" if name.startswith("no_mask_embed.") else name
