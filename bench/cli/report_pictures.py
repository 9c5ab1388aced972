"""The images of collections, for reports that show pictures of them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.data.items import Collection
    from bench.report.plots.gallery import Lookup


class Pictures(Mapping[str, "Lookup"]):
    """Functions that read the images of collections, as `write_report` takes them.

    Args:
        collections: by the name of the dataset; each is used when its function is asked for.
        shared: only of collections whose images may be shown anywhere.
    """

    def __init__(self, collections: "Mapping[str, Collection]", *, shared: bool = False) -> None:
        self._collections = collections
        self._shared = shared

    def __getitem__(self, name: str) -> "Lookup":
        collection = self._collections[name]
        if self._shared and not collection.images_may_be_shown:
            raise KeyError(name)
        return lookup(collection)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._collections if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def lookup(collection: "Collection") -> "Lookup":
    """Return the function that reads an image and its mask by the name of the item."""
    from bench.data.decode import decode

    items = {item.name: item for item in collection.items}
    return lambda name: decode(items[name], collection)
