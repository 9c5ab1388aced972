"""Additively manufactured steels under the scanning electron microscope (MetalDAM).

    images    42, 1024 x 703 px (some 1024 x 702, in the release also 1280 x 895), grey
    classes   matrix (35 % of pixels), austenite (55 %), martensite/austenite (9 %), defect (1 %);
              precipitates (0.2 %), which the authors left out for the most part, are unlabelled
    groups    in the copy 22 series of fields by file name, such as C6-C8-c12-400: an inference; the
              release only numbers its images, so each counts as a specimen of its own
    split     none by the publisher; the copy's folds part images, not specimens, and are unused
    licence   not stated

Two layouts are read. The release on github.com/ari-dasci/OD-MetalDAM, as programs that use it
describe it; its images still carry the information bar, which is cut off to the height of the
labels:

    images/micrograph*.jpg   labels/micrograph*.png (0 to 4; 3 is Precipitate, 4 is Defect)

The copy on github.com/lei-bo/MatSemiSeg, folder data/MetalDAM, which stores -1 and 0 to 3 without
names; shares of pixels say that -1 is Precipitate and 3 is Defect. Its items are numbered in the
order of their file names:

    images/*.png   labels/*.npy (int8)

Luengo et al.: A tutorial on the segmentation of metallographic images: taxonomy, new MetalDAM
dataset, deep learning-based ensemble model, experimental analysis and challenges. Information
Fusion 78, 2022, 232-253.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench import IGNORE, Item, register_dataset

RELEASED = np.array([0, 1, 2, IGNORE, 3], np.uint8)  # class of each label in the release
# Series and number of a field: C6-C8-c6-400 1, C62-c14-300º 9, C6-C8-c12-noPH 10, IV-26 -03, 2 05.
SERIES = re.compile(r"(.*(?:00|noPH))º?\d+|(.+)-\d\d|(\d)\d\d")


@register_dataset(
    "metaldam",
    classes=("Matrix", "Austenite", "Martensite/Austenite (MA)", "Defect"),
    source="https://github.com/ari-dasci/OD-MetalDAM",
    licence="not stated",
)
def metaldam(root: Path) -> list[Item]:
    """Additively manufactured steels, SEM (MetalDAM); 42 images, 1024 x 703 grey, 4 phases."""
    items = []
    for number, file in enumerate(sorted((root / "labels").glob("*.npy"))):
        mask = np.load(file).astype(np.uint8)  # -1 becomes IGNORE
        image = _image(root / "images" / f"{file.stem}.png", len(mask))
        items.append(Item(f"metaldam_{number:03}", image, mask, _series(file.stem)))
    for file in sorted((root / "labels").glob("*.png")):
        with Image.open(file) as labels:  # one file is grey in three channels
            mask = RELEASED[np.asarray(labels if labels.mode == "P" else labels.convert("L"))]
        image = _image(root / "images" / f"{file.stem}.jpg", len(mask))
        items.append(Item(file.stem, image, mask, file.stem))
    return items


def _image(file: Path, rows: int) -> Path | npt.NDArray[np.uint8]:
    """The file, or its first rows where it has more than its labels."""
    with Image.open(file) as picture:
        return file if picture.height <= rows else np.asarray(picture.convert("L"))[:rows]


def _series(name: str) -> str:
    series = SERIES.fullmatch(name)
    return name if series is None else series[series.lastindex or 0]
