"""Metrics of a grey-level map of one foreground, as in papers on camouflage and saliency.

Those papers stretch the prediction to 0..1 first (`stretch`).

Only labelled pixels count. `labelled` (H, W) says where they are and must hold at least one; None
means that all pixels are labelled. A pixel without a label is treated like one beyond the edge of
the image: an image whose right half is unlabelled has the scores of its left half.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Saliency = npt.NDArray[Any]  # (H, W) float in [0, 1]
Mask = npt.NDArray[np.bool_]
Curve = npt.NDArray[np.float64]

BETA_SQUARED = 0.3  # Achanta et al. (2009): precision counts more than recall
_LEVELS = 256


def stretch(prediction: Saliency, labelled: Mask | None = None) -> Saliency:
    """Shift and scale a map so that its labelled values run from 0 to 1.

    Args:
        prediction: (H, W) float.
        labelled: (H, W) bool, or None.

    Returns:
        The new map (H, W), in which values without a label are clipped to 0..1; the map itself,
        neither scaled nor clipped, if all labelled values are equal.
    """
    values = select(prediction, labelled)
    low, high = values.min(), values.max()
    if low == high:
        return prediction
    stretched = (prediction - low) / (high - low)
    return stretched if labelled is None else stretched.clip(0, 1)


def select(values: npt.NDArray[Any], labelled: Mask | None) -> npt.NDArray[Any]:
    """The labelled values (N,) of an array (H, W); the array itself if `labelled` is None.

    Args:
        values: (H, W).
        labelled: (H, W) bool, or None.
    """
    return values if labelled is None else values[labelled]


def balanced_error_rate(
    hits: int, foreground: int, rejections: int, background: int
) -> float | None:
    """100 (1 - (hits / foreground + rejections / background) / 2), in per cent.

    Args:
        hits: foreground pixels that are predicted as foreground.
        foreground: foreground pixels of the truth.
        rejections: background pixels that are predicted as background.
        background: background pixels of the truth.

    Returns:
        A value in [0, 100]; None where foreground or background has no pixel.
    """
    if not (foreground and background):
        return None
    return 100 * (1 - (hits / foreground + rejections / background) / 2)


def structure_measure(prediction: Saliency, truth: Mask, labelled: Mask | None = None) -> float:
    """S-alpha with alpha = 0.5 (Fan et al., 2017, arXiv 1708.00786), in [0, 1].

    The object part rewards a bright, even foreground and a dark, even background. The region
    part is the similarity in each of the four quadrants that meet behind the centroid pixel of
    the truth (its row and column included in the upper left, as in the authors' Matlab code).

    Args:
        prediction: (H, W) float in [0, 1].
        truth: (H, W) bool. Empty: 1 - mean of the prediction. Full: its mean.
        labelled: (H, W) bool, or None.
    """
    foreground = truth if labelled is None else truth & labelled
    background = ~truth if labelled is None else labelled & ~truth
    share = float(select(truth, labelled).mean())
    if share in (0.0, 1.0):
        mean = float(select(prediction, labelled).mean())
        return mean if share else 1 - mean
    objects = share * _evenness(prediction[foreground])
    objects += (1 - share) * _evenness(1 - prediction[background])
    size = truth.size if labelled is None else np.count_nonzero(labelled)
    row, column = (int(np.round(places.mean())) + 1 for places in np.nonzero(foreground))
    regions = 0.0
    for quadrant in (
        np.s_[:row, :column],
        np.s_[:row, column:],
        np.s_[row:, :column],
        np.s_[row:, column:],
    ):
        known = None if labelled is None else labelled[quadrant]
        part, part_truth = select(prediction[quadrant], known), select(truth[quadrant], known)
        if part.size:
            regions += part.size / size * _similarity(part, part_truth)
    return max(0.0, 0.5 * objects + 0.5 * regions)


def weighted_f_measure(prediction: Saliency, truth: Mask, labelled: Mask | None = None) -> float:
    """Weighted F-measure with beta^2 = 1 (Margolin et al., 2014, CVPR), in [0, 1].

    Errors in the foreground may be shared with neighbours (7 x 7 Gaussian, sigma 5 pixels, in
    which a background pixel takes the error of the foreground pixel nearest to it); errors in the
    background weigh 2 - 0.5^(distance to the foreground / 5 pixels).

    Args:
        prediction: (H, W) float in [0, 1].
        truth: (H, W) bool. Empty: 0.
        labelled: (H, W) bool, or None.
    """
    foreground = truth if labelled is None else truth & labelled
    background = ~truth if labelled is None else labelled & ~truth
    if not foreground.any():
        return 0.0
    nearest = ndimage.distance_transform_edt(
        ~foreground, return_distances=False, return_indices=True
    )
    error = np.subtract(prediction, truth)
    np.abs(error, out=error)
    false = float(_weighted_by_distance(error, nearest)[background].sum())
    steps = np.arange(-3, 4)
    kernel = np.exp(-(steps**2) / (2 * 5**2))
    shared = error[tuple(nearest)]
    del nearest
    if labelled is not None:
        shared[~labelled] = 0  # as beyond the edge of the image
    for axis in (0, 1):
        shared = ndimage.correlate1d(shared, kernel / kernel.sum(), axis, mode="constant")
    missed = np.minimum(error, shared)[foreground]
    hits = missed.size - float(missed.sum())
    if hits <= 0:
        return 0.0
    recall, precision = hits / missed.size, hits / (hits + false)
    return 2 * recall * precision / (recall + precision)


def _weighted_by_distance(
    error: npt.NDArray[np.float64], nearest: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Errors (H, W) times 2 - 0.5^(distance / 5 pixels) to the pixels `nearest` (2, H, W).

    Row by row, because photographs of 24 megapixels would need a gigabyte of intermediate values.
    """
    weighted = np.empty_like(error)
    columns = np.arange(error.shape[1])
    for row in range(len(error)):
        squared = (nearest[0, row] - row) ** 2.0 + (nearest[1, row] - columns) ** 2.0
        weighted[row] = error[row] * (2 - 0.5 ** (np.sqrt(squared) / 5))
    return weighted


def counts_by_level(
    prediction: Saliency, truth: Mask, labelled: Mask | None = None
) -> tuple[Curve, Curve]:
    """Count pixels of the 256 binary maps `floor(255 prediction) >= level`, level 0..255.

    Args:
        prediction: (H, W) float in [0, 1].
        truth: (H, W) bool.
        labelled: (H, W) bool, or None.

    Returns:
        Two arrays (256,): pixels that are foreground in map and truth ("hits"), and pixels that are
        foreground in the map.
    """
    prediction, truth = select(prediction, labelled), select(truth, labelled)
    levels = (prediction * (_LEVELS - 1)).astype(np.uint8)
    above = [
        np.bincount(values, minlength=_LEVELS)[::-1].cumsum()[::-1].astype(np.float64)
        for values in (levels[truth], levels.ravel())
    ]
    return above[0], above[1]


def f_measure(hits: npt.NDArray[Any], predicted: npt.NDArray[Any], foreground: int) -> Curve:
    """F-measure (1 + b) P R / (b P + R) with b = beta^2 = 0.3 of binary maps, from their counts.

    With P = hits / predicted and R = hits / foreground this is (1 + b) hits / (b foreground +
    predicted), which has a value (0) where P or R has none.

    Args:
        hits: (N,) pixels that are foreground in map and truth, for each of N binary maps.
        predicted: (N,) foreground pixels of each map.
        foreground: foreground pixels of the truth.

    Returns:
        (N,) values in [0, 1].
    """
    below = BETA_SQUARED * foreground + predicted
    return (1 + BETA_SQUARED) * hits / np.where(below == 0, 1, below)


def enhanced_alignment(
    hits: npt.NDArray[Any], predicted: npt.NDArray[Any], foreground: int, size: int
) -> Curve:
    """E-phi (Fan et al., 2018, arXiv 1805.10421) of binary maps, from their pixel counts.

    Prediction and truth lose their means; the alignment of a pixel is 2 a b / (a^2 + b^2), its
    enhanced alignment the square of (1 + that) / 2. There are only four kinds of pixels. The sum
    is divided by size - 1, as the authors do, so a perfect map scores a little more than 1. If the
    truth has no foreground, each background pixel of the map counts 1 instead; if it has nothing
    else, each foreground pixel of the map.

    Args:
        hits: (N,) pixels that are foreground in map and truth, for each of N binary maps.
        predicted: (N,) foreground pixels of each map.
        foreground: foreground pixels of the truth.
        size: number of all (labelled) pixels.

    Returns:
        (N,) values in [0, size / (size - 1)]; in [0, 1] for a single pixel.
    """
    if foreground == 0:
        total = size - predicted
    elif foreground == size:
        total = predicted
    else:
        total = np.zeros(len(hits))
        counts = (hits, predicted - hits, foreground - hits, size - foreground - predicted + hits)
        values = ((1, 1), (1, 0), (0, 1), (0, 0))  # prediction, truth
        for count, (one, other) in zip(counts, values, strict=True):
            a, b = one - predicted / size, other - foreground / size
            total += count * (1 + 2 * a * b / (a**2 + b**2)) ** 2 / 4
    return np.asarray(total / max(size - 1, 1), np.float64)


def _evenness(values: Saliency) -> float:
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + spread)


def _similarity(prediction: Saliency, truth: Mask) -> float:
    """SSIM without constants of one quadrant; 1 where both sides are constant, else 0 if either."""
    flat = [values.min() == values.max() for values in (prediction, truth)]
    if any(flat):
        return float(all(flat))
    x, y = float(prediction.mean()), float(truth.mean())
    dx, dy = prediction - x, truth - y
    covariance = float((dx * dy).sum())
    variances = float((dx**2).sum() + (dy**2).sum())
    return 4 * x * y * covariance / ((x**2 + y**2) * variances)
