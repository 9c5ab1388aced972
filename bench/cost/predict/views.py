"""How many augmented views a training keeps on the device."""

from bench.data.bank import KINDS
from bench.learn.images import MOST_BYTES, bytes_per_pixel
from bench.objects.rules import get_rule
from bench.plugins.registry import Method
from bench.spec import Recipe, Task


def kept_views(method: Method, task: Task, recipe: Recipe, images: int, kind: str) -> int:
    """The number of views (images or stacks) that are kept; 0 where each batch draws its own.

    It is 0, too, for a method that does not train. The rule is that of
    `bench.learn.images.training_images`. Methods with prompts, and those that learn maps of
    objects, count as on images with labelled instances.

    Args:
        method: what is trained.
        task: gives the side of the images and the depth of the stacks.
        recipe: gives the augmentation and the number of views that it wants.
        images: training images, or stacks of slices.
        kind: "cuda" or "cpu".
    """
    if not method.lr:
        return 0
    wanted = min(recipe.bank_views, recipe.steps * recipe.batch_size)
    views = KINDS[recipe.augmentation].count(wanted, images)
    rule = get_rule(recipe.objects)
    learned = rule if rule.channels else None
    numbers = method.prompts != "none" or learned is not None
    each = bytes_per_pixel(numbers, learned) * task.depth * task.image_size**2
    return 0 if views * each > MOST_BYTES[kind] else views
