"""Metrics of outlines: HD95 by its two common definitions, and boundary IoU."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from bench.metrics.overlap import Labels, Values, blank_ignored, count_pairs, iou_per_class

Mask = npt.NDArray[np.bool_]

# Share of the image diagonal, as Cheng et al. (2021) choose it.
DILATION_RATIO = 0.02

# A search tree is faster than a distance transform where fewer than 1 pixel in 10 is marked.
_SPARSE = 10


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances from each border pixel of one mask to the nearest border pixel of the other.

    Attributes:
        from_truth: (N,) float, from the N border pixels of the truth, in the unit of the spacing.
        from_prediction: (M,) float, from the M border pixels of the prediction, likewise.
    """

    from_truth: npt.NDArray[np.float64]
    from_prediction: npt.NDArray[np.float64]

    @property
    def hd95_pooled(self) -> float:
        """95th percentile of both sets joined, in their unit: HD95 as MedPy defines it.

        The percentile interpolates linearly between neighbouring values, as numpy's does.
        """
        return float(np.percentile(np.concatenate([self.from_truth, self.from_prediction]), 95))

    @property
    def hd95_max(self) -> float:
        """Larger of the two sets' own 95th percentiles, in their unit: HD95 as MONAI defines it."""
        return float(max(np.percentile(d, 95) for d in (self.from_truth, self.from_prediction)))


def surface_distances(
    truth: Mask, prediction: Mask, spacing: tuple[float, float] = (1.0, 1.0)
) -> SurfaceDistances | None:
    """Euclidean distances between the borders of two masks.

    A border pixel belongs to the mask and has one of its edge neighbours outside (4 in an image,
    6 in a volume); beyond the image is outside (erosion with connectivity 1, as in MedPy and
    MONAI).

    Args:
        truth: (H, W) bool, or (D, H, W) for a volume.
        prediction: bool, of the same shape.
        spacing: size of a pixel along each axis. The default gives distances in pixels of an
            image; a volume needs three sizes.

    Returns:
        The two sets of distances; None if either mask is empty, as no distance is defined then.
    """
    if not (truth.any() and prediction.any()):
        return None
    box = ndimage.find_objects((truth | prediction).view(np.uint8))[0]  # no distance leads outside
    truth, prediction = _border(truth[box]), _border(prediction[box])
    return SurfaceDistances(
        _to_nearest(prediction, truth, spacing), _to_nearest(truth, prediction, spacing)
    )


def boundary_iou(
    prediction: Labels, mask: Labels, num_classes: int, dilation_ratio: float = DILATION_RATIO
) -> Values:
    """IoU of each class within a band along its outline (Cheng et al., 2021, arXiv 2103.16562).

    The band holds the pixels of a class from which a square of side 2 d + 1 reaches another
    class, an ignored pixel, or beyond the image. d is `dilation_ratio` times the image diagonal,
    rounded, at least 1 pixel. The paper erodes one mask at a time, d times by 3 x 3; a pixel
    survives exactly where the smallest and the largest label in its square agree, which gives
    the bands of all classes in one pass.

    Args:
        prediction: (H, W) integer class indices; values where the mask is `IGNORE` are not used.
        mask: (H, W) integer class indices, `IGNORE` where unlabelled.
        num_classes: K, background included; 2..255.
        dilation_ratio: d as a share of the image diagonal.

    Returns:
        K values in [0, 1]. Absent from both truth and prediction: None. Absent from one only: 0.

    Raises:
        ValueError: shapes differ or are not (H, W), a type is not integer, a class is outside
            0..K-1, or K is outside 2..255.
    """
    distance = max(1, round(dilation_ratio * math.hypot(*mask.shape)))
    predicted, truth = blank_ignored(prediction, mask, num_classes)
    counts = count_pairs(
        _band(predicted, num_classes, distance),
        _band(truth, num_classes, distance),
        num_classes + 1,
    )
    return iou_per_class(counts)[:num_classes]


def _border(mask: Mask) -> Mask:
    """Pixels of a mask with an edge neighbour outside it."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        lines, neighbours = (np.moveaxis(array, axis, 0) for array in (inside, mask))  # views
        lines[1:] &= neighbours[:-1]
        lines[:-1] &= neighbours[1:]
        lines[[0, -1]] = False
    return mask & ~inside


def _to_nearest(targets: Mask, places: Mask, spacing: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Distance from each pixel of `places`, in the order of the array, to the nearest target.

    The time of a search tree grows with the number of marked pixels, that of a distance transform
    with the number of all pixels: the latter is faster where much of the image is border (noise).
    """
    if _SPARSE * (np.count_nonzero(targets) + np.count_nonzero(places)) > places.size:
        return np.asarray(ndimage.distance_transform_edt(~targets, sampling=spacing)[places])
    ends, starts = (np.argwhere(marked) * np.array(spacing) for marked in (targets, places))
    # The tree serves one query, so that the time to build it matters: no balancing.
    tree = KDTree(ends, leafsize=32, balanced_tree=False, compact_nodes=False)
    return np.asarray(tree.query(starts)[0])


def _band(labels: Labels, outside: int, distance: int) -> Labels:
    """Labels (H, W) with `outside` where no other label is within `distance`."""
    around = {"size": 2 * distance + 1, "mode": "constant", "cval": outside}
    inside = ndimage.minimum_filter(labels, **around) == ndimage.maximum_filter(labels, **around)
    return np.where(inside, np.uint8(outside), labels)
