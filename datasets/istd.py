"""Cast shadows in photographs, taken with and without what casts them (ISTD).

    images    1,870, 640 x 480 px, RGB PNG
    classes   lit, shadow
    groups    the scene, which is the first number of a name: 135 by the authors
    split     1,330 / 540 by the authors, by scene; no validation part is published
    licence   see the authors' page

A mask pixel above 127 is shadow. The pictures without shadow (train_C, test_C) are not read. Names
and scenes carry their part, so that numbers that occur in both do not meet.

Layout: the folder ISTD_Dataset, that is

    train/train_A/<scene>-<number>.png   train/train_B/ (masks)   test/test_A/   test/test_B/

Wang, Li, Yang: Stacked conditional generative adversarial networks for jointly learning shadow
detection and shadow removal. CVPR 2018.
"""

from pathlib import Path

from bench import Item, register_dataset


@register_dataset(
    "istd",
    classes=("lit", "shadow"),
    source="https://github.com/DeepInsight-PCALab/ST-CGAN",
    licence="see the authors' page",
    mask_values={level: int(level > 127) for level in range(256)},
)
def istd(root: Path) -> dict[str, list[Item]]:
    """Cast shadows (ISTD); 1,870 photographs of 135 scenes, 640 x 480 RGB."""
    return {
        part: [_item(image, part) for image in sorted((root / part / f"{part}_A").glob("*.png"))]
        for part in ("train", "test")
    }


def _item(image: Path, part: str) -> Item:
    mask = image.parent.with_name(f"{part}_B") / image.name
    return Item(f"{part}_{image.stem}", image, mask, f"{part}_{image.stem.split('-')[0]}")
