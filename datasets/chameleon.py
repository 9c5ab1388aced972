"""Camouflaged animals in photographs of the web (CHAMELEON).

    images    76, JPEG of many sizes
    classes   background, camouflaged animal
    groups    none published: each image counts as a scene of its own
    split     none. By convention all images test models that were trained on CAMO and COD10K; a run
              on this collection alone divides it
    licence   see the page of those who hand it out

A mask pixel above 127 is animal, as edges are smoothed.

Layout: the folder CHAMELEON of SINet's test data, that is

    Imgs/*.jpg   GT/*.png

Skurowski, Abdulameer, Blaszczyk, Depta, Kornacki, Koziel: Animal camouflage analysis: CHAMELEON
database. 2018, unpublished.
"""

from pathlib import Path

from bench import Item, register_dataset


@register_dataset(
    "chameleon",
    classes=("background", "camouflaged animal"),
    source="https://github.com/DengPingFan/SINet (its test data)",
    licence="see the page of those who hand it out",
    mask_values={level: int(level > 127) for level in range(256)},
)
def chameleon(root: Path) -> list[Item]:
    """Camouflaged animals (CHAMELEON); 76 photographs of many sizes."""
    return [
        Item(mask.stem, root / "Imgs" / f"{mask.stem}.jpg", mask, group=mask.stem)
        for mask in sorted((root / "GT").glob("*.png"))
    ]
