"""The metrics of objects and particles once more, as docs/protocol/metrics.md defines them.

Plain, slow, and written on their own: every pair of objects is compared pixel by pixel. Nothing
here calls `bench.metrics`.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from metric_cases import CLASSES, OBJECTS, Array, Pair, Scores
from metric_definitions import Value, mean, sides
from scipy.optimize import linear_sum_assignment
from skimage import measure

from bench.data.items import IGNORE

Parts = tuple[Any, Any]  # above and below the fraction bar; of a set both are summed
FIGURES = ("particles", "d10", "d50", "d90")


class Comparison:
    """All objects of one image against one another."""

    def __init__(self, prediction: Array, truth: Array) -> None:
        self.found = [prediction == number for number in np.unique(prediction[prediction > 0])]
        self.true = [truth == number for number in np.unique(truth[truth > 0])]
        self.number = len(self.found) + len(self.true)
        shape = len(self.true), len(self.found)
        self.shared = np.array([[(t & f).sum() for f in self.found] for t in self.true])
        self.either = np.array([[(t | f).sum() for f in self.found] for t in self.true])
        self.shared, self.either = self.shared.reshape(shape), self.either.reshape(shape)
        self.iou = self.shared / np.maximum(self.either, 1)

    def sq(self) -> Parts:
        sure = self.iou[self.iou > 0.5]
        return sure.sum(), len(sure)

    def dq(self) -> Parts:
        return 2 * self.sq()[1], self.number

    def pq(self) -> Parts:
        return 2 * self.sq()[0], self.number

    def aji(self) -> Parts:
        """Kumar's algorithm: each true object takes the prediction of largest IoU."""
        best = [(t, int(row.argmax())) for t, row in enumerate(self.iou) if row.any()]
        return self._aggregated(best)

    def aji_plus(self) -> Parts:
        """The same after the assignment of the largest sum of IoU."""
        return self._aggregated(
            [pair for pair in zip(*linear_sum_assignment(-self.iou), strict=True) if self.iou[pair]]
        )

    def ap(self) -> Parts:
        matched = [self._matches(percent / 100) for percent in range(50, 100, 5)]
        return np.array(matched), self.number - np.array(matched)

    def ap50(self) -> Parts:
        return self._matches(0.5), self.number - self._matches(0.5)

    def _matches(self, least: float) -> int:
        """Largest number of pairs that reach an IoU, no object in two."""
        allowed = self.iou >= least
        return int(allowed[linear_sum_assignment(-1.0 * allowed)].sum())

    def _aggregated(self, pairs: Sequence[tuple[int, int]]) -> Parts:
        overlap = union = 0
        for pair in pairs:
            overlap, union = overlap + self.shared[pair], union + self.either[pair]
        for place, objects in enumerate((self.true, self.found)):
            used = {pair[place] for pair in pairs}
            union += sum(o.sum() for number, o in enumerate(objects) if number not in used)
        return overlap, union


def objects(pairs: Sequence[Pair]) -> Scores:
    """What `summarise_objects` gives for numbered objects."""
    images = [Comparison(*pair) for pair in pairs]
    scores: Scores = {"objects_defined": sum(image.number > 0 for image in images)}
    for name in ("pq", "sq", "dq", "aji", "aji_plus", "ap", "ap50"):
        parts: list[Parts] = [getattr(image, name)() for image in images]
        of_set = _fraction(*(sum(part) for part in zip(*parts, strict=True)))
        scores |= {f"{name}_dataset": of_set, f"{name}_dataset/{OBJECTS[1]}": of_set}
        scores[f"{name}_image_mean"] = mean(_fraction(*part) for part in parts)
    return scores


def readings(pairs: Sequence[Pair]) -> Scores:
    """What `summarise_readings` gives, with scikit-image's components and diameters."""
    scores: Scores = {}
    labelled = [pair for pair in pairs if (pair[1] != IGNORE).any()]
    for index, name in enumerate(CLASSES):
        figures = [[_fraction_of(pair, side, index) for side in (0, 1)] for pair in pairs]
        whole = [_fraction_of(_joined(pairs), side, index) for side in (0, 1)]
        scores |= _four("phase_fraction", name, *whole)
        scores[f"phase_fraction_abs_error_image_mean/{name}"] = mean(_sizes_of_errors(figures))
        if not index:
            continue
        images = [[_diameters(side) for side in sides(pair, index)] for pair in labelled]
        pooled = [list(chain(*(image[side] for image in images))) for side in (0, 1)]
        for figure in FIGURES:
            values = [_read(figure, side) if labelled else None for side in pooled]
            scores |= _four(figure, name, *values)
            figures = [[_read(figure, side) for side in image] for image in images]
            scores[f"{figure}_abs_error_image_mean/{name}"] = mean(_sizes_of_errors(figures))
        scores[f"size_distance/{name}"] = _distance(*pooled)
        scores[f"size_distance_image_mean/{name}"] = mean(_distance(*image) for image in images)
    return scores


def _fraction(above: Any, below: Any) -> Value:
    """Mean of the fractions; None where one has nothing below its bar."""
    return float(np.mean(above / below)) if np.all(below) else None


def _joined(pairs: Sequence[Pair]) -> Pair:
    flat = [(prediction.ravel(), truth.ravel()) for prediction, truth in pairs]
    prediction, truth = (np.concatenate(part) for part in zip(*flat, strict=True))
    return prediction, truth


def _fraction_of(pair: Pair, side: int, index: int) -> Value:
    counted = int((pair[1] != IGNORE).sum())
    return int(sides(pair, index)[side].sum()) / counted if counted else None


def _four(figure: str, name: str, found: Value, truth: Value) -> Scores:
    error = None if found is None or truth is None else found - truth
    return {
        f"{figure}/{name}": found,
        f"{figure}_truth/{name}": truth,
        f"{figure}_error/{name}": error,
        f"{figure}_relative_error/{name}": error / truth if error is not None and truth else None,
    }


def _sizes_of_errors(figures: Sequence[Sequence[Value]]) -> list[Value]:
    return [None if f is None or t is None else abs(f - t) for f, t in figures]


def _diameters(side: Array) -> list[float]:
    regions = measure.regionprops(measure.label(side, connectivity=1))
    return [float(region.equivalent_diameter_area) for region in regions]


def _read(figure: str, diameters: list[float]) -> Value:
    if figure == "particles":
        return len(diameters)
    if len(diameters) < 2:
        return diameters[0] if diameters else None
    return statistics.quantiles(diameters, n=10, method="inclusive")[int(figure[1]) - 1]


def _distance(found: list[float], truth: list[float]) -> Value:
    """Area between the two cumulative curves, step by step."""
    if not (found and truth):
        return None
    steps = pairwise(sorted({*found, *truth}))
    return math.fsum((b - a) * abs(_share(found, a) - _share(truth, a)) for a, b in steps)


def _share(values: list[float], limit: float) -> float:
    return sum(value <= limit for value in values) / len(values)
