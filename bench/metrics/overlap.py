"""Metrics of overlap: Dice, IoU and pixel accuracy, computed from one confusion matrix."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.items import IGNORE

Labels = npt.NDArray[Any]  # of an integer type; (H, W) of an image, (D, H, W) of a volume
Counts = npt.NDArray[np.int64]
Values = tuple[float | None, ...]  # one per class; None where the class gives no value

_BLOCK = 2**16  # pixels counted at once, so that intermediate arrays fit into the processor's cache


def confusion_matrix(prediction: Labels, mask: Labels, num_classes: int) -> Counts:
    """Count pixels by true and predicted class.

    Args:
        prediction: (H, W) integer class indices; values where the mask is `IGNORE` are not used.
        mask: (H, W) integer class indices, `IGNORE` where unlabelled.
        num_classes: K, background included; 2..255.

    Returns:
        (K, K) pixel counts; rows are the truth, columns the prediction, ignored pixels are left
        out. All zero where every pixel is ignored. Matrices of several images add up to that of
        the set.

    Raises:
        ValueError: shapes differ or are not (H, W), a type is not integer, a class is outside
            0..K-1, or K is outside 2..255.
    """
    predicted, truth = blank_ignored(prediction, mask, num_classes)
    return count_pairs(predicted, truth, num_classes + 1)[:num_classes, :num_classes]


def dice_per_class(confusion: Counts) -> Values:
    """Dice coefficient of each class, 2 |T & P| / (|T| + |P|), in [0, 1] (Dice, 1945).

    Args:
        confusion: (K, K) counts of `confusion_matrix`, of one image or of a set.

    Returns:
        K values. Absent from both truth and prediction: None. Absent from one only: 0.
    """
    overlap, truth, predicted = pixel_counts(confusion)
    return _ratios(2 * overlap, truth + predicted)


def iou_per_class(confusion: Counts) -> Values:
    """Intersection over union of each class, |T & P| / |T | P|, in [0, 1] (Jaccard, 1912).

    Args:
        confusion: (K, K) counts of `confusion_matrix`, of one image or of a set.

    Returns:
        K values. Absent from both truth and prediction: None. Absent from one only: 0.
    """
    overlap, truth, predicted = pixel_counts(confusion)
    return _ratios(overlap, truth + predicted - overlap)


def pixel_accuracy(confusion: Counts) -> float | None:
    """Share of the labelled pixels whose class is right, in [0, 1]; None where there are none.

    Args:
        confusion: (K, K) counts of `confusion_matrix`, of one image or of a set.
    """
    total = int(confusion.sum())
    return int(np.trace(confusion)) / total if total else None


def pixel_counts(confusion: Counts) -> tuple[Counts, Counts, Counts]:
    """Pixels (K,) of each class: in both truth and prediction, in the truth, in the prediction.

    Args:
        confusion: (K, K) counts of `confusion_matrix`, of one image or of a set.
    """
    return np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)


def mean_defined(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are not None; None if there are none."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def blank_ignored(
    prediction: Labels, mask: Labels, num_classes: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Check prediction and mask, and set both to K where the mask is `IGNORE`.

    K is not a class: an ignored pixel is treated like one beyond the edge of the image.

    Args:
        prediction: (H, W) integer class indices; values where the mask is `IGNORE` are not used.
        mask: (H, W) integer class indices, `IGNORE` where unlabelled.
        num_classes: K, background included; 2..255.

    Returns:
        Prediction and mask (H, W) uint8. If no pixel is ignored, uint8 arrays are returned as they
        are, not copied.

    Raises:
        ValueError: as `confusion_matrix`.
    """
    if not 2 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes must be 2..{IGNORE}, not {num_classes}")
    if prediction.shape != mask.shape or mask.ndim != 2:
        raise ValueError(
            f"prediction {prediction.shape} and mask {mask.shape} must have one shape (H, W)"
        )
    ignored = mask == IGNORE
    return (
        _checked(prediction, ignored, "prediction", num_classes),
        _checked(mask, ignored, "mask", num_classes),
    )


def count_pairs(predicted: Labels, truth: Labels, size: int) -> Counts:
    """Count the pixels of every pair of labels.

    Args:
        predicted: integer labels 0..size-1, of any shape.
        truth: likewise, of the same shape; neither range nor shape is checked.
        size: number of labels.

    Returns:
        (size, size) counts; rows are the truth, columns the prediction.
    """
    counts = np.zeros(size**2, np.int64)
    rows, columns = truth.ravel(), predicted.ravel()
    for start in range(0, rows.size, _BLOCK):
        pairs = rows[start : start + _BLOCK].astype(np.intp)
        pairs *= size
        pairs += columns[start : start + _BLOCK]
        counts += np.bincount(pairs, minlength=size**2)
    return counts.reshape(size, size)


def _checked(
    labels: Labels, ignored: npt.NDArray[np.bool_], kind: str, num_classes: int
) -> npt.NDArray[np.uint8]:
    any_ignored = bool(ignored.any())
    if any_ignored:
        labels = np.where(ignored, 0, labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"the {kind} must hold integer class indices, not {labels.dtype}")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"the {kind} holds classes {labels.min()}..{labels.max()}; "
            f"allowed are 0..{num_classes - 1}, and {IGNORE} in masks"
        )
    small = labels.astype(np.uint8, copy=False)
    return np.where(ignored, np.uint8(num_classes), small) if any_ignored else small


def _ratios(above: Counts, below: Counts) -> Values:
    return tuple(int(a) / int(b) if b else None for a, b in zip(above, below, strict=True))
