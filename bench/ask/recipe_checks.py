"""Which values of a recipe do not fit together."""

from bench.errors import UserError
from bench.evaluate.modes import get_mode
from bench.objects.rules import get_rule
from bench.spec import Recipe, Task


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
