"""Items and collections."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from bench.data.selection import WHOLE, Selection
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.contents import Contents

IGNORE = 255  # mask value of unlabelled pixels: no loss, no score

Pixels = Path | npt.NDArray[Any]  # a file to decode on demand, or the array itself


@dataclass(frozen=True, eq=False)
class Item:
    """One labelled image.

    Attributes:
        name: unique in the collection (not checked here); also names the files of predictions.
        image: file, or array (H, W) or (H, W, 3) uint8/uint16.
        mask: file, or array (H, W) uint8, of class indices, `IGNORE` where unlabelled; or of the
            stored values that the collection's `mask_values` lists.
        group: the specimen, patient or volume; only the own split of a collection may divide it.
        instances: file or array (H, W) uint16 of instance numbers, 0 is background; None where
            instances are not labelled.
        volume: name of the scan that this is a slice of; "" for a single image. The slices of a
            scan have one size and one group, and the order of their items is their order.
        spacing_mm: distance of slices, height and width of a pixel, in mm; None where unknown.
        selection: what of the image, and of its mask and instances, is read.
    """

    name: str
    image: Pixels
    mask: Pixels
    group: str
    instances: Pixels | None = None
    volume: str = ""
    spacing_mm: tuple[float, float, float] | None = None
    selection: Selection = WHOLE


@dataclass(frozen=True, eq=False)
class Collection:
    """A labelled image collection, ready to be split.

    Raises UserError where two classes have one name.

    Attributes:
        name: as in tables and messages.
        classes: name of every class; index 0 is the background or matrix.
        items: the labelled images in a fixed order.
        official: part ("train", "val", "test") to item names, where the collection comes with a
            split; such a split does not use items in no part. None without one.
        mask_values: stored mask value to class index, or to `IGNORE`; None where masks hold class
            indices and perhaps `IGNORE`.
        independent: whether images of two groups are known to share no pixels, because each group
            is drawn from its own seed; then nobody looks for overlaps.
        licence: as the publisher states it.
        source: address or paper.
        images_may_be_shown: whether its images may be published with the results.
        notes: what the reader assumed, shown to the user.
        left_out: files that the reader found and does not use, in words.
        contents: what the files of each item hold, where the reader looked; else empty.
    """

    name: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    official: dict[str, tuple[str, ...]] | None = None
    mask_values: dict[int, int] | None = None
    independent: bool = False
    licence: str = ""
    source: str = ""
    images_may_be_shown: bool = False
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    contents: "tuple[Contents, ...]" = ()

    def __post_init__(self) -> None:
        """Refuse two classes of one name: scores are stored by name."""
        if len(set(self.classes)) < len(self.classes):
            raise UserError(
                f"'{self.name}' has two classes of one name ({', '.join(self.classes)}); "
                "give each class its own name"
            )

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.classes)

    def select(self, selection: Selection) -> "Collection":
        """The same collection with a selection of channels and frame for each image."""
        if selection == WHOLE:
            return self
        items = tuple(replace(item, selection=selection) for item in self.items)
        return replace(self, items=items, contents=())  # they are of whole images
