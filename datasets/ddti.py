"""Thyroid nodules in ultrasound (DDTI, as prepared by the authors of TN3K).

    images    637, PNG of many sizes
    classes   background, nodule
    groups    none in this preparation, which numbers images anew: each counts as a patient of its
              own, though the database has 390 patients with several images
    split     none: its authors test on all of it
    licence   see the authors' page

A mask pixel above 127 is nodule. Read is stage1, whose frames and marks were cut away.

Layout: the folder DDTI that comes with TN3K, that is

    2_preprocessed_data/stage1/p_image/*.PNG   2_preprocessed_data/stage1/p_mask/ (equal names)

Pedraza, Vargas, Narváez, Durán, Muñoz, Romero: An open access thyroid ultrasound-image database.
SPIE 9287, 2015. doi:10.1117/12.2073532
"""

from pathlib import Path

from bench import Item, register_dataset


@register_dataset(
    "ddti",
    classes=("background", "nodule"),
    source="https://github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation",
    licence="see the authors' page",
    mask_values={level: int(level > 127) for level in range(256)},
)
def ddti(root: Path) -> list[Item]:
    """Thyroid nodules in ultrasound (DDTI); 637 images of many sizes."""
    folder = root / "2_preprocessed_data" / "stage1"
    return [
        Item(image.stem, image, folder / "p_mask" / image.name, group=image.stem)
        for image in sorted((folder / "p_image").glob("*.PNG"))
    ]
