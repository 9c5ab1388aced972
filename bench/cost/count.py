"""Exact costs of a model from its shape alone: no images, no weights, no training.

`count_model` gives the values that a cell records, and `cost_cards` those of the `cost` command.
Definitions are in docs/protocol/costs.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.cost.flops import count_flops, count_flops_of_parts
from bench.cost.params import checkpoint_bytes, count_params, count_params_of_parts, trained_state
from bench.errors import UnsupportedError, UserError, check_number
from bench.learn.model import Model
from bench.plugins.registry import Method
from bench.sam.backbone import get_backbone
from bench.sam.foundation import count_added
from bench.sam.prompts import Prompts
from bench.sam.surgery import require_size
from bench.spec import Cell, OptionValue, PromptSource, Recipe, Task

META = torch.device("meta")


@dataclass(frozen=True)
class Counts:
    """Exact costs of a model for its task; FLOPs are 2 x multiply-adds.

    Attributes:
        trainable_params: parameters that training changes.
        total_params: all parameters.
        saved_bytes: size of a file with all tensors that training may change, without the header
            of a kept model; 0 if nothing is trainable.
        forward_flops: for one image, or for one stack of slices.
        train_step_flops: for one training step of a whole batch, frozen stages included; 0 if
            nothing is trainable.
        part_params: name of each direct child of the module with parameters, and "" for parameters
            of the module itself, to its numbers of trainable and of all parameters.
        part_flops: name of each direct child, and "" for operations outside all of them, to its
            share of `forward_flops`; parts without FLOPs are left out.
        output_shape: (D, K, S, S), shape of the logits of one image (D = 1) or one stack of D
            slices.
    """

    trainable_params: int
    total_params: int
    saved_bytes: int
    forward_flops: int
    train_step_flops: int
    part_params: Mapping[str, tuple[int, int]]
    part_flops: Mapping[str, int]
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class CostCard:
    """The costs of one method with its options on one backbone.

    Attributes:
        label: the method with its options, as in tables.
        task: the task that it was counted for.
        prompts: the prompt origin of the method with these options.
        batch: number of images, or stacks of slices, in the training step.
        added_params: parameters that the plain foundation model does not have; all parameters for a
            method from scratch.
        counts: the counted costs.
    """

    label: str
    task: Task
    prompts: PromptSource
    batch: int
    added_params: int
    counts: Counts

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `cost --json` prints; its "num_classes" are foreground classes."""
        counts = self.counts
        return {
            "method": self.label,
            "backbone": self.task.backbone,
            "image_size": self.task.image_size,
            "mask_grid": self.task.mask_grid,
            "num_classes": self.task.num_classes - 1,
            "total_params": counts.total_params,
            "trainable_params": counts.trainable_params,
            "added_params": self.added_params,
            "forward_flops": counts.forward_flops,
            "train_step_flops": counts.train_step_flops,
            "train_batch_size": self.batch,
            "output_shape": list(counts.output_shape),
            "saved_bytes": counts.saved_bytes,
            "prompts": self.prompts,
        }


def count_model(model: Model, batch: int) -> Counts:
    """Count parameters, operations, and the size of the file of a trained model.

    A model that takes prompts is counted with one prompt per image.

    Args:
        model: its module is on the meta device, where nothing is computed. The module is left with
            BatchNorm in evaluation mode, all else in training mode, and gradients without values.
        batch: number of images, or stacks of `task.depth` slices, in the training step.
    """
    task, module, shape = model.task, model.module, list[int]()

    def images(count: int) -> Tensor:
        return torch.zeros(count * task.depth, 3, task.image_size, task.image_size, device=META)

    def prompts(count: int) -> Prompts | None:
        if model.prompt_rule is None:
            return None
        return model.prompt_rule.example(task.image_size, count * task.depth).to(META)

    def forward() -> None:
        others = () if model.prompt_rule is None else (prompts(1),)
        shape[:] = module(images(1), *others).shape

    def step() -> None:
        masks = torch.zeros(batch * task.depth, *shape[2:], dtype=torch.uint8, device=META)
        model.exact_loss(images(batch), masks, prompts(batch)).backward()

    trainable, total = count_params(module)
    module.eval()
    part_flops = count_flops_of_parts(forward, module)
    _train_but_batch_norms(module)
    return Counts(
        trainable_params=trainable,
        total_params=total,
        saved_bytes=checkpoint_bytes(trained_state(module)),
        forward_flops=sum(part_flops.values()),
        train_step_flops=count_flops(step) if trainable else 0,
        part_params=count_params_of_parts(module),
        part_flops=part_flops,
        output_shape=tuple(shape),
    )


def cost_cards(
    methods: Sequence[tuple[Method, Mapping[str, OptionValue]]],
    backbones: str,
    image_size: int | None,
    classes: int,
    batch: int,
    depth: int = 1,
    mask_grid: str = Task.mask_grid,
) -> tuple[list[CostCard], list[str]]:
    """Count the costs of every method on every backbone.

    A method from scratch has one card for each image size, whatever the number of backbones.

    Args:
        methods: each with its options that differ from the defaults.
        backbones: names, separated by commas.
        image_size: side in pixels; None for each backbone's own.
        classes: number of foreground classes, without the background.
        batch: number of images, or stacks of slices, in the training step.
        depth: number of slices in a stack; 1 for images.
        mask_grid: where decoders predict, in `bench.spec.MASK_GRIDS`.

    Returns:
        The cards, and a sentence for each method and backbone that do not work together.

    Raises:
        UserError: a backbone is unknown, a number is out of bounds, an option of a method is out of
            range, or no method works on any backbone.
    """
    counts = {"classes": classes, "batch-size": batch, "image-size": image_size, "depth": depth}
    for option, value in counts.items():
        if value is not None:
            check_number(option, value)
    cards, refused = dict[tuple[str, str, int], CostCard](), []
    for backbone in (word.strip() for word in backbones.split(",")):
        size = image_size or get_backbone(backbone).image_size
        for method, options in methods:
            name = "none" if method.from_scratch else backbone
            task = Task(classes + 1, size, name, "random", depth, mask_grid=mask_grid)
            try:
                card = cost_card(method, options, task, batch)
            except UnsupportedError as error:
                refused.append(f"{method.name} on {backbone}: {error}")
                continue
            cards[card.label, name, size] = card
    if refused and not cards:
        raise UserError(refused[0])
    return list(cards.values()), refused


def cost_card(
    method: Method, options: Mapping[str, OptionValue], task: Task, batch: int = 1
) -> CostCard:
    """Build `method` on the meta device and count what it costs for `task`.

    Args:
        method: the method to build.
        options: its options that differ from the defaults.
        task: the task to build it for; its weights are not read.
        batch: number of images, or stacks of `task.depth` slices, in the training step.

    Raises:
        UserError: an option is out of range, or the backbone is unknown.
        UnsupportedError: the method cannot do this task.
    """
    with META:
        module = method.build(task, **options).to(META)
    require_size(module, method.name)
    recipe = Recipe(lr=method.lr or 0.0)
    return CostCard(
        label=Cell(method.name, "", task, recipe, options).label,
        task=task,
        prompts=method.prompt_origin(options),
        batch=batch,
        added_params=count_added(module),
        counts=count_model(Model(module, task, recipe), batch),
    )


def _train_but_batch_norms(module: nn.Module) -> None:
    """Set training mode for all modules except BatchNorm.

    In training mode, BatchNorm raises an error for a batch with one value per channel. Its
    operations are counted in neither mode.
    """
    module.train()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
