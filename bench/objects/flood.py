"""Regions around the maxima of a height map: the watershed, without its shallow maxima."""

from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.measure import label
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

Mask = npt.NDArray[np.bool_]
Heights = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]

_NEIGHBOURS = ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]))  # every pair once


def flood(heights: Heights, inside: Mask, least_depth: float) -> Numbers:
    """Divide a mask into one region for each maximum that is deep enough.

    A maximum counts as a seed if every way from it to a higher one passes a saddle that is at least
    `least_depth` lower; these are the h-maxima of mathematical morphology. Each connected component
    of the mask (4-neighbourhood) has at least one seed, and no region leaves its component.

    The usual way to h-maxima, a reconstruction of the map, takes many passes over the image. Here
    the mask is flooded from all maxima once, and regions whose maximum is not deep enough are
    joined to the neighbour behind their highest saddle.

    Args:
        heights: (H, W) finite values; those outside of the mask are not used.
        inside: (H, W) the mask.
        least_depth: in the unit of the heights, at least 0.

    Returns:
        (H, W) numbers 1..n of the regions, 0 outside of the mask and nowhere inside.
    """
    if not inside.any():
        return np.zeros(inside.shape, np.int32)
    low = np.where(inside, heights, heights[inside].min() - 1)
    seeds = label(local_maxima(low) & inside, connectivity=2)
    components = label(inside, connectivity=1)
    seeds = _seeds_of_all(components, seeds)
    basins = watershed(-low, seeds, mask=inside, connectivity=1)
    joined = _join(basins, seeds, low, least_depth)
    return np.asarray(joined[basins], np.int32)


def _seeds_of_all(components: npt.NDArray[Any], seeds: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Seeds with numbers of their own in each component, and one in components without a seed.

    Two components that meet at a corner can share a maximum, or one can have none there.
    """
    count = int(components.max()) + 1
    both = np.where(seeds > 0, seeds.astype(np.int64) * count + components, 0)
    places = both > 0
    numbers = np.zeros(seeds.shape, np.int32)
    unique, inverse = np.unique(both[places], return_inverse=True)
    numbers[places] = inverse + 1
    without = np.ones(count, bool)
    without[0] = False
    without[components[places]] = False
    missing = without[components]
    numbers[missing] = components[missing] + len(unique)
    return numbers


def _join(
    basins: npt.NDArray[Any], seeds: npt.NDArray[Any], heights: Heights, least_depth: float
) -> npt.NDArray[np.int64]:
    """New number of each basin, from 1 without gaps; 0 stays 0."""
    count = int(basins.max())
    peaks = np.full(count + 1, -np.inf)
    places = seeds > 0
    np.maximum.at(peaks, seeds[places], heights[places])
    some, others, saddles = _passes(basins, heights)
    # Peaks only rise by joining: what is deep enough now stays so.
    shallow = np.minimum(peaks[some], peaks[others]) - saddles < least_depth
    order = np.flatnonzero(shallow)[np.argsort(-saddles[shallow], kind="stable")]
    parents = list(range(count + 1))
    tops = peaks.tolist()

    def root(basin: int) -> int:
        while parents[basin] != basin:
            parents[basin] = parents[parents[basin]]
            basin = parents[basin]
        return basin

    for one, other, saddle in zip(
        some[order].tolist(), others[order].tolist(), saddles[order].tolist(), strict=True
    ):
        first, second = root(one), root(other)
        if first != second and min(tops[first], tops[second]) - saddle < least_depth:
            higher, lower = (first, second) if tops[first] >= tops[second] else (second, first)
            parents[lower] = higher
    roots = np.array([root(basin) for basin in range(count + 1)])
    return np.unique(roots, return_inverse=True)[1]


def _passes(
    basins: npt.NDArray[Any], heights: Heights
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pairs of neighbouring basins (n,), (n,) and the height (n,) of the saddle between them."""
    keys, saddles = [], []
    count = int(basins.max()) + 1
    for here, there in _NEIGHBOURS:
        some, others = basins[here], basins[there]
        edge = (some != others) & (some > 0) & (others > 0)
        pair = np.stack([some[edge], others[edge]]).astype(np.int64)
        keys.append(pair.min(0) * count + pair.max(0))
        saddles.append(np.minimum(heights[here][edge], heights[there][edge]))
    key, saddle = np.concatenate(keys), np.concatenate(saddles).astype(float)
    order = np.lexsort((-saddle, key))
    key, first = np.unique(key[order], return_index=True)
    return key // count, key % count, saddle[order][first]
