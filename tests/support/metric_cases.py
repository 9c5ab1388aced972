"""Predictions with their truths, easy and awkward, and what `bench.metrics` says about them.

A case is a small test set: one pair of a prediction and its truth, or several. The scores of a set
hold those of single images too, so they are all that is compared (`metric_references.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bench.data.items import IGNORE
from bench.metrics.objects import score_objects, summarise_objects
from bench.metrics.readings import read_image, summarise_readings
from bench.metrics.saliency import score_saliency, summarise_saliency
from bench.metrics.scores import score_image, summarise
from bench.metrics.volumes import score_volume, summarise_volumes

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]  # prediction, truth
Scores = dict[str, float | None]

CLASSES = ("matrix", "carbide", "pore")
OBJECTS = ("matrix", "particle")
SPACING_MM = (5.0, 0.8, 0.75)


@dataclass(frozen=True)
class Case:
    """A named test set; all pairs of a kind of case are made alike."""

    name: str
    pairs: tuple[Pair, ...]


def blobs(seed: int, shape: tuple[int, ...] = (48, 64), num_classes: int = 3) -> Pair:
    """Regions of every class; the prediction is shifted, and 2 % of its pixels are wrong."""
    rng = np.random.default_rng(seed)
    fields = [
        ndimage.gaussian_filter(rng.normal(size=shape), [min(4, n / 8) for n in shape])
        for _ in range(num_classes)
    ]
    mask = np.argmax(fields, axis=0).astype(np.uint8)
    prediction = np.roll(mask, [1, 2, -3][-mask.ndim :], axis=tuple(range(mask.ndim)))
    wrong = rng.random(shape) < 0.02
    prediction[wrong] = rng.integers(0, num_classes, wrong.sum())
    return prediction, mask


def label_cases(shape: tuple[int, ...], narrow: tuple[int, ...]) -> tuple[Case, ...]:
    """Class maps, or volumes: the cases that both know."""
    prediction, mask = blobs(0, shape)
    nothing = np.zeros_like(mask)
    points, moved = np.zeros((2, *shape), np.uint8)
    points.flat[[5, 300, 907, 1500]] = [1, 2, 1, 1]
    moved.flat[[5, 301, 911, 2000]] = [1, 2, 1, 1]
    halves = np.full(shape, 1, np.uint8)
    halves[..., shape[-1] // 2 :] = 2
    ignored, filled = mask.copy(), prediction.copy()
    ignored[..., 9:22, 11:30] = IGNORE
    filled[..., 9:22, 11:30] = 77
    single = {
        "random blobs": (prediction, mask),
        "perfect": (mask, mask),
        "empty prediction": (nothing, mask),
        "empty truth": (prediction, nothing),
        "both empty": (nothing, nothing),
        "absent class": (np.minimum(prediction, 1), np.minimum(mask, 1)),
        "class in the truth only": (np.minimum(prediction, 1), mask),
        "class in the prediction only": (prediction, np.minimum(mask, 1)),
        "one-pixel objects": (moved, points),
        "touching objects": (np.roll(halves, 3, -1), halves),
        "one class everywhere": (np.ones_like(mask), np.ones_like(mask)),
        "ignored pixels": (filled, ignored),
        "all ignored": (filled, np.full_like(mask, IGNORE)),
        "non-square": blobs(1, narrow),
    }
    cases = [Case(name, (pair,)) for name, pair in single.items()]
    return (*cases, Case("set of all", tuple(single.values())))


def grey_cases() -> tuple[Case, ...]:
    """Maps (H, W) in 0..255 of one foreground, and masks of it."""
    prediction, truth = _grey(0)
    nothing, point = np.zeros((2, *truth.shape), bool)
    point[20, 31] = True
    black = np.zeros_like(prediction)
    single = {
        "random blobs": (prediction, truth),
        "perfect": (truth.astype(np.uint8) * 255, truth),
        "black prediction": (black, truth),
        "white prediction": (black + 255, truth),
        "constant grey": (black + 100, truth),
        "narrow range of grey": (prediction // 3 + 60, truth),
        "empty truth": (prediction, nothing),
        "both empty": (black, nothing),
        "full truth": (prediction, ~nothing),
        "one-pixel object": (np.roll(prediction, 5), point),
        "non-square": _grey(1, (13, 150)),
    }
    cases = [Case(name, (pair,)) for name, pair in single.items()]
    return (*cases, Case("set of all", tuple(single.values())))


def object_cases() -> tuple[Case, ...]:
    """Numbered objects (H, W), 0 where there is none."""
    single = {f"touching objects {seed}": _discs(seed) for seed in range(3)}
    found, truth = single["touching objects 0"]
    nothing = np.zeros_like(truth)
    halves, whole = np.zeros((2, 6, 10), np.int64)
    halves[1:5, 1:5], halves[1:5, 5:9], whole[1:5, 1:9] = 1, 2, 1
    points, moved = np.zeros((2, 9, 12), np.int64)
    points[[1, 4, 7], [2, 5, 8]] = moved[[1, 4, 7], [2, 6, 8]] = [1, 2, 3]
    single |= {
        "perfect": (truth, truth),
        "merged objects": (ndimage.label(found)[0], truth),
        "empty prediction": (nothing, truth),
        "empty truth": (found, nothing),
        "both empty": (nothing, nothing),
        "one-pixel objects": (moved, points),
        "one object found as halves": (halves, whole),
        "gaps in the numbers": (found * 7, truth * 300),
        "non-square": _discs(3, (20, 200)),
    }
    cases = [Case(name, (pair,)) for name, pair in single.items()]
    return (*cases, Case("set of all", tuple(single.values())))


def _grey(seed: int, shape: tuple[int, int] = (48, 64)) -> Pair:
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    truth = field > np.quantile(field, 0.7)
    soft = ndimage.gaussian_filter(np.roll(truth, 2, axis=1).astype(float), 2)
    noisy = np.clip(0.8 * soft + 0.3 * rng.random(shape), 0, 1)
    return (noisy * 255).astype(np.uint8), truth


def _discs(seed: int, shape: tuple[int, int] = (60, 70)) -> Pair:
    """Discs drawn over one another; in the prediction moved, resized and some missed."""
    rng, places = np.random.default_rng(seed), np.indices(shape)
    found, truth = np.zeros((2, *shape), np.int64)
    for number in range(1, 19):
        centre, radius = rng.random(2) * shape, rng.uniform(2, 8)
        moved, resized = centre + rng.normal(0, 1, 2), radius * rng.uniform(0.8, 1.2)
        truth[_disc(places, centre, radius)] = number
        if number % 6:
            found[_disc(places, moved, resized)] = 20 - number
    return found, truth


def _disc(places: Array, centre: Array, radius: float) -> Array:
    return ((places - centre[:, None, None]) ** 2).sum(axis=0) < radius**2


def _class_maps(pairs: Sequence[Pair]) -> Scores:
    return summarise([score_image(*pair, len(CLASSES)) for pair in pairs], CLASSES)


def _grey_maps(pairs: Sequence[Pair]) -> Scores:
    return summarise_saliency([score_saliency(grey / 255, truth) for grey, truth in pairs])


def _objects(pairs: Sequence[Pair]) -> Scores:
    return summarise_objects([(score_objects(*pair),) for pair in pairs], OBJECTS)


def _volumes(pairs: Sequence[Pair]) -> Scores:
    scores = [score_volume(*pair, len(CLASSES), SPACING_MM) for pair in pairs]
    return summarise_volumes(scores, CLASSES)


def _readings(pairs: Sequence[Pair]) -> Scores:
    return summarise_readings([read_image(*pair, len(CLASSES)) for pair in pairs], CLASSES)


_MAPS = label_cases((48, 64), (13, 150))

# Kind of case -> its cases, and the scores of this project.
KINDS: dict[str, tuple[tuple[Case, ...], Callable[[Sequence[Pair]], Scores]]] = {
    "class maps": (_MAPS, _class_maps),
    "grey maps": (grey_cases(), _grey_maps),
    "objects": (object_cases(), _objects),
    "volumes": (label_cases((7, 24, 32), (2, 9, 60)), _volumes),
    "readings": (_MAPS, _readings),
}
