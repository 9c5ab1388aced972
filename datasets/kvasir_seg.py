"""Polyps in pictures of the colon (Kvasir-SEG).

    images    1,000, RGB JPEG, 332 x 487 px to 1920 x 1072 px
    classes   background, polyp
    groups    none published: each image counts as a patient of its own
    split     none in the archive; lists of 880 and 120 images that the authors gave later are not
              used
    licence   research and education only

Masks are JPEG too: a pixel above 127 is polyp.

Layout: the folder Kvasir-SEG, that is

    images/*.jpg   masks/*.jpg

Jha et al.: Kvasir-SEG: a segmented polyp dataset. MultiMedia Modeling 2020.
doi:10.1007/978-3-030-37734-2_37
"""

from pathlib import Path

from bench import Item, register_dataset


@register_dataset(
    "kvasir_seg",
    classes=("background", "polyp"),
    source="https://datasets.simula.no/kvasir-seg/",
    licence="research and education only",
    mask_values={level: int(level > 127) for level in range(256)},
)
def kvasir_seg(root: Path) -> list[Item]:
    """Polyps in colonoscopy (Kvasir-SEG); 1,000 images of many sizes, RGB."""
    return [
        Item(image.stem, image, root / "masks" / image.name, group=image.stem)
        for image in sorted((root / "images").glob("*.jpg"))
    ]
