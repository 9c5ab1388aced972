"""Camouflaged animals and people in photographs (CAMO).

    images    1,250, JPEG of many sizes
    classes   background, camouflaged object
    groups    none published: each image counts as a scene of its own
    split     1,000 / 250 by the authors; no validation part is published
    licence   see the authors' page

A mask pixel above 127 is object, as edges are smoothed. Comparisons of methods often train on these
1,000 images and the 3,040 of COD10K together; here each collection trains alone.

Layout: the folder CAMO-V.1.0-CVIU2019, that is

    Images/Train/*.jpg   Images/Test/*.jpg   GT/*.png

Le, Nguyen, Nie, Tran, Sugimoto: Anabranch network for camouflaged object segmentation. Computer
Vision and Image Understanding 184, 2019. doi:10.1016/j.cviu.2019.04.006
"""

from pathlib import Path

from bench import Item, register_dataset


@register_dataset(
    "camo",
    classes=("background", "camouflaged object"),
    source="https://sites.google.com/view/ltnghia/research/camo",
    licence="see the authors' page",
    mask_values={level: int(level > 127) for level in range(256)},
)
def camo(root: Path) -> dict[str, list[Item]]:
    """Camouflaged animals and people (CAMO); 1,250 photographs of many sizes."""
    return {
        part: [
            Item(image.stem, image, root / "GT" / f"{image.stem}.png", group=image.stem)
            for image in sorted((root / "Images" / folder).glob("*.jpg"))
        ]
        for part, folder in {"train": "Train", "test": "Test"}.items()
    }
