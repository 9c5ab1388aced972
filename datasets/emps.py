"""Particles of many materials in electron micrographs of published papers (EMPS).

    images     465, 512 px and more a side, PNG, by SEM and TEM (the files do not say which)
    classes    background, particle (31 % of pixels)
    instances  11,594
    groups     the figure's paper, by its DOI in metadata.csv
    split      the repository's train.csv and test.csv; no validation part is published
    licence    the repository is MIT; the micrographs were cut from figures of journals, which that
               licence may not reach

Numbers of images and instances are those that are published. The lists name one file a line, with
or without its ending.

Layout: the repository, that is

    images/*.png   segmaps/*.png (an instance number a pixel)   metadata.csv   train.csv   test.csv

Yildirim, Cole: Bayesian particle instance segmentation for electron microscopy image
quantification. Journal of Chemical Information and Modeling 61, 2021. doi:10.1021/acs.jcim.0c01455
"""

import csv
from pathlib import Path

from bench import Item, register_dataset

MOST = 4095  # particles an image; 136 occur in 120 of the images


@register_dataset(
    "emps",
    classes=("background", "particle"),
    source="https://github.com/by256/emps",
    licence="MIT (the repository); images from journals",
    mask_values={number: min(number, 1) for number in range(MOST + 1)},
)
def emps(root: Path) -> dict[str, list[Item]]:
    """Particles of many materials, SEM and TEM (EMPS); 465 images, 512 px and more, instances."""
    with (root / "metadata.csv").open(newline="", encoding="utf-8") as file:
        papers = {Path(row["filename"]).stem: row["doi"] for row in csv.DictReader(file)}
    return {
        part: [_item(root, Path(line).stem, papers) for line in _lines(root / f"{part}.csv")]
        for part in ("train", "test")
    }


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split()


def _item(root: Path, name: str, papers: dict[str, str]) -> Item:
    numbers = root / "segmaps" / f"{name}.png"
    return Item(name, root / "images" / f"{name}.png", numbers, papers[name], numbers)
