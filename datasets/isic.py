"""Skin lesions under the dermatoscope (ISIC 2018, task 1).

    images    2,594 to train, 100 to validate, 1,000 to test; RGB JPEG of many sizes
    classes   skin, lesion
    groups    none published: each image counts as a patient of its own
    split     by the challenge, if the archives for validation and test are present; the training
              archive alone is split by the suite
    licence   CC BY-NC 4.0

Layout: the archives of the challenge, side by side, with Training, Validation and Test for PART:

    ISIC2018_Task1-2_PART_Input/ISIC_*.jpg
    ISIC2018_Task1_PART_GroundTruth/ISIC_*_segmentation.png (0 or 255)

Codella et al.: Skin lesion analysis toward melanoma detection 2018. arXiv:1902.03368. Tschandl,
Rosendahl, Kittler: The HAM10000 dataset. Scientific Data 5, 2018. doi:10.1038/sdata.2018.161
"""

from pathlib import Path

from bench import Item, register_dataset

PARTS = {"train": "Training", "val": "Validation", "test": "Test"}


@register_dataset(
    "isic",
    classes=("skin", "lesion"),
    source="https://challenge.isic-archive.com/data/#2018",
    licence="CC BY-NC 4.0",
    mask_values={0: 0, 255: 1},
)
def isic(root: Path) -> dict[str, list[Item]] | list[Item]:
    """Skin lesions (ISIC 2018, task 1); 3,694 dermatoscopic images of many sizes, RGB."""
    parts = {part: _items(root, word) for part, word in PARTS.items()}
    return parts if parts["test"] else parts["train"]


def _items(root: Path, part: str) -> list[Item]:
    masks = sorted((root / f"ISIC2018_Task1_{part}_GroundTruth").glob("*_segmentation.png"))
    names = [mask.stem.removesuffix("_segmentation") for mask in masks]
    images = root / f"ISIC2018_Task1-2_{part}_Input"
    return [
        Item(name, images / f"{name}.jpg", mask, group=name)
        for name, mask in zip(names, masks, strict=True)
    ]
