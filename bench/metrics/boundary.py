"""Agreement of outlines: HD95 by its two common definitions, and boundary IoU."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bench.metrics.overlap import Labels, Values, blank_ignored, count_pairs, iou_per_class

Mask = npt.NDArray[np.bool_]

# Share of the image diagonal, as Cheng et al. (2021) choose it.
DILATION_RATIO = 0.02


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """From each border pixel of one mask to the nearest border pixel of the other.

    Attributes:
        from_truth: (N,) float, in the units of the spacing.
        from_prediction: (M,) float, likewise.
    """

    from_truth: npt.NDArray[np.float64]
    from_prediction: npt.NDArray[np.float64]

    @property
    def hd95_pooled(self) -> float:
        """95th percentile of both sets taken together: HD95 as MedPy defines it.

        The percentile interpolates linearly between neighbouring values, as numpy's does.
        """
        return float(np.percentile(np.concatenate([self.from_truth, self.from_prediction]), 95))

    @property
    def hd95_max(self) -> float:
        """Larger of the two sets' own 95th percentiles: HD95 as MONAI defines it."""
        return float(max(np.percentile(d, 95) for d in (self.from_truth, self.from_prediction)))


def surface_distances(
    truth: Mask, prediction: Mask, spacing: tuple[float, float] = (1.0, 1.0)
) -> SurfaceDistances | None:
    """Euclidean distances between the borders of two masks.

    A border pixel belongs to the mask and has one of its four edge neighbours outside; beyond
    the image is outside (erosion with connectivity 1, as in MedPy and MONAI).

    Args:
        truth: (H, W) bool.
        prediction: (H, W) bool.
        spacing: height and width of a pixel; the default gives distances in pixels.

    Returns:
        The two sets of distances, or None where a mask is empty: there is no distance to nothing.
    """
    if not (truth.any() and prediction.any()):
        return None
    box = ndimage.find_objects((truth | prediction).view(np.uint8))[0]  # no distance leads outside
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (truth[box], prediction[box])]
    to_truth, to_prediction = (
        ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges
    )
    return SurfaceDistances(to_prediction[edges[0]], to_truth[edges[1]])


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
        prediction: (H, W) integer class indices; anything goes where the mask is `IGNORE`.
        mask: (H, W) integer class indices, `IGNORE` where unlabelled.
        num_classes: K, background included.
        dilation_ratio: d as a share of the image diagonal.

    Returns:
        K values in [0, 1]. Absent from both truth and prediction: None. Absent from one only: 0.
    """
    distance = max(1, round(dilation_ratio * math.hypot(*mask.shape)))
    predicted, truth = blank_ignored(prediction, mask, num_classes)
    counts = count_pairs(
        _band(predicted, num_classes, distance),
        _band(truth, num_classes, distance),
        num_classes + 1,
    )
    return iou_per_class(counts)[:num_classes]


def _band(labels: Labels, outside: int, distance: int) -> Labels:
    """Labels (H, W) with `outside` wherever no other label lies within `distance`."""
    around = {"size": 2 * distance + 1, "mode": "constant", "cval": outside}
    inside = ndimage.minimum_filter(labels, **around) == ndimage.maximum_filter(labels, **around)
    return np.where(inside, np.uint8(outside), labels)
