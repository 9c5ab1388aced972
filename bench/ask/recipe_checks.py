"""What cannot be run: values that do not fit together, unlabelled objects, impossible models."""

from collections.abc import Mapping

from bench.ask.proposer import proposer_cell
from bench.ask.request import Request
from bench.data.items import Collection
from bench.errors import UserError
from bench.evaluate.modes import get_mode
from bench.objects.rules import get_rule
from bench.plugins.registry import Method, get_method
from bench.spec import Cell, Recipe, Task


def check_recipe(recipe: Recipe, mask_grid: str) -> None:
    """Check the values of a recipe that depend on each other.

    Args:
        recipe: of a cell.
        mask_grid: of its task.

    Raises:
        UserError: both the evaluation mode and the rule for objects separate them, the mode has no
            windows to magnify or no use for another grid of masks, or a batch is to be divided into
            more parts than it has images.
    """
    mode = get_mode(recipe.evaluation)
    if mode.separates_objects and get_rule(recipe.objects).separates:
        raise UserError(
            f"--evaluation {recipe.evaluation} finds objects itself, and --objects"
            f" {recipe.objects} would find others: leave one of them out"
        )
    if recipe.zoom != Recipe.zoom and not mode.magnifies:
        raise UserError(
            f"--zoom {recipe.zoom} enlarges images before windows are cut, and --evaluation"
            f" {recipe.evaluation} cuts none: give --evaluation tiles"
        )
    if mask_grid != Task.mask_grid and mode.separates_objects:
        raise UserError(
            f"--evaluation {recipe.evaluation} takes the masks of SAM's own decoder, so --mask-grid"
            f" {mask_grid} would have no effect: leave one of them out"
        )
    if recipe.accumulate > recipe.batch_size:
        raise UserError(
            f"--accumulate is {recipe.accumulate}, but a batch has {recipe.batch_size}: give a"
            " number up to the batch size"
        )


def check_object_labels(request: Request, collection: Collection) -> None:
    """Refuse to learn distances where no object is labelled one by one.

    Args:
        request: gives the rule, and the proposer, which learns distances, too.
        collection: the dataset that is trained on.

    Raises:
        UserError: the rule learns from instance maps, and no image has one.
    """
    if any(item.instances is not None for item in collection.items):
        return
    if request.proposer is not None:
        raise UserError(
            f"--proposer {request.proposer} learns from objects that are labelled one by one, and"
            f" '{collection.name}' has no instance maps: give a dataset with instance maps, or"
            " leave --evaluation proposals out"
        )
    rule = None if request.objects is None else get_rule(request.objects)
    if rule and rule.channels:
        raise UserError(
            f"--objects {rule.name} learns from objects that are labelled one by one, and"
            f" '{collection.name}' has no instance maps: give --objects watershed, or a dataset"
            " with instance maps"
        )


def check_models(cell: Cell) -> None:
    """Build the model of a cell, and that of its proposer, on the meta device.

    What the method does not support is no error here, and neither is a bug of it: its cells record
    the reason, and other cells can run.

    Args:
        cell: its recipe names the proposer.

    Raises:
        UserError: an option of a method is out of range, or the image size does not suit it.
    """
    _build(get_method(cell.method), cell.options, cell.task)
    if cell.recipe.proposer:
        other = proposer_cell(cell)
        _build(get_method(other.method), other.options, other.task)


def _build(method: Method, options: Mapping[str, object], task: Task) -> None:
    import torch

    from bench.sam.surgery import require_size

    try:
        with torch.device("meta"):
            module = method.build(task, **options)
    except UserError:
        raise
    except Exception:
        return  # unsupported, or a bug
    require_size(module, method.name)
