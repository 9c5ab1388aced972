"""The prediction of an image, as a whole or in bands of rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bench.evaluate.scoring import Map
from bench.evaluate.whole import decide

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
    """

    rows: slice
    classes: Map
    foreground: Floats
    uncertainty: Floats
    objects: npt.NDArray[np.int32] | None = None


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


def bands_of(rows: slice, logits: Tensor) -> Iterator[Band]:
    """Yield predictions in bands of at most `BAND_PX` pixels, which limits the memory.

    Args:
        rows: rows of the image that the logits are of.
        logits: (K, h, W).
    """
    tall = max(1, BAND_PX // logits.shape[-1])
    for top in range(0, logits.shape[1], tall):
        part = logits[:, top : top + tall]
        start = rows.start + top
        yield band_of(slice(start, start + part.shape[1]), part)


def band_of(rows: slice, logits: Tensor) -> Band:
    """The prediction of some rows of an image, on the CPU and without objects.

    Args:
        rows: the rows.
        logits: (K, h, W) of these rows, K >= 2 classes with the background first; the softmax over
            the classes gives probabilities.
    """
    classes, foreground = decide(logits)
    return Band(rows, classes, foreground, _uncertainty(logits))


def _uncertainty(logits: Tensor) -> Floats:
    """Entropy of logits (K, H, W) over the classes, in [0, 1]."""
    logs = logits.float().log_softmax(0)
    entropy = -(logs.exp() * logs).nan_to_num(0.0).sum(0) / np.log(len(logits))
    return np.asarray(entropy.clamp(0, 1).cpu().numpy(), np.float32)
