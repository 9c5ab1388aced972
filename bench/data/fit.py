"""How an image becomes the square input of a model, and how its predictions come back.

"square" resizes both sides, the aspect ratio is not kept, as in SAMed, MedSAM and SAM-Adapter.
"pad" keeps it, as SAM itself does: the longer side gets the side of the square, and the rest, at
the right or below, is padded. SAM pads with zeros after its normalisation of pixels: `PADDING`,
its mean colour, becomes zero there but for rounding. The padding has no label.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data.items import IGNORE
from bench.errors import no_such

FITS = {
    "square": "both sides resized, aspect ratio not kept",
    "pad": "aspect ratio kept, padded at the right or below, as in SAM",
}
PADDING = (124, 116, 104)  # SAM's mean pixel (123.675, 116.28, 103.53), rounded

UInt8 = npt.NDArray[np.uint8]
Labels = npt.NDArray[Any]
Box = tuple[float, float, float, float]  # left, upper, right, lower in pixels


def check_fit(name: str) -> None:
    """Raise UserError if no fit has this name."""
    if name not in FITS:
        raise no_such("fit", name, FITS)


def fitted_size(size: tuple[int, ...], side: int, fit: str) -> tuple[int, int]:
    """Height and width in the square that an image covers.

    Args:
        size: height and width of the image, perhaps with further numbers.
        side: of the square in pixels.
        fit: in `FITS`.
    """
    if fit == "square":
        return side, side
    scale = side / max(size[:2])
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def resize(
    image: Image.Image, size: tuple[int, int], how: Image.Resampling, box: Box | None = None
) -> Labels:
    """The image, or a box of it, as an array of another size.

    Args:
        image: RGB, or a map of labels.
        size: height and width of the result in pixels.
        how: interpolation.
        box: left, upper, right and lower edge of the part in pixels; None for the whole image.

    Returns:
        (height, width, 3) uint8, or (height, width) for labels.
    """
    return np.array(image.resize((size[1], size[0]), how, box))


def resize_image(image: UInt8, side: int, fit: str = "square") -> UInt8:
    """Resize an image to a square by bilinear interpolation, antialiased where it shrinks.

    Args:
        image: (H, W, 3) uint8.
        side: of the result (side, side, 3) in pixels.
        fit: in `FITS`.
    """
    size = fitted_size(image.shape, side, fit)
    return pad_image(resize(Image.fromarray(image), size, Image.Resampling.BILINEAR), side)


def resize_mask(mask: UInt8, side: int, fit: str = "square") -> UInt8:
    """Resize a mask to a square by nearest neighbour, which adds no class but may lose small ones.

    Args:
        mask: (H, W) uint8.
        side: of the result (side, side) in pixels.
        fit: in `FITS`; padding is `IGNORE`.
    """
    size = fitted_size(mask.shape, side, fit)
    return pad_labels(resize(Image.fromarray(mask), size, Image.Resampling.NEAREST), side)


def pad_image(image: UInt8, side: int) -> UInt8:
    """Pad an image (h, w, 3), no larger than the square, with `PADDING` at the right and below."""
    height, width = image.shape[:2]
    if (height, width) == (side, side):
        return image
    padded = np.empty((side, side, 3), np.uint8)
    padded[:] = PADDING
    padded[:height, :width] = image
    return padded


def pad_labels(labels: Labels, side: int) -> Labels:
    """Pad labels (h, w), no larger than the square, at the right and below.

    Padding is `IGNORE` in class maps (uint8) and 0 in instance numbers.
    """
    height, width = labels.shape
    if (height, width) == (side, side):
        return labels
    unlabelled = IGNORE if labels.dtype == np.uint8 else 0
    return np.pad(labels, ((0, side - height), (0, side - width)), constant_values=unlabelled)
