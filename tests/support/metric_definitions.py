"""A second, plain and slow implementation of the metrics in docs/protocol/metrics.md.

Distances are those of every border pixel to every other; overlaps are counted mask by mask; curves
come threshold by threshold. Nothing here calls `bench.metrics`.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from metric_cases import CLASSES, SPACING_MM, Array, Pair, Scores
from scipy import ndimage
from scipy.spatial.distance import cdist

from bench.data.items import IGNORE

Value = float | None
Table = list[list[Value]]  # one row per image or volume, one value per class


def mean(values: Iterable[Value]) -> Value:
    """Mean of what is defined."""
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None


def image_mean(table: Table) -> Value:
    """Mean over the classes of an image, then over images."""
    return mean(map(mean, table))


def volume_means(name: str, table: Table) -> Scores:
    """Mean over the volumes of each organ, then over organs."""
    of_organ = [mean(column) for column in zip(*table, strict=True)]
    names = [f"{name}_volume_mean/{organ}" for organ in CLASSES[1:]]
    return {f"{name}_volume_mean": mean(of_organ), **dict(zip(names, of_organ, strict=True))}


def sides(pair: Pair, index: int) -> Pair:
    """Where prediction and truth hold a class; ignored pixels belong to none."""
    prediction, truth = pair
    return (prediction == index) & (truth != IGNORE), truth == index


def by_class(pairs: Sequence[Pair], measure: Any, classes: Sequence[int] = (1, 2)) -> Table:
    """A measure of two binary masks, for every pair and class."""
    return [[measure(*sides(pair, index)) for index in classes] for pair in pairs]


def dice(found: Array, truth: Array) -> Value:
    both = int(found.sum() + truth.sum())
    return 2 * int((found & truth).sum()) / both if both else None


def iou(found: Array, truth: Array) -> Value:
    either = int((found | truth).sum())
    return int((found & truth).sum()) / either if either else None


def distances(
    found: Array, truth: Array, spacing: Sequence[float] | None = None
) -> tuple[Array, Array] | None:
    """From every border pixel of each side to the nearest of the other; None if a side is empty."""
    if not (found.any() and truth.any()):
        return None
    cross = ndimage.generate_binary_structure(truth.ndim, 1).astype(int)
    scale = np.ones(truth.ndim) if spacing is None else np.array(spacing)
    borders = [
        np.argwhere(side & (ndimage.correlate(side * 1, cross, mode="constant") < cross.sum()))
        for side in (found, truth)
    ]
    table = cdist(borders[0] * scale, borders[1] * scale)
    return table.min(axis=1), table.min(axis=0)


def outline_iou(found: Array, truth: Array) -> Value:
    """IoU of what lies within d of the outline, by a distance transform instead of erosion."""
    depth = max(1, round(0.02 * math.hypot(*truth.shape)))
    bands = []
    for side in (found, truth):
        inward = ndimage.distance_transform_cdt(np.pad(side, 1), "chessboard")[1:-1, 1:-1]
        bands.append(side & (inward <= depth))
    return iou(*bands)


def class_maps(pairs: Sequence[Pair]) -> Scores:
    scores: Scores = {}
    labels = [(np.where(t == IGNORE, IGNORE, p).ravel(), t.ravel()) for p, t in pairs]
    whole = [(np.concatenate([p for p, _ in labels]), np.concatenate([t for _, t in labels]))]
    for name, overlap in (("dice", dice), ("iou", iou)):
        (of_set,) = by_class(whole, overlap, (0, 1, 2))
        scores |= {f"{name}/{one}": value for one, value in zip(CLASSES, of_set, strict=True)}
        scores[f"{name}_dataset"] = mean(of_set[1:])
        scores[f"{name}_image_mean"] = image_mean(by_class(pairs, overlap))
    scores["iou_dataset_all"] = mean(scores[f"iou/{name}"] for name in CLASSES)
    (prediction, truth), *_ = whole
    counted = truth != IGNORE
    right = int((prediction == truth)[counted].sum())
    scores["pixel_accuracy"] = right / int(counted.sum()) if counted.any() else None
    scores["boundary_iou"] = image_mean(by_class(pairs, outline_iou))
    hd95 = [by_class(pairs, lambda f, t, way=way: way(distances(f, t))) for way in (pooled, larger)]
    scores["hd95_pooled_px"], scores["hd95_max_px"] = map(image_mean, hd95)
    present = by_class(pairs, lambda f, t: int(f.any()) + int(t.any()))
    scores["image_mean_defined"] = sum(row != [0, 0] for row in present)
    scores["hd95_defined"] = sum(2 in row for row in present)
    scores["hd95_one_empty"] = sum(row.count(1) for row in present)
    return scores


def pooled(found: tuple[Array, Array] | None) -> Value:
    return None if found is None else percentile(np.concatenate(found), 95)


def larger(found: tuple[Array, Array] | None) -> Value:
    return None if found is None else max(percentile(side, 95) for side in found)


def percentile(values: npt.NDArray[np.float64], percent: int) -> float:
    """By linear interpolation between neighbours; by Python's own library, not numpy's."""
    if len(values) == 1:
        return float(values[0])
    return statistics.quantiles(map(float, values), n=100, method="inclusive")[percent - 1]


def volumes(pairs: Sequence[Pair]) -> Scores:
    scores: Scores = {}
    measures = {
        "dice": dice,
        "iou": iou,
        "hd95_pooled_mm": lambda f, t: pooled(distances(f, t, SPACING_MM)),
        "hd95_max_mm": lambda f, t: larger(distances(f, t, SPACING_MM)),
        "assd_pooled_mm": lambda f, t: _average(distances(f, t, SPACING_MM), np.concatenate),
        "assd_mean_mm": lambda f, t: _average(
            distances(f, t, SPACING_MM), lambda found: np.array([side.mean() for side in found])
        ),
        "volume_ml_error": lambda f, t: _millilitres(f) - _millilitres(t),
        "volume_ml_abs_error": lambda f, t: abs(_millilitres(f) - _millilitres(t)),
        "volume_ml_abs_relative_error": lambda f, t: (
            abs(int(f.sum()) / int(t.sum()) - 1) if t.any() else None
        ),
    }
    unknown = [not (truth != IGNORE).any() for _, truth in pairs]  # no voxel has a label
    for name, way in measures.items():
        table = by_class(pairs, way)
        known: Table = [[None, None] if u else row for u, row in zip(unknown, table, strict=True)]
        scores |= volume_means(name, known)
    lonely = by_class(pairs, lambda f, t: int(f.any() != t.any()))
    return scores | {"distance_one_empty": sum(row.count(1) for row in lonely)}


def _average(found: tuple[Array, Array] | None, join: Any) -> Value:
    return None if found is None else float(join(found).mean())


def _millilitres(side: Array) -> float:
    return int(side.sum()) * math.prod(SPACING_MM) / 1000


def grey_maps(pairs: Sequence[Pair]) -> Scores:
    """All but S-alpha and weighted F, whose ties and rounding are their authors' code."""
    stretched = []
    for grey, truth in pairs:
        unit = grey / 255
        low, high = unit.min(), unit.max()
        stretched.append(((unit - low) / (high - low) if low < high else unit, truth))
    scores: Scores = {
        "mae": mean(float(np.abs(grey - truth).mean()) for grey, truth in stretched),
        "mae_unstretched": mean(float(np.abs(g / 255 - truth).mean()) for g, truth in pairs),
    }
    for name, way in (("e_phi", _alignment), ("f_beta", _f_beta)):
        curve = np.zeros(256)
        at_mean = []
        for grey, truth in stretched:
            levels = np.floor(grey * 255)
            curve += [way(levels >= level, truth) / len(pairs) for level in range(256)]
            at_mean.append(way(grey >= min(2 * grey.mean(), 1), truth))
        scores[f"{name}_adaptive"] = mean(at_mean)
        scores |= {f"{name}_mean": float(curve.mean()), f"{name}_max": float(curve.max())}
    rates = [_error_rate([pair]) for pair in pairs]
    counts = {"ber_defined": sum(rate is not None for rate in rates)}
    return scores | counts | {"ber_image_mean": mean(rates), "ber_dataset": _error_rate(pairs)}


def _alignment(found: Array, truth: Array) -> float:
    a, b = found - found.mean(), truth - truth.mean()
    if truth.all() or not truth.any():
        return float((found == truth).sum()) / (truth.size - 1)
    return float(((1 + 2 * a * b / (a**2 + b**2)) ** 2 / 4).sum()) / (truth.size - 1)


def _f_beta(found: Array, truth: Array) -> float:
    hits = float((found & truth).sum())
    if not hits:
        return 0.0
    precision, recall = hits / float(found.sum()), hits / float(truth.sum())
    return 1.3 * precision * recall / (0.3 * precision + recall)


def _error_rate(pairs: Sequence[Pair]) -> Value:
    found = np.concatenate([grey.ravel() > 125 for grey, _ in pairs])
    truth = np.concatenate([truth.ravel() for _, truth in pairs])
    if truth.all() or not truth.any():
        return None
    return 50 * float((~found[truth]).mean() + found[~truth].mean())
