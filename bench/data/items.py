"""What a dataset is made of."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

IGNORE = 255  # mask value of pixels that neither train nor count

Pixels = Path | npt.NDArray[Any]  # a file to decode on demand, or the array itself


@dataclass(frozen=True, eq=False)
class Item:
    """One labelled image.

    Attributes:
        name: unique within the collection; names files of predictions.
        image: file, or array (H, W) or (H, W, 3) uint8/uint16.
        mask: file, or array (H, W) uint8 of class indices, `IGNORE` where unlabelled.
        group: the specimen, patient or volume; one group never lies on both sides of a split.
        instances: file or array (H, W) uint16 of instance numbers, 0 is background.
        volume: name of the scan that this is a slice of, "" for an image of its own. The slices
            of a scan have one size and belong to one group; they lie as their items are ordered.
        spacing_mm: distance of slices, height and width of a pixel; None where it is not known.
    """

    name: str
    image: Pixels
    mask: Pixels
    group: str
    instances: Pixels | None = None
    volume: str = ""
    spacing_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Collection:
    """A labelled image collection, ready to be split.

    Attributes:
        name: as it stands in tables.
        classes: name of every class; index 0 is the background or matrix.
        items: the labelled images in a fixed order.
        official: part ("train", "val", "test") to item names, where the publisher gives a split.
        mask_values: stored mask value to class index; None where masks hold class indices already.
        licence: as the publisher states it.
        source: address or paper.
        images_may_be_shown: whether pictures of it may be committed beside the results.
    """

    name: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    official: dict[str, tuple[str, ...]] | None = None
    mask_values: dict[int, int] | None = None
    licence: str = ""
    source: str = ""
    images_may_be_shown: bool = False
    notes: tuple[str, ...] = field(default=())  # what the reader had to assume, shown to the user

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.classes)
