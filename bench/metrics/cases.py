"""Pixel counts and distances of test images and volumes, computed once for all conventions."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bench.metrics.boundary import surface_distances
from bench.metrics.foreground import (
    counts_by_level,
    enhanced_alignment,
    select,
    structure_measure,
)
from bench.metrics.overlap import Counts, Labels, Values, blank_ignored, count_pairs


class MapFigures(NamedTuple):
    """Scores of one slice as a map of one foreground; see `bench.metrics.foreground`.

    Attributes:
        s_alpha: structure measure, in [0, 1].
        e_phi_mean: mean of the enhanced alignment over the thresholds 0..255; 0 or more, and a
            little more than 1 for a perfect map.
        mae: mean absolute error, in [0, 1].
    """

    s_alpha: float
    e_phi_mean: float
    mae: float


@dataclass(frozen=True, eq=False)
class Case:
    """Counts and distances of one image, or of one volume and its slices.

    Attributes:
        counts: (D, K, K) pixels of each slice by true and predicted class; D is 1 for an image.
        hd95: K - 1 pooled HD95 of the classes 1..K-1 in the whole case, in voxels whose sides all
            count as 1; None where truth or prediction lacks the class.
        hd95_slices: the same for each of the D slices alone, with distances in its plane.
        maps: D scores of the maps that are 1 where any class but 0 is predicted, else 0; None for
            a slice without labelled pixels.
    """

    counts: Counts
    hd95: Values
    hd95_slices: tuple[Values, ...]
    maps: tuple[MapFigures | None, ...]


def read_case(prediction: Labels, mask: Labels, num_classes: int) -> Case:
    """Count pixels and measure distances for all conventions.

    Ignored pixels belong to no class in truth or prediction and count nowhere.

    Args:
        prediction: integer class indices, (H, W) of an image or (D, H, W) of a volume.
        mask: same shape, with `IGNORE` where unlabelled.
        num_classes: K, background included; 2..255.

    Raises:
        ValueError: shapes differ or have another number of axes, a type is not integer, a class is
            outside 0..K-1, or K is outside 2..255.
    """
    if prediction.shape != mask.shape or mask.ndim not in (2, 3):
        raise ValueError(
            f"prediction {prediction.shape} and mask {mask.shape} must have one shape, "
            "(H, W) or (D, H, W)"
        )
    flat = (-1, mask.shape[-1])
    blanked = blank_ignored(prediction.reshape(flat), mask.reshape(flat), num_classes)
    predicted, truth = (labels.reshape(mask.shape) for labels in blanked)
    size = mask.shape[-2:]
    slices = list(zip(predicted.reshape(-1, *size), truth.reshape(-1, *size), strict=True))
    whole = _hd95(predicted, truth, num_classes)
    by_slice = [_hd95(*one, num_classes) for one in slices] if mask.ndim == 3 else [whole]
    return Case(
        counts=np.stack(
            [count_pairs(*one, num_classes + 1)[:num_classes, :num_classes] for one in slices]
        ),
        hd95=whole,
        hd95_slices=tuple(by_slice),
        maps=tuple(_score_map(*one, num_classes) for one in slices),
    )


def _score_map(predicted: Labels, truth: Labels, num_classes: int) -> MapFigures | None:
    labelled = None if (truth < num_classes).all() else truth < num_classes
    if labelled is not None and not labelled.any():
        return None
    foreground = (truth > 0) & (truth < num_classes)
    prediction = ((predicted > 0) & (predicted < num_classes)).astype(np.float64)
    known = select(foreground, labelled)
    curve = enhanced_alignment(
        *counts_by_level(prediction, foreground, labelled), int(np.count_nonzero(known)), known.size
    )
    return MapFigures(
        structure_measure(prediction, foreground, labelled),
        float(curve.mean()),
        float((select(prediction, labelled) != known).mean()),
    )


def _hd95(predicted: Labels, truth: Labels, num_classes: int) -> Values:
    voxel: Any = (1.0,) * truth.ndim
    pairs = (
        surface_distances(truth == index, predicted == index, voxel)
        for index in range(1, num_classes)
    )
    return tuple(None if distances is None else distances.hd95_pooled for distances in pairs)
