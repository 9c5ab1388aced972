"""Metrics of labelled volumes, per organ, in millimetres and millilitres."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from scipy import ndimage

from bench.metrics.boundary import SurfaceDistances, surface_distances
from bench.metrics.overlap import (
    Labels,
    blank_ignored,
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    mean_defined,
    pixel_counts,
)
from bench.metrics.readings import Reading

MEASURES = ("dice", "iou", "hd95_pooled_mm", "hd95_max_mm", "assd_pooled_mm", "assd_mean_mm")


@dataclass(frozen=True, eq=False)
class OrganScore:
    """Scores of one organ in one volume.

    The distances are those between the surfaces, in millimetres; None where either side lacks
    the organ, or where the spacing is not known.

    Attributes:
        dice: of the voxels, in [0, 1]; None where neither side holds the organ.
        iou: likewise.
        hd95_pooled_mm: 95th percentile of both sets of distances together, as MedPy.
        hd95_max_mm: larger of the two sets' own 95th percentiles, as MONAI.
        assd_pooled_mm: mean of both sets of distances together, as MONAI and MedPy 0.5.2.
        assd_mean_mm: mean of the two sets' own means, as MedPy 0.4.0.
        volume_ml: millilitres in truth and prediction; 0 where the organ is absent. Both values are
            None without labelled voxels or without a known spacing.
        one_empty: whether only the truth or only the prediction holds the organ.
    """

    dice: float | None
    iou: float | None
    hd95_pooled_mm: float | None
    hd95_max_mm: float | None
    assd_pooled_mm: float | None
    assd_mean_mm: float | None
    volume_ml: Reading
    one_empty: bool


def score_volume(
    prediction: Labels,
    mask: Labels,
    num_classes: int,
    spacing_mm: tuple[float, float, float] | None,
) -> tuple[OrganScore, ...]:
    """Compare a predicted volume with its mask, at the resolution of the mask.

    A surface voxel belongs to the organ and has one of its six face neighbours outside; ignored
    voxels, and voxels beyond the volume, are outside.

    Args:
        prediction: (D, H, W) integer class indices; values where the mask is `IGNORE` are not
            used.
        mask: (D, H, W) integer class indices, `IGNORE` where unlabelled.
        num_classes: K, background included; 2..255.
        spacing_mm: distance of slices, and height and width of a pixel, all in millimetres; None
            where not known.

    Returns:
        K - 1 scores, of the classes 1..K-1.

    Raises:
        ValueError: the shape or the spacing does not fit, a type is not integer, a class is outside
            0..K-1, or K is outside 2..255.
    """
    if prediction.shape != mask.shape or mask.ndim != 3:
        raise ValueError(
            f"prediction {prediction.shape} and mask {mask.shape} must have one shape (D, H, W)"
        )
    if spacing_mm is not None and not (
        len(spacing_mm) == 3 and all(0 < s < float("inf") for s in spacing_mm)
    ):
        raise ValueError(f"the spacing must be three lengths above 0, not {spacing_mm}")
    flat = prediction.reshape(len(mask), -1), mask.reshape(len(mask), -1)
    confusion = confusion_matrix(*flat, num_classes)
    predicted, truth = (labels.reshape(mask.shape) for labels in blank_ignored(*flat, num_classes))
    boxes = [ndimage.find_objects(labels, num_classes - 1) for labels in (truth, predicted)]
    distances = [
        _distances(truth, predicted, index, pair, spacing_mm) if spacing_mm is not None else None
        for index, pair in enumerate(zip(*boxes, strict=True), start=1)
    ]
    voxel_ml = None
    if spacing_mm is not None and confusion.any():
        voxel_ml = float(np.prod(spacing_mm)) / 1000
    dice, iou = dice_per_class(confusion), iou_per_class(confusion)
    _, truth_voxels, predicted_voxels = pixel_counts(confusion)
    return tuple(
        OrganScore(
            dice[index],
            iou[index],
            *_of_surfaces(distances[index - 1]),
            _millilitres(truth_voxels[index], predicted_voxels[index], voxel_ml),
            bool((truth_voxels[index] > 0) != (predicted_voxels[index] > 0)),
        )
        for index in range(1, num_classes)
    )


def volume_row(scores: Sequence[OrganScore], classes: Sequence[str]) -> dict[str, float | None]:
    """Flatten the scores of one volume.

    Args:
        scores: K - 1, of the classes 1..K-1.
        classes: K names; index 0 is the background.

    Returns:
        `dice`, `iou`, `hd95_pooled_mm`, `hd95_max_mm`, `assd_pooled_mm`, `assd_mean_mm`: means
        over the organs where they are defined, and `<measure>/<name>` of every organ. For every
        organ `volume_ml/<name>` of the prediction, with `volume_ml_truth`, `volume_ml_error` and
        `volume_ml_relative_error`. None where a value is not defined.

    Raises:
        ValueError: the number of names is not K.
    """
    row: dict[str, float | None] = {}
    for measure in MEASURES:
        of_organ = attrgetter(measure)
        row[measure] = mean_defined(map(of_organ, scores))
        for name, score in zip(classes[1:], scores, strict=True):
            row[f"{measure}/{name}"] = of_organ(score)
    for name, score in zip(classes[1:], scores, strict=True):
        row |= score.volume_ml.to_row(f"volume_ml/{name}")
    return row


def summarise_volumes(
    volumes: Sequence[Sequence[OrganScore]], classes: Sequence[str]
) -> dict[str, float | None]:
    """Summarise a test set of volumes.

    Args:
        volumes: for each volume, at least one, the K - 1 scores of the classes 1..K-1.
        classes: K names; index 0 is the background.

    Returns:
        `<measure>_volume_mean/<name>`: mean over the volumes where the measure is defined for
        that organ. `<measure>_volume_mean`: mean of these over the organs that have one. Measures
        as in `volume_row`; also `volume_ml_error` (prediction - truth), `volume_ml_abs_error` and
        `volume_ml_abs_relative_error` (a fraction, over the volumes whose truth holds the organ).
        `distance_one_empty` counts the pairs of volume and organ that one side alone holds, so that
        no distance is defined. None wherever nothing is defined.

    Raises:
        ValueError: no volumes, or the number of names is not K.
    """
    if not volumes:
        raise ValueError("no volumes to summarise")
    organs = list(zip(*volumes, strict=True))
    values: dict[str, Any] = {measure: attrgetter(measure) for measure in MEASURES} | {
        "volume_ml_error": attrgetter("volume_ml.error"),
        "volume_ml_abs_error": lambda score: _size(score.volume_ml.error),
        "volume_ml_abs_relative_error": lambda score: _size(score.volume_ml.relative_error),
    }
    summary: dict[str, float | None] = {}
    for measure, value in values.items():
        means = [mean_defined(map(value, scores)) for scores in organs]
        summary[f"{measure}_volume_mean"] = mean_defined(means)
        for name, mean in zip(classes[1:], means, strict=True):
            summary[f"{measure}_volume_mean/{name}"] = mean
    one_empty = sum(score.one_empty for scores in volumes for score in scores)
    return summary | {"distance_one_empty": one_empty}


def _distances(
    truth: Labels, predicted: Labels, index: int, boxes: tuple[Any, Any], spacing: Any
) -> SurfaceDistances | None:
    """Surface distances of a class, computed in the box that holds it on both sides."""
    if None in boxes:
        return None
    box = tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*boxes, strict=True)
    )
    return surface_distances(truth[box] == index, predicted[box] == index, spacing)


def _of_surfaces(
    distances: SurfaceDistances | None,
) -> tuple[float | None, float | None, float | None, float | None]:
    """The four summaries of surface distances, in the order of `OrganScore`."""
    if distances is None:
        return None, None, None, None
    sets = distances.from_truth, distances.from_prediction
    pooled = float(np.concatenate(sets).mean())
    mean = float((sets[0].mean() + sets[1].mean()) / 2)
    return distances.hd95_pooled, distances.hd95_max, pooled, mean


def _millilitres(truth: int, predicted: int, voxel_ml: float | None) -> Reading:
    if voxel_ml is None:
        return Reading(None, None)
    return Reading(int(truth) * voxel_ml, int(predicted) * voxel_ml)


def _size(value: float | None) -> float | None:
    return None if value is None else abs(value)
