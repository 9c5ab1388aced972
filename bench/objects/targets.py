"""Distance maps of labelled objects: what a model learns in order to separate them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bench.data.components import label_components
from bench.data.items import IGNORE

Labels = npt.NDArray[Any]


def distance_maps(mask: Labels, instances: Labels) -> tuple[npt.NDArray[np.float32], Labels]:
    """Distance of each pixel to the border and to the centre of its object, as shares.

    An object is an instance inside a class; in an image whose instance numbers are all 0, a
    connected component of a class (4-neighbourhood). Its centre is the pixel that is nearest to the
    centre of mass. The pieces of an instance that others cover in part are one object: they share
    its centre and its largest distances, so that a small piece has no height of its own. The edge
    of the image is not a border, because the object may go on behind it.

    Args:
        mask: (H, W) uint8 class indices, `IGNORE` where unlabelled.
        instances: (H, W) instance numbers, 0 is none.

    Returns:
        (2, H, W) float32 in [0, 1], both divided by their largest value in the object: the distance
        to the border, 1 at the innermost pixel, and to the centre, 0 at the centre. Outside of
        objects they are 0 and 1, as at the farthest border. And where they hold, (H, W) bool: the
        pixels of objects.
    """
    numbers, count = number_objects(mask, instances)
    inside = numbers > 0
    maps = np.zeros((2, *mask.shape), np.float32)
    maps[1] = 1
    if not count:
        return maps, inside
    owners = numbers[inside]
    maps[0][inside] = _share(_depths(numbers)[inside], owners, count)
    rows, columns = np.nonzero(inside)
    sizes = np.bincount(owners, minlength=count + 1).clip(min=1)
    middles = [np.bincount(owners, place, count + 1) / sizes for place in (rows, columns)]
    offsets = np.hypot(rows - middles[0][owners], columns - middles[1][owners])
    order = np.lexsort((offsets, owners))
    nearest = order[np.unique(owners[order], return_index=True)[1]]  # of objects 1, 2, ...
    centre = np.concatenate([[0], nearest])[owners]
    distances = np.hypot(rows - rows[centre], columns - columns[centre])
    maps[1][inside] = _share(distances, owners, count)
    return maps, inside


def number_objects(mask: Labels, instances: Labels) -> tuple[Labels, int]:
    """Numbers (H, W) of the objects as of `distance_maps`, 1..n, and n; 0 is none."""
    labelled = (mask > 0) & (mask != IGNORE)
    numbers = np.where(labelled, instances, 0).astype(np.int64)
    if not instances.any():
        for index in np.unique(mask[labelled]):
            parts = label_components(mask == index)
            numbers = np.where(parts > 0, parts, numbers)
    inside = numbers > 0
    joined = numbers[inside] * 256 + mask[inside]
    objects, owners = np.unique(joined, return_inverse=True)
    numbers[inside] = owners + 1
    return numbers, len(objects)


def _depths(numbers: Labels) -> npt.NDArray[np.float64]:
    """Distance in pixels to the nearest pixel at the border of an object, plus 1."""
    edge = np.zeros(numbers.shape, bool)
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differs = numbers[here] != numbers[there]
        edge[here] |= differs
        edge[there] |= differs
    if not edge.any():  # one object fills the image: no border is seen
        return np.ones(numbers.shape)
    return np.asarray(ndimage.distance_transform_edt(~edge)) + 1


def _share(values: npt.NDArray[Any], owners: Labels, count: int) -> npt.NDArray[Any]:
    """Values (n,) divided by the largest of their object; 0 where that is 0."""
    largest = np.zeros(count + 1)
    np.maximum.at(largest, owners, values)
    return np.divide(values, largest[owners], out=np.zeros(len(values)), where=largest[owners] > 0)
