"""Optic disc and cup in photographs of the retina (REFUGE).

    images    1,200, RGB JPEG: 400 of 2124 x 2056 px to train, 800 of 1634 x 1634 px
    classes   `refuge`: background, rim of the optic disc, optic cup; the disc is both
              `refuge_disc`: background, optic disc; `refuge_cup`: background, optic cup
    groups    none published: each image counts as a patient of its own
    split     400 / 400 / 400 by the challenge; the first and the others by two cameras
    licence   terms of the challenge

Masks hold 255 for the background, 128 for the rim and 0 for the cup. The files of the three are the
same: `refuge_disc` and `refuge_cup` may be links to the folder `refuge`.

Layout: the archives of the challenge, side by side. As hosts pack them into differing folders,
files are found by name: masks below any Disc_Cup_Masks, images anywhere but among the
illustrations, the part by the first letter:

    Training400/{Glaucoma,Non-Glaucoma}/{g,n}*.jpg     Annotation-Training400/Disc_Cup_Masks/*/*.bmp
    REFUGE-Validation400/V*.jpg                        REFUGE-Validation400-GT/Disc_Cup_Masks/*.bmp
    Test400/T*.jpg                                     REFUGE-Test-GT/Disc_Cup_Masks/*.bmp

Orlando et al.: REFUGE challenge: a unified framework for evaluating automated methods for glaucoma
assessment from fundus photographs. Medical Image Analysis 59, 2020.
doi:10.1016/j.media.2019.101570
"""

from functools import partial
from pathlib import Path

from bench import Item, UserError, register_dataset

PARTS = {"g": "train", "n": "train", "V": "val", "T": "test"}


_register = partial(
    register_dataset, source="https://refuge.grand-challenge.org/", licence="terms of the challenge"
)


@_register(
    "refuge",
    classes=("background", "optic disc rim", "optic cup"),
    mask_values={255: 0, 128: 1, 0: 2},
)
def refuge(root: Path) -> dict[str, list[Item]]:
    """Optic disc and cup in fundus photographs (REFUGE); 1,200 images, 1634 x 1634 RGB and more."""
    return _parts(root)


@_register("refuge_disc", classes=("background", "optic disc"), mask_values={255: 0, 128: 1, 0: 1})
def refuge_disc(root: Path) -> dict[str, list[Item]]:
    """Optic disc in fundus photographs (REFUGE); 1,200 images, 1634 x 1634 RGB and more."""
    return _parts(root)


@_register("refuge_cup", classes=("background", "optic cup"), mask_values={255: 0, 128: 0, 0: 1})
def refuge_cup(root: Path) -> dict[str, list[Item]]:
    """Optic cup in fundus photographs (REFUGE); 1,200 images, 1634 x 1634 RGB and more."""
    return _parts(root)


def _parts(root: Path) -> dict[str, list[Item]]:
    """The items of each part of the challenge."""
    masks = {file.stem: file for file in root.rglob("Disc_Cup_Masks/**/*.bmp")}
    images = {
        file.stem: file
        for file in root.rglob("[gnVT][0-9]*.jpg")
        if "Illustration" not in str(file.relative_to(root))
    }
    if alone := sorted(images.keys() ^ masks.keys()):
        file = (images | masks)[alone[0]]
        raise UserError(f"'{file}' lacks its image or its mask, one of {len(alone)}; get it again")
    parts: dict[str, list[Item]] = {}
    for name, image in images.items():
        parts.setdefault(PARTS[name[0]], []).append(Item(name, image, masks[name], group=name))
    return parts
