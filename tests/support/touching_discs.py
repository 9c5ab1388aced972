"""A folder of images of discs that touch, with instance maps."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def touching_discs(seed: int) -> npt.NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :48]
    numbers = np.zeros((40, 48), np.uint16)
    for number, column in enumerate((10, 22, 34), start=1):
        row = rng.integers(14, 26)
        numbers[(rows - row) ** 2 + (columns - column) ** 2 < 49] = number
    return numbers


def write_discs(root: Path) -> Path:
    """Write 6 images of three bright discs that touch, with instance maps; return the folder."""
    for part in ("images", "masks", "instances"):
        (root / part).mkdir(parents=True)
    for number in range(6):
        numbers = touching_discs(number)
        noise = np.random.default_rng(number).integers(0, 40, numbers.shape)
        image = (160 * (numbers > 0) + noise).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"image_{number}.png")
        mask = ((numbers > 0) * 255).astype(np.uint8)
        Image.fromarray(mask).save(root / "masks" / f"image_{number}.png")
        Image.fromarray(numbers).save(root / "instances" / f"image_{number}.png")
    return root
