"""Nuclei in many kinds of microscopy: the 2018 Data Science Bowl, training images of stage 1.

    images     670, 256 x 256 px to 1040 x 1388 px, RGBA PNG: most by fluorescence, the rest
               brightfield and stained with haematoxylin and eosin
    classes    background, nucleus (16 % of pixels)
    instances  29,461 files of one nucleus each
    groups     none published: each image counts as a specimen of its own
    split      none: the images of the tests have their solutions elsewhere
    licence    CC0 1.0

Names are the first 16 digits of the publisher's. Where two nuclei overlap, the file that comes
later wins.

Layout: the archive stage1_train.zip, that is

    <id>/images/<id>.png   <id>/masks/*.png (0 or 255)

Caicedo et al.: Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl. Nature
Methods 16, 2019. doi:10.1038/s41592-019-0612-7. Image set BBBC038 of the Broad Bioimage Benchmark
Collection.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench import Item, UserError, register_dataset

MOST = 4095  # nuclei an image
Numbers = npt.NDArray[np.uint16]


@register_dataset(
    "dsb2018",
    classes=("background", "nucleus"),
    source="https://bbbc.broadinstitute.org/BBBC038",
    licence="CC0 1.0",
    mask_values={number: min(number, 1) for number in range(MOST + 1)},
)
def dsb2018(
    root: Path, keep: Callable[[str, Sequence[Path], Callable[[], Numbers]], Path]
) -> list[Item]:
    """Nuclei, fluorescence and stained (Data Science Bowl 2018); 670 images, instances."""
    items = []
    wrapped = root / "stage1_train"
    for folder in sorted((wrapped if wrapped.is_dir() else root).glob("*/images")):
        name, nuclei = folder.parent.name, sorted((folder.parent / "masks").glob("*.png"))
        if not nuclei:
            raise UserError(f"'{folder.parent}' holds no masks/*.png; get the collection again")
        numbers = keep(name[:16], nuclei, partial(_number, nuclei))
        items.append(Item(name[:16], folder / f"{name}.png", numbers, name[:16], numbers))
    return items


def _number(nuclei: Sequence[Path]) -> Numbers:
    """One map (H, W) of the files of an image, numbered from 1."""
    maps = (np.asarray(Image.open(file).convert("L")) > 0 for file in nuclei)
    return reduce(np.maximum, (inside * np.uint16(n) for n, inside in enumerate(maps, 1)))
