"""Nuclei in haematoxylin and eosin sections of many organs and hospitals (MoNuSeg 2018).

    images     51, 1000 x 1000 px, RGB TIFF at 40x
    classes    background, nucleus
    instances  30,837 outlines (24,140 to train, 6,697 to test)
    groups     the patient: the first three words of the name, as in TCGA-18-5592
    split      37 / 14 by the challenge; no validation part is published
    licence    CC BY-NC-SA 4.0

Outlines are filled here; where two overlap, the later in the file wins. Counts are those that users
of the download report.

Layout: both archives of the challenge, side by side, that is

    MoNuSeg 2018 Training Data/Tissue Images/*.tif   MoNuSeg 2018 Training Data/Annotations/*.xml
    MoNuSegTestData/*.tif                            MoNuSegTestData/*.xml

Kumar et al.: A multi-organ nucleus segmentation challenge. IEEE Transactions on Medical Imaging 39,
2020. doi:10.1109/TMI.2019.2947628
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from bench import Item, register_dataset

MOST = 8191  # nuclei an image
Numbers = npt.NDArray[np.uint16]
Keep = Callable[[str, Sequence[Path], Callable[[], Numbers]], Path]
FOLDERS = {  # of outlines and of images
    "train": (
        "MoNuSeg 2018 Training Data/Annotations",
        "MoNuSeg 2018 Training Data/Tissue Images",
    ),
    "test": ("MoNuSegTestData", "MoNuSegTestData"),
}


@register_dataset(
    "monuseg",
    classes=("background", "nucleus"),
    source="https://monuseg.grand-challenge.org/Data/",
    licence="CC BY-NC-SA 4.0",
    mask_values={number: min(number, 1) for number in range(MOST + 1)},
)
def monuseg(root: Path, keep: Keep) -> dict[str, list[Item]]:
    """Nuclei of many organs, H&E (MoNuSeg 2018); 51 images, 1000 x 1000 RGB, instances."""
    return {
        part: [
            _item(file, root / images / f"{file.stem}.tif", keep)
            for file in sorted((root / outlines).glob("*.xml"))
        ]
        for part, (outlines, images) in FOLDERS.items()
    }


def _item(outlines: Path, image: Path, keep: Keep) -> Item:
    numbers = keep(image.stem, [outlines, image], partial(_fill, outlines, image))
    return Item(image.stem, image, numbers, "-".join(image.stem.split("-")[:3]), numbers)


def _fill(outlines: Path, image: Path) -> Numbers:
    """Numbers (H, W) of the regions of a file, from 1 in its order."""
    with Image.open(image) as picture:
        drawn = Image.new("I", picture.size)
    draw = ImageDraw.Draw(drawn)
    for number, region in enumerate(ElementTree.parse(outlines).iter("Region"), 1):
        corners = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
        if len(corners) > 2:  # the annotators left a few stray clicks
            draw.polygon(corners, fill=number)
    return np.asarray(drawn).astype(np.uint16)
