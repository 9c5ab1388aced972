"""Restore grey levels of the first drawing of procedural images, for which records exist.

The images of the first records were drawn with NumPy's functions on a processor with AVX-512. With
the functions of `bench.draw.exact`, 63 of 25 million grey levels differ from them by 1, and no mask
or instance does. Each file in `datasets/` lists its first levels, and sets them here, so images are
equal to those of the records on every processor.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Place = tuple[int, ...]  # row, column, channel (only of an image with channels), and level


def restore(image: npt.NDArray[np.uint8], places: Iterable[Place]) -> npt.NDArray[np.uint8]:
    """Return the image (H, W) or (H, W, 3), changed in place, with its levels at some places."""
    for *place, level in places:
        image[tuple(place)] = level
    return image
