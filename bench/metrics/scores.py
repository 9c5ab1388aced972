"""Scores of class maps, by image and over the test set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.metrics.boundary import boundary_iou, surface_distances
from bench.metrics.overlap import (
    Counts,
    Labels,
    Values,
    blank_ignored,
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    mean_defined,
    pixel_accuracy,
    pixel_counts,
)


@dataclass(frozen=True, eq=False)
class ImageScore:
    """Scores of one predicted class map; class 0 is the background.

    Attributes:
        confusion: (K, K) pixel counts; rows are the truth, columns the prediction.
        hd95_pooled: K distances in pixels of the image, as MedPy defines them; None where truth
            or prediction lacks the class, and for class 0, whose outline is that of the others.
        hd95_max: likewise, as MONAI defines them.
        boundary_iou: K values in [0, 1]; None where truth and prediction lack the class.
    """

    confusion: Counts
    hd95_pooled: Values
    hd95_max: Values
    boundary_iou: Values

    @property
    def dice_mean(self) -> float | None:
        """Mean Dice of the foreground classes present in truth or prediction; None without any."""
        return _foreground_mean(dice_per_class(self.confusion))

    @property
    def iou_mean(self) -> float | None:
        """Mean IoU of the foreground classes present in truth or prediction; None without any."""
        return _foreground_mean(iou_per_class(self.confusion))

    @property
    def boundary_iou_mean(self) -> float | None:
        """Mean boundary IoU of the foreground classes present in truth or prediction.

        None without any.
        """
        return _foreground_mean(self.boundary_iou)

    @property
    def hd95_one_empty(self) -> int:
        """Number of foreground classes that only the truth or only the prediction holds."""
        _, truth, predicted = pixel_counts(self.confusion)
        return int(((truth[1:] > 0) != (predicted[1:] > 0)).sum())

    def to_row(self, classes: Sequence[str]) -> dict[str, float | None]:
        """One row for a record's `per_image`.

        Args:
            classes: K names; index 0 is the background.

        Returns:
            Means over the foreground classes: `dice`, `iou` and `boundary_iou` in [0, 1], `hd95`
            (pooled, as MedPy) and `hd95_max` (as MONAI) in pixels; `pixel_accuracy` in [0, 1].
            For each class `dice/<name>`, and the pixel counts `overlap_px/<name>`,
            `truth_px/<name>` and `predicted_px/<name>`: their sums over images give back Dice, IoU
            and pixel accuracy of the set, or of a resampled set. None: not defined for this image.

        Raises:
            ValueError: the number of names is not K.
        """
        row: dict[str, float | None] = {
            "dice": self.dice_mean,
            "iou": self.iou_mean,
            "pixel_accuracy": pixel_accuracy(self.confusion),
            "hd95": _foreground_mean(self.hd95_pooled),
            "hd95_max": _foreground_mean(self.hd95_max),
            "boundary_iou": self.boundary_iou_mean,
        }
        row |= _by_class("dice", dice_per_class(self.confusion), classes)
        kinds = ("overlap_px", "truth_px", "predicted_px")
        for kind, counts in zip(kinds, pixel_counts(self.confusion), strict=True):
            row |= _by_class(kind, tuple(map(int, counts)), classes)
        return row


def score_image(prediction: Labels, mask: Labels, num_classes: int) -> ImageScore:
    """Compare a predicted class map with its mask, at the resolution of the mask.

    Args:
        prediction: (H, W) integer class indices; values where the mask is `IGNORE` are not used.
        mask: (H, W) integer class indices, `IGNORE` where unlabelled.
        num_classes: K, background included; 2..255.

    Returns:
        The scores; definitions are in `dice_per_class`, `iou_per_class`, `surface_distances`,
        `SurfaceDistances` and `boundary_iou`. Ignored pixels belong to no class in truth or
        prediction.

    Raises:
        ValueError: shapes differ or are not (H, W), a type is not integer, a class is outside
            0..K-1, or K is outside 2..255.
    """
    predicted, truth = blank_ignored(prediction, mask, num_classes)
    distances = [None] + [
        surface_distances(truth == index, predicted == index) for index in range(1, num_classes)
    ]
    return ImageScore(
        confusion=confusion_matrix(prediction, mask, num_classes),
        hd95_pooled=tuple(None if pair is None else pair.hd95_pooled for pair in distances),
        hd95_max=tuple(None if pair is None else pair.hd95_max for pair in distances),
        boundary_iou=boundary_iou(prediction, mask, num_classes),
    )


def summarise(scores: Sequence[ImageScore], classes: Sequence[str]) -> dict[str, float | None]:
    """Summarise a test set; fractions are in [0, 1], distances in pixels of the images.

    Args:
        scores: one per test image, at least one.
        classes: K names; index 0 is the background.

    Returns:
        From one confusion matrix over the whole set: `dice_dataset` and `iou_dataset` (mean over
        the foreground classes 1..K-1), `iou_dataset_all` (class 0 included), `pixel_accuracy`,
        and `dice/<name>` and `iou/<name>` of every class. A class absent from truth and
        prediction of the whole set is None and left out of the means.

        From means over images, each the mean over its foreground classes: `dice_image_mean`,
        `iou_image_mean`, `boundary_iou`. A class absent from truth and prediction of an image is
        left out there, neither 0 nor 1; an image without any foreground on either side is left
        out altogether; `image_mean_defined` counts the images that remain.

        `hd95_pooled_px` (as MedPy) and `hd95_max_px` (as MONAI) likewise, over the classes that
        both truth and prediction hold: `hd95_defined` counts the images with one such class at
        least, `hd95_one_empty` the pairs of image and foreground class that are left out because
        one side alone holds the class. None wherever nothing is defined.

    Raises:
        ValueError: no scores, or the number of names is not K.
    """
    if not scores:
        raise ValueError("no images to summarise")
    confusion = np.sum([score.confusion for score in scores], axis=0)
    dice, iou = dice_per_class(confusion), iou_per_class(confusion)

    def over_images(value: Callable[[ImageScore], float | None]) -> float | None:
        return mean_defined(map(value, scores))

    return {
        "dice_dataset": _foreground_mean(dice),
        "iou_dataset": _foreground_mean(iou),
        "iou_dataset_all": mean_defined(iou),
        "pixel_accuracy": pixel_accuracy(confusion),
        "dice_image_mean": over_images(lambda score: score.dice_mean),
        "iou_image_mean": over_images(lambda score: score.iou_mean),
        "boundary_iou": over_images(lambda score: score.boundary_iou_mean),
        "image_mean_defined": sum(score.dice_mean is not None for score in scores),
        "hd95_pooled_px": over_images(lambda score: _foreground_mean(score.hd95_pooled)),
        "hd95_max_px": over_images(lambda score: _foreground_mean(score.hd95_max)),
        "hd95_defined": sum(any(v is not None for v in score.hd95_pooled) for score in scores),
        "hd95_one_empty": sum(score.hd95_one_empty for score in scores),
        **_by_class("dice", dice, classes),
        **_by_class("iou", iou, classes),
    }


def _foreground_mean(values: Values) -> float | None:
    return mean_defined(values[1:])


def _by_class(metric: str, values: Values, classes: Sequence[str]) -> dict[str, float | None]:
    return {f"{metric}/{name}": value for name, value in zip(classes, values, strict=True)}
