"""Nuclei in haematoxylin and eosin sections of 31 human and mouse organs (NuInsSeg).

    images     665, 512 x 512 px, RGB PNG
    classes    background, nucleus
    instances  30,698, overlapping pixels given to one of them ("label masks modify")
    groups     31 organs; of each one slide was scanned, so an organ is also the specimen
    split      none as files; the authors cross-validate over images in five folds. Here
               `--folds 5` deals whole organs
    licence    CC BY 4.0

The vague areas that the authors mark too are not left out. Counts are the publisher's.

Layout: the archive NuInsSeg.zip, that is

    <organ>/tissue images/*.png   <organ>/mask binary/*.png   <organ>/label masks modify/*.tif

Mahbod et al.: NuInsSeg: a fully annotated dataset for nuclei instance segmentation in H&E-stained
histological images. Scientific Data 11, 2024. doi:10.1038/s41597-024-03117-2
"""

from pathlib import Path

from bench import Item, register_dataset


@register_dataset(
    "nuinsseg",
    classes=("background", "nucleus"),
    source="https://zenodo.org/records/10518968",
    licence="CC BY 4.0",
    mask_values={0: 0, 1: 1, 255: 1},
)
def nuinsseg(root: Path) -> list[Item]:
    """Nuclei of 31 organs, H&E (NuInsSeg); 665 images, 512 x 512 RGB, instances."""
    return [_item(image) for image in sorted(root.glob("*/tissue images/*.png"))]


def _item(image: Path) -> Item:
    organ, name = image.parent.parent, image.stem
    mask = organ / "mask binary" / f"{name}.png"
    numbers = organ / "label masks modify" / f"{name}.tif"
    return Item(name, image, mask, organ.name, numbers)
