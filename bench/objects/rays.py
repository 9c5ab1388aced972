"""Rays from each pixel to the border of its object, and the polygons that they draw (StarDist).

Schmidt et al. (2018), "Cell Detection with Star-Convex Polygons", arXiv 1806.03535: a pixel
predicts how far its object reaches in each of some directions, and how near it is to the middle of
it. Pixels near the middle propose polygons, and a non-maximum suppression selects those of
different objects. True rays and suppression are those of the authors' library `stardist`, an
optional dependency (extra `rays`).
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.measure import label
from skimage.segmentation import watershed

from bench.data.libraries import import_optional
from bench.objects.rules import OCTAVES, RAYS

LEAST_BORDER = 0.5  # StarDist's default for the probability of a candidate
SMALL = 0.05  # share of the candidates that are in small objects
MOST_OVERLAP = 0.4  # StarDist's default; of the smaller polygon

Maps = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]


def ray_shares(objects: npt.NDArray[Any]) -> Maps:
    """Rays of all pixels of objects, on a logarithmic scale.

    A ray ends at the border of the object or at the edge of the image.

    Args:
        objects: (H, W) their numbers, 0 is none.

    Returns:
        (RAYS, H, W) in [0, 1]: log2(1 + length in pixels) / OCTAVES. The first ray goes to larger
        columns, the next ones turn to larger rows. 0 outside of objects.

    Raises:
        UserError: the library is not installed.
    """
    lengths = _library("geometry").star_dist(objects.astype(np.uint16), RAYS)
    shares = np.log2(1 + np.moveaxis(lengths, -1, 0)) / OCTAVES
    return np.asarray(shares.clip(0, 1), np.float32)


def polygon_objects(inside: npt.NDArray[np.bool_], maps: Maps) -> Numbers:
    """Divide a mask into the objects whose polygons survive the suppression.

    A pixel that several polygons cover belongs to the one with the largest border. A pixel of the
    mask that none covers belongs to a polygon of its connected component (a watershed of the border
    from the polygons); a component without a polygon is one object.

    Args:
        inside: (H, W) the mask.
        maps: (1 + RAYS, H, W) border, and rays as of `ray_shares`, both predicted.

    Returns:
        (H, W) numbers 1..n, 0 outside of the mask and nowhere inside.

    Raises:
        UserError: the library is not installed.
    """
    points, lengths, borders = _candidates(inside, maps)
    drawn = np.zeros(inside.shape, np.int32)
    if len(points):
        kept = _library("nms").non_maximum_suppression_inds(
            lengths, points, borders, MOST_OVERLAP, verbose=False
        )
        drawn = _library("geometry").polygons_to_label(
            lengths[kept], points[kept], inside.shape, borders[kept]
        )
    seeds = np.where(inside, drawn, 0)
    numbers = watershed(-maps[0], seeds, mask=inside, connectivity=1)
    rest = label(inside & (numbers == 0), connectivity=1)
    numbers = np.where(rest > 0, rest + numbers.max(), numbers)
    numbers[inside] = np.unique(numbers[inside], return_inverse=True)[1] + 1
    return np.asarray(numbers, np.int32)


def _candidates(inside: npt.NDArray[np.bool_], maps: Maps) -> tuple[Maps, Maps, Maps]:
    """Places (n, 2), rays (n, RAYS) in pixels and borders (n,), the largest border first.

    Where all objects are large, as in enlarged maps, some pixels in each are enough.
    """
    candidate = inside & (maps[0] > LEAST_BORDER)
    sizes = np.exp2(OCTAVES * maps[1:, candidate].mean(0)) - 1
    step = max(1, int(np.quantile(sizes, SMALL) / 4)) if len(sizes) else 1
    grid = np.zeros_like(candidate)
    grid[step // 2 :: step, step // 2 :: step] = True
    rows, columns = np.nonzero(candidate & grid)
    borders = maps[0][rows, columns]
    order = np.argsort(-borders, kind="stable")
    rows, columns = rows[order], columns[order]
    lengths = np.exp2(OCTAVES * maps[1:, rows, columns].T) - 1
    places = np.stack([rows, columns], axis=1).astype(np.float32)
    return places, np.ascontiguousarray(lengths, np.float32), borders[order]


def _library(part: str) -> Any:
    """A module of `stardist`; its import does not change how this program shows warnings."""
    shown = warnings.formatwarning
    try:
        return import_optional(f"stardist.{part}", "--objects rays", "rays")
    finally:
        warnings.formatwarning = shown
