"""How wide the objects of a class are where a model sees them: a reason why none is found."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from bench.data.components import label_components
from bench.data.decode import decode_mask
from bench.data.fit import fitted_size
from bench.data.items import Collection, Item
from bench.spec import Task

HARDLY_FOUND = 0.05  # Dice below which the width of the objects of a class is measured
LARGEST_SIDE = 2048  # px; larger masks are reduced before they are measured


def widths_of_missed_classes(
    metrics: Mapping[str, float | None],
    items: Sequence[Item],
    collection: Collection,
    task: Task,
    *,
    scale: int | None,
) -> dict[str, float]:
    """Median width of the objects of each foreground class that is hardly found.

    The width of an object is the diameter of the largest disc inside it; objects are connected
    pieces of a class (8-neighbourhood) in the truth.

    Args:
        metrics: summary of `Scoring`, with "dice/CLASS".
        items: the test images.
        collection: of the items.
        task: gives the side of the model, and how images become squares.
        scale: how many times the model sees images enlarged in windows (`--evaluation tiles`);
            None if it sees whole images at its own side.

    Returns:
        "width/CLASS", in pixels of the model's input, for each class with a Dice below
        `HARDLY_FOUND` that has an object. Empty if all classes are found.

    Raises:
        UserError: a mask cannot be read.
    """
    missed = {
        index: name
        for index, name in enumerate(collection.classes)
        if index and (metrics.get(f"dice/{name}") or 0.0) < HARDLY_FOUND
    }
    widths: dict[int, list[float]] = {index: [] for index in missed}
    for item in items if missed else ():
        mask = decode_mask(item, collection)
        small = Image.fromarray(mask)
        factor = float(scale or 1)
        if scale is None:
            small.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.NEAREST)
            fitted = fitted_size(mask.shape, task.image_size, task.fit)
            factor = math.sqrt(math.prod(fitted) / math.prod(small.size))
        shown = np.asarray(small)
        for index in missed:
            widths[index] += [factor * width for width in _widths(shown == index)]
    return {
        f"width/{name}": float(np.median(widths[index]))
        for index, name in missed.items()
        if widths[index]
    }


def _widths(inside: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]") -> list[float]:
    """Diameters in pixels of the largest discs inside the connected pieces of a mask (H, W)."""
    if not inside.any():
        return []
    numbers = label_components(inside, diagonal=True)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    count = int(numbers.max())
    deepest = ndimage.maximum(depth, numbers, np.arange(1, count + 1))
    return [float(2 * value - 1) for value in np.atleast_1d(deepest)]
