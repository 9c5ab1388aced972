"""Shadows in photographs of many kinds (SBU).

    images    about 4,090 to train and 638 to test, JPEG of many sizes
    classes   lit, shadow
    groups    none published: each image counts as a scene of its own
    split     by the authors; no validation part is published
    licence   non-commercial research

Labels to train on were made from rough ones and corrected by a model of label noise ("recovered"),
those to test on by hand. A mask pixel above 127 is shadow. Images without a mask are left out.
Names carry their part, so that numbers that occur in both do not meet.

Layout: the archive SBU-shadow.zip, that is

    SBUTrain4KRecoveredSmall/ShadowImages/*.jpg   SBUTrain4KRecoveredSmall/ShadowMasks/*.png
    SBU-Test/ShadowImages/*.jpg                   SBU-Test/ShadowMasks/*.png

Vicente, Hou, Yu, Hoai, Samaras: Large-scale training of shadow detectors with noisily-annotated
shadow examples. ECCV 2016.
"""

from pathlib import Path

from bench import Item, register_dataset

FOLDERS = {"train": "SBUTrain4KRecoveredSmall", "test": "SBU-Test"}


@register_dataset(
    "sbu",
    classes=("lit", "shadow"),
    source="https://www3.cs.stonybrook.edu/~cvl/projects/shadow_noisy_label/index.html",
    licence="non-commercial research",
    mask_values={level: int(level > 127) for level in range(256)},
)
def sbu(root: Path) -> dict[str, list[Item]]:
    """Shadows of many kinds (SBU); about 4,700 photographs of many sizes."""
    return {
        part: [_item(mask, part) for mask in sorted((root / folder / "ShadowMasks").glob("*.png"))]
        for part, folder in FOLDERS.items()
    }


def _item(mask: Path, part: str) -> Item:
    image = mask.parent.with_name("ShadowImages") / f"{mask.stem}.jpg"
    name = f"{part}_{mask.stem}"
    return Item(name, image, mask, group=name)
