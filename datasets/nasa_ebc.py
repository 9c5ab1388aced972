"""Oxide under environmental barrier coatings, by scanning electron microscopy (NASA, set EBC1).

    images    24 or so, grey TIFF of about 1000 px a side
    classes   rest, oxide layer, crack in the oxide
    groups    the specimen: date and number in a file's name, as in 050317#3
    split     18 to train and the rest by the repository. It parts images, so that some specimens
              are on both sides, which the leakage gate reports
    licence   MIT ("All data contained in this repository")

Masks hold 0, 1 and 2; the repository's notebook takes 1 and 2 together as oxide and says that the
cracks in it are labelled too, so 2 is read as crack. EBC2 and EBC3 hold the same images in other
parts. Sizes and the number of images to validate and to test were not established.

Layout: the folder benchmark_segmentation_data of the repository, that is

    EBC1/{train,val,test}/*.tif   EBC1/{train,val,test}_annot/ (equal names)

Stuckner, Harder, Smith: Microstructure segmentation with deep learning encoders pre-trained on a
large microscopy dataset. npj Computational Materials 8, 200, 2022. doi:10.1038/s41524-022-00878-5
"""

import re
from pathlib import Path

from bench import Item, register_dataset

SPECIMEN = re.compile(r"\d{6}#\d+")


@register_dataset(
    "nasa_ebc",
    classes=("rest", "oxide", "crack in the oxide"),
    source="https://github.com/nasa/pretrained-microscopy-models (its folder "
    "benchmark_segmentation_data)",
    licence="MIT",
)
def nasa_ebc(root: Path) -> dict[str, list[Item]]:
    """Oxide under environmental barrier coatings, SEM (NASA EBC1); about 24 images, grey."""
    return {
        part: [_item(image) for image in sorted((root / "EBC1" / part).glob("*.tif"))]
        for part in ("train", "val", "test")
    }


def _item(image: Path) -> Item:
    mask = image.parent.with_name(f"{image.parent.name}_annot") / image.name
    specimen = SPECIMEN.search(image.stem)
    name = re.sub(r"\W+", "_", image.stem)
    return Item(name, image, mask, group=specimen[0] if specimen else name)
