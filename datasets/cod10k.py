"""Camouflaged animals in photographs, by species (COD10K, version 3).

    images    5,066 with a camouflaged animal, JPEG of many sizes; the 4,934 without one, which have
              no mask to speak of, are left out
    classes   background, camouflaged animal
    groups    none published: each image counts as a scene of its own
    split     3,040 / 2,026 by the authors; no validation part is published
    licence   see the authors' page

A mask pixel above 127 is animal, as edges are smoothed. Names tell the species, as in
COD10K-CAM-1-Aquatic-1-BatFish-2. Masks of single animals (GT_Instance) are not read.

Layout: the folder COD10K-v3, that is

    {Train,Test}/Image/COD10K-CAM-*.jpg   {Train,Test}/GT_Object/COD10K-CAM-*.png

Fan, Ji, Sun, Cheng, Shen, Shao: Camouflaged object detection. CVPR 2020.
"""

from pathlib import Path

from bench import Item, register_dataset


@register_dataset(
    "cod10k",
    classes=("background", "camouflaged animal"),
    source="https://github.com/DengPingFan/SINet",
    licence="see the authors' page",
    mask_values={level: int(level > 127) for level in range(256)},
)
def cod10k(root: Path) -> dict[str, list[Item]]:
    """Camouflaged animals (COD10K); 5,066 photographs of many sizes."""
    return {
        part: [
            Item(image.stem, image, root / folder / "GT_Object" / f"{image.stem}.png", image.stem)
            for image in sorted((root / folder / "Image").glob("COD10K-CAM-*.jpg"))
        ]
        for part, folder in {"train": "Train", "test": "Test"}.items()
    }
