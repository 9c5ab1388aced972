"""Small folders of images and masks, as a user would have them."""

from pathlib import Path

import numpy as np
from PIL import Image

MIXED = ((".png", ".png"), (".tif", ".tif"), (".jpg", ".png"), (".bmp", ".bmp"))


def make_folder(
    root: Path,
    count: int = 8,
    formats: tuple[tuple[str, str], ...] = ((".png", ".png"),),
    seed: int = 0,
) -> Path:
    """Cloudy 48 x 40 images of a bright rectangle each, with masks of 0 and 255.

    Args:
        root: is made; holds images/ and masks/.
        count: of images.
        formats: suffixes of image and mask, taken in turn; TIFF images have 16 bits.
        seed: other seeds give other images.
    """
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        mask = np.zeros((40, 48), np.uint8)
        top, left = rng.integers(2, 18), rng.integers(2, 22)
        mask[top : top + rng.integers(8, 20), left : left + rng.integers(8, 24)] = 255
        cloud = Image.fromarray(rng.integers(0, 120, (10, 12), np.uint8)).resize((48, 40))
        image = (mask // 2 + np.asarray(cloud)).astype(np.uint8)
        shown, marked = formats[number % len(formats)]
        wide = image.astype(np.uint16) * 16 if shown == ".tif" else image
        Image.fromarray(wide).save(root / "images" / f"image_{number}{shown}")
        Image.fromarray(mask).save(root / "masks" / f"image_{number}{marked}")
    return root
