"""The prediction of an image, as a whole or in bands of rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bench.evaluate.scoring import Map
from bench.evaluate.whole import decide
from bench.learn.model import Model
from bench.objects.rules import ObjectRule

Floats = npt.NDArray[np.float32]
BAND_PX = 1 << 21


@dataclass(frozen=True, eq=False)
class Band:
    """The prediction of some rows of an image.

    A mask generator gives no probabilities: `foreground` is then 0 or 1 and `uncertainty` 0.

    Attributes:
        rows: of the image.
        classes: (h, W) class indices.
        foreground: (h, W) probability in [0, 1] that a pixel is not of class 0.
        uncertainty: (h, W) entropy of the class probabilities, divided by its largest value ln K:
            0 is certain, 1 is undecided.
        objects: (h, W) numbers of objects from 1 on, 0 is none; None where the connected components
            of each class are the objects.
        distances: (C, h, W) learned maps that objects are found with; None without any.
    """

    rows: slice
    classes: Map
    foreground: Floats
    uncertainty: Floats
    objects: npt.NDArray[np.int32] | None = None
    distances: Floats | None = None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The prediction of one image, at its own size.

    Attributes:
        classes: (H, W) uint8 class indices.
        foreground: (H, W) float32 probability in [0, 1] of not being class 0, see `Band`.
        uncertainty: (H, W) float32 in [0, 1], see `Band`.
        class_names: of the K classes, the background first.
        evaluation: "whole", "tiles" or "generator".
        objects: (H, W) int32 numbers of objects; None as in `Band`.
    """

    classes: Map
    foreground: Floats
    uncertainty: Floats
    class_names: tuple[str, ...]
    evaluation: str
    objects: npt.NDArray[np.int32] | None = None


def bands_of(rows: slice, logits: Tensor, model: Model) -> Iterator[Band]:
    """Yield predictions in bands of at most `BAND_PX` pixels, which limits the memory.

    Args:
        rows: rows of the image that the logits are of.
        logits: (K + C, h, W) outputs, C of them the maps of the rule for objects.
        model: of the outputs.
    """
    tall = max(1, BAND_PX // logits.shape[-1])
    for top in range(0, logits.shape[1], tall):
        part = logits[:, top : top + tall]
        start = rows.start + top
        yield band_of(slice(start, start + part.shape[1]), part, model)


def band_of(rows: slice, logits: Tensor, model: Model) -> Band:
    """The prediction of some rows of an image, on the CPU and without objects.

    Args:
        rows: the rows.
        logits: (K + C, h, W) outputs of these rows, K >= 2 classes with the background first and C
            maps of the rule for objects; the softmax over the classes gives probabilities.
        model: of the outputs.
    """
    outputs, shares = model.split(logits)
    classes, foreground = decide(outputs)
    distances = None if shares is None else np.asarray(shares.cpu().numpy(), np.float32)
    return Band(rows, classes, foreground, _uncertainty(outputs), None, distances)


def objects_of(bands: Sequence[Band], rule: ObjectRule) -> npt.NDArray[np.int32] | None:
    """The objects (H, W) of an image; None where the connected components are the objects.

    Args:
        bands: all of the image, from top to bottom.
        rule: of the model.
    """
    if bands[0].objects is not None:
        return np.concatenate([band.objects for band in bands if band.objects is not None])
    maps = [band.distances for band in bands if band.distances is not None]
    classes = np.concatenate([band.classes for band in bands])
    return rule.separate(classes, np.concatenate(maps, axis=1) if maps else None)


def _uncertainty(logits: Tensor) -> Floats:
    """Entropy of logits (K, H, W) over the classes, in [0, 1]."""
    logs = logits.float().log_softmax(0)
    entropy = -(logs.exp() * logs).nan_to_num(0.0).sum(0) / np.log(len(logits))
    return np.asarray(entropy.clamp(0, 1).cpu().numpy(), np.float32)
