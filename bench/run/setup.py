"""What a cell is made of before its training: the parts of its dataset, its model, its prompts."""

import torch

from bench.data.items import Collection
from bench.data.split import Split, join_groups, split
from bench.evaluate.modes import get_mode
from bench.learn.model import Model
from bench.objects.rules import get_rule
from bench.plugins.registry import get_method
from bench.sam.encoder import checkpoint_blocks
from bench.spec import Cell, PromptSource


def split_of(cell: Cell, collection: Collection) -> Split:
    """The parts of a cell's dataset.

    Args:
        cell: gives fold, seed, label budget, ratio, and the groups that are joined.
        collection: the dataset of the cell, not the one of `--test-dataset`.

    Raises:
        UserError: the dataset cannot be split in this way.
    """
    return split(
        join_groups(collection, cell.joined),
        fold=cell.fold,
        folds=cell.folds,
        seed=cell.seed,
        labels=cell.labels,
        ratio=cell.split,
    )


def build_model(cell: Cell, device: torch.device) -> Model:
    """The model of a cell before its training; sets the seed of torch's generator.

    Args:
        cell: gives method, options, task, recipe and seed.
        device: device of the model.

    Raises:
        UserError: the method or the loss is unknown, or the options or weights cannot be used.
        UnsupportedError: the method cannot be used for the task, or not with checkpointing.
    """
    torch.manual_seed(cell.seed)
    task = get_rule(cell.recipe.objects).built_task(cell.task)
    module = get_method(cell.method).build(task, **cell.options).to(device)
    if cell.recipe.checkpointing:
        checkpoint_blocks(module)
    return Model(module, cell.task, cell.recipe)


def prompt_origin(cell: Cell) -> PromptSource:
    """The origin of the prompts of a cell at evaluation: "none", "automatic" or "oracle".

    Raises:
        UserError: the method or the evaluation mode is unknown.
    """
    method = get_method(cell.method)
    return get_mode(cell.recipe.evaluation).prompt_origin(method.prompt_origin(cell.options))
