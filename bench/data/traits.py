"""Kind and size of images: what a model was trained on, and what it may be given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.items import Item
from bench.data.raster import Raster, load, size_of

SAMPLE = 64  # images that are decoded to find their kind


@dataclass(frozen=True)
class ImageTraits:
    """What the images of a training have in common.

    Attributes:
        types: types of the stored values of a sample of images, such as "uint8" or "uint16".
        colours: "grey", "colour" or both; a colour file with three equal channels is grey.
        height: median of the training images in pixels, of an even number the lower one.
        width: likewise.
        longest: longest side of all images of the cell, test images included, in pixels.
    """

    types: tuple[str, ...]
    colours: tuple[str, ...]
    height: int
    width: int
    longest: int

    @classmethod
    def of(cls, training: Sequence[Item], others: Sequence[Item] = ()) -> "ImageTraits":
        """Determine the traits of training images.

        Types and colours are those of at most `SAMPLE` training images at equal distances; sizes
        are read from the headers of all files (`size_of`).

        Args:
            training: at least one.
            others: further images of the cell, which count for `longest` only.

        Raises:
            UserError, OSError or ValueError: a file cannot be read as an image.
        """
        step = -(-len(training) // SAMPLE)
        kinds = [kind_of_raster(load(item.image)) for item in training[::step]]
        sizes = [size_of(item.image) for item in training]
        heights, widths = zip(*sizes, strict=True)
        return cls(
            types=tuple(sorted({kind[0] for kind in kinds})),
            colours=tuple(sorted({kind[1] for kind in kinds})),
            height=median_low(heights),
            width=median_low(widths),
            longest=max(max(size) for size in (*sizes, *(size_of(item.image) for item in others))),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ImageTraits":
        """Inverse of `dataclasses.asdict`; KeyError or TypeError for missing or other fields."""
        lists = {name: tuple(values[name]) for name in ("types", "colours")}
        return cls(**{**values, **lists})


def kind_of_raster(raster: Raster) -> tuple[str, str]:
    """As `kind_of`; images of more than three channels are, for example, "5-channel"."""
    kind, colour = kind_of(shown_values(raster))
    return kind, f"{raster.channels}-channel" if raster.channels > 3 else colour


def shown_values(raster: Raster) -> npt.NDArray[Any]:
    """The stored values (H, W) or (H, W, C), not scaled; for a palette its colours (H, W, 3)."""
    return raster.values if raster.palette is None else raster.palette[raster.values]


def kind_of(values: npt.NDArray[Any]) -> tuple[str, str]:
    """Name of the NumPy type, such as "uint8", and "grey" or "colour".

    Args:
        values: stored values (H, W) or (H, W, C). They are "colour" if C is at least 3 and the
            first three channels are not equal.
    """
    colour = values.ndim == 3 and values.shape[-1] >= 3
    if colour:
        rgb = values[..., :3]
        colour = bool((rgb != rgb[..., :1]).any())
    return np.dtype(values.dtype).name, "colour" if colour else "grey"
