"""Ultra-high-carbon steel under the scanning electron microscope, labelled by micro-constituent.

    images    24, 645 x 484 px, grey TIFF; the information bar is cropped
    classes   ferritic matrix (74 % of pixels), network of proeutectoid cementite (13 %),
              spheroidite (10 %), Widmanstätten laths (3 %)
    groups    none published: each image counts as a specimen of its own
    split     16 / 4 / 4 by the lists train16A, validate4A and test4A of the repository
    licence   the repository is MIT; the originals at NIST (hdl.handle.net/11256/964) are under a
              Creative Commons licence whose variant was not established

The files hold the indices 0 to 3 without names: names follow the paper, matched by eye.

Layout: the folder data/uhcs of the repository, that is

    images/*.tif   labels/*.npy (int8)   splits/train16A.txt, validate4A.txt, test4A.txt

DeCost, Lei, Francis, Holm: High throughput quantitative metallography for complex microstructures
using deep learning: a case study in ultrahigh carbon steel. Microscopy and Microanalysis 25, 2019.
doi:10.1017/S1431927618015635
"""

from pathlib import Path

import numpy as np

from bench import Item, register_dataset

SPLITS = {"train": "train16A.txt", "val": "validate4A.txt", "test": "test4A.txt"}


@register_dataset(
    "uhcs",
    classes=(
        "matrix (ferritic)",
        "proeutectoid cementite / carbide network",
        "spheroidite particles",
        "Widmanstaetten laths",
    ),
    source="https://github.com/lei-bo/MatSeg (its folder data/uhcs)",
    licence="MIT (the repository); NIST originals under a Creative Commons licence",
)
def uhcs(root: Path) -> dict[str, list[Item]]:
    """Ultra-high-carbon steel, SEM; 24 images, 645 x 484 grey, 4 micro-constituents."""
    return {
        part: [_item(root, line) for line in (root / "splits" / name).read_text().split()]
        for part, name in SPLITS.items()
    }


def _item(root: Path, file: str) -> Item:
    name = Path(file).stem
    mask = np.load(root / "labels" / f"{name}.npy").astype(np.uint8)
    return Item(name, root / "images" / file, mask, group=name)
