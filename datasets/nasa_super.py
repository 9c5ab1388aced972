"""Nickel superalloys under the scanning electron microscope (NASA, sets Super1 and Super2).

    images    23, 512 x 512 px, grey TIFF (two of 16 bits)
    classes   matrix (49 % of pixels), secondary (49 %) and tertiary (2 %) gamma prime precipitates
    groups    12: seven spots of one alloy, two or four fields each, and five other alloys
    split     10 / 4 / 9: the parts of Super1, with the other alloys of Super2/different_test in the
              test part. Super2, Super3 and Super4 hold the same images in other parts
    licence   MIT ("All data contained in this repository")

Masks are drawn over the image in pure blue and pure red. The repository's notebook calls red
secondary but reads the files as blue-green-red, so blue is secondary and red tertiary; the
pictures agree.

Layout: the folder benchmark_segmentation_data of the repository, that is

    Super1/{train,val,test}/*.tif          Super1/{train,val,test}_annot/*_mask.tif
    Super2/different_test/*.tif            Super2/different_test_annot/*_mask.tif

Stuckner, Harder, Smith: Microstructure segmentation with deep learning encoders pre-trained on a
large microscopy dataset. npj Computational Materials 8, 200, 2022. doi:10.1038/s41524-022-00878-5
"""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from bench import Item, register_dataset

FOLDERS = {
    "train": ("Super1/train",),
    "val": ("Super1/val",),
    "test": ("Super1/test", "Super2/different_test"),
}
COLOURS = {1: (0, 0, 255), 2: (255, 0, 0)}  # class to red, green, blue


@register_dataset(
    "nasa_super",
    classes=(
        "matrix",
        "secondary precipitate (gamma prime)",
        "tertiary precipitate (gamma prime)",
    ),
    source="https://github.com/nasa/pretrained-microscopy-models (its folder "
    "benchmark_segmentation_data)",
    licence="MIT",
)
def nasa_super(root: Path) -> dict[str, list[Item]]:
    """Nickel superalloys, SEM (NASA Super1 and Super2); 23 images, 512 x 512 grey, 3 phases."""
    return {
        part: [_item(image) for name in names for image in sorted((root / name).glob("*.tif"))]
        for part, names in FOLDERS.items()
    }


def _item(image: Path) -> Item:
    drawn = image.parent.with_name(f"{image.parent.name}_annot") / f"{image.stem}_mask.tif"
    with Image.open(drawn) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for index, colour in COLOURS.items():
        mask[(pixels == colour).all(axis=-1)] = index
    name = re.sub(r"\W+", "_", image.stem)
    return Item(name, image, mask, group=name.split("_")[0])
