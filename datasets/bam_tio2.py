"""Agglomerates of titania nanoparticles by scanning electron microscopy (BAM).

    images     40, 1024 x 712 px, grey TIFF
    classes    background, particle
    instances  the regions of a mask that do not touch by their edges, as its authors part them
    groups     none published: each image counts as a specimen of its own
    split      none published
    licence    CC BY-NC-ND 4.0

A mask pixel above 127 is particle. Read are the images of the SEM detector with the masks that were
drawn by hand; those of the transmission detector (TSEM) have another field of view.

Layout: the folder Datasets of the repository, that is

    Electron Microscopy Images/SEM/*.tif
    Electron Microscopy Image Masks/TiO2_Masks_Manual_4connected/*_m.tif

Rühle, Krumrey, Hodoroaba: Workflow towards automated segmentation of agglomerated, non-spherical
particles from electron microscopy images using artificial neural networks. Scientific Reports 11,
2021. doi:10.1038/s41598-021-84287-6
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from bench import Item, register_dataset

Numbers = npt.NDArray[np.uint16]
Keep = Callable[[str, Sequence[Path], Callable[[], Numbers]], Path]


@register_dataset(
    "bam_tio2",
    classes=("background", "particle"),
    source="https://github.com/BAMresearch/automatic-sem-image-segmentation (its folder Datasets)",
    licence="CC BY-NC-ND 4.0",
    mask_values={level: int(level > 127) for level in range(256)},
)
def bam_tio2(root: Path, keep: Keep) -> list[Item]:
    """Agglomerates of titania nanoparticles, SEM (BAM); 40 images, 1024 x 712 grey, instances."""
    images = root / "Electron Microscopy Images" / "SEM"
    masks = root / "Electron Microscopy Image Masks" / "TiO2_Masks_Manual_4connected"
    items = []
    for mask in sorted(masks.glob("*_m.tif")):
        name = mask.stem.removesuffix("_m")
        numbers = keep(name, [mask], partial(_number, mask))
        items.append(Item(name, images / f"{name}.tif", mask, name, numbers))
    return items


def _number(mask: Path) -> Numbers:
    """Numbers (H, W) of the regions that are joined by edges."""
    with Image.open(mask) as picture:
        numbers, _ = ndimage.label(np.asarray(picture.convert("L")) > 127)
    return np.asarray(numbers, np.uint16)
