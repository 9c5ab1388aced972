"""Make a few small images with masks, with which a whole cell takes seconds."""

from pathlib import Path

import numpy as np
from PIL import Image

TINY_CLASSES = 2
COUNT, HEIGHT, WIDTH = 8, 40, 48


def write_tiny_folder(folder: Path) -> Path:
    """Write 8 images (40, 48) of a bright rectangle on noise, and masks of the values 0 and 255.

    They are grey PNG files, the same in every call; a mask has the name of its image.

    Args:
        folder: it is created if needed, with images/ and masks/ inside.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder already contains images/ or masks/.
    """
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        top, left = rng.integers(2, 18), rng.integers(2, 22)
        mask[top : top + rng.integers(8, 20), left : left + rng.integers(8, 24)] = 255
        image = mask // 2 + rng.integers(0, 120, mask.shape, np.uint8)
        Image.fromarray(image).save(folder / "images" / f"image_{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"image_{number}.png")
    return folder
