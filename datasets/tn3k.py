"""Thyroid nodules in ultrasound (TN3K).

    images    3,493, JPEG of many sizes
    classes   background, nodule
    groups    none published: each image counts as a patient of its own
    split     2,303 / 576 / 614: the authors' fold 0 of five, and their test images
    licence   see the authors' page

Masks are JPEG too: a pixel above 127 is nodule. Names carry trainval or test, for their numbers
begin anew.

Layout: the folder tn3k, that is

    trainval-image/0000.jpg   trainval-mask/   test-image/   test-mask/
    tn3k-trainval-fold0.json: {"train": [number, ...], "val": [number, ...]}

Gong et al.: Multi-task learning for thyroid nodule segmentation with thyroid region prior. ISBI
2021. Gong et al.: Thyroid region prior guided attention for ultrasound segmentation of thyroid
nodules. Computers in Biology and Medicine 155, 2023. doi:10.1016/j.compbiomed.2022.106389
"""

import json
from pathlib import Path

from bench import Item, register_dataset


@register_dataset(
    "tn3k",
    classes=("background", "nodule"),
    source="https://github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation",
    licence="see the authors' page",
    mask_values={level: int(level > 127) for level in range(256)},
)
def tn3k(root: Path) -> dict[str, list[Item]]:
    """Thyroid nodules in ultrasound (TN3K); 3,493 images of many sizes."""
    fold = json.loads((root / "tn3k-trainval-fold0.json").read_text())
    parts = {
        part: [_item(root, "trainval", f"{int(number):04}") for number in fold[part]]
        for part in ("train", "val")
    }
    tests = sorted((root / "test-image").glob("*.jpg"))
    return parts | {"test": [_item(root, "test", image.stem) for image in tests]}


def _item(root: Path, part: str, number: str) -> Item:
    image, mask = (root / f"{part}-{kind}" / f"{number}.jpg" for kind in ("image", "mask"))
    return Item(f"{part}_{number}", image, mask, group=f"{part}_{number}")
