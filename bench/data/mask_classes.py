"""The classes that occur in the mask of each image, found once for each mask."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from bench.data.decode import decode_mask
from bench.data.items import IGNORE, Collection, Item
from bench.data.parallel import for_each, threads_for
from bench.data.remember import Remembered, State, state_of

_KNOWN: WeakKeyDictionary[Item, frozenset[int]] = WeakKeyDictionary()


def present_classes(collection: Collection, items: Sequence[Item]) -> list[frozenset[int]]:
    """Class indices, and `IGNORE`, in the mask of each item.

    Where the reader of the collection kept what its files hold, no mask is decoded. Other masks are
    decoded once: the result is kept as long as the item, and for files in the cache too.

    Args:
        collection: of the items.
        items: some of its items.

    Raises:
        UserError: as `decode_mask`.
    """
    _take_contents(collection)
    unknown = [item for item in items if item not in _KNOWN]
    files = [
        (item.mask, item.image)
        for item in unknown
        if isinstance(item.mask, Path) and isinstance(item.image, Path)
    ]
    if len(files) < len(unknown) or not files:
        _decode(collection, unknown)
    else:
        _recall(collection, unknown, files)
    return [_KNOWN[item] for item in items]


def _take_contents(collection: Collection) -> None:
    """Take the classes from the contents of the files, but for images with lost pixels."""
    if len(collection.contents) != len(collection.items):
        return
    table = collection.mask_values or {k: k for k in range(collection.num_classes)}
    for item, contents in zip(collection.items, collection.contents, strict=True):
        if not contents.lost and item not in _KNOWN:
            _KNOWN[item] = frozenset(table.get(value, IGNORE) for value in contents.values)


def _recall(
    collection: Collection, items: Sequence[Item], files: Sequence[tuple[Path, Path]]
) -> None:
    """Take what the cache has, decode the other masks, and write the cache."""
    table = repr((collection.num_classes, sorted((collection.mask_values or {}).items())))
    memory = Remembered(
        f"classes-{hashlib.sha256(table.encode()).hexdigest()[:8]}", files[0][0].parent
    )
    states: dict[Item, State] = {}
    for item, pair in zip(items, files, strict=True):
        with suppress(OSError):  # of a missing file, which its reader says
            states[item] = state_of(pair)  # the image too: its lost pixels are unlabelled
            if (stored := memory.recall(_name(item), states[item])) is not None:
                _KNOWN[item] = frozenset(stored)
    missing = [item for item in items if item not in _KNOWN]
    _decode(collection, missing)
    for item in missing:
        if item in states:
            memory.keep(_name(item), states[item], sorted(_KNOWN[item]))
    memory.save()


def _name(item: Item) -> str:
    return f"{item.mask} {item.selection}"


def _decode(collection: Collection, items: Sequence[Item]) -> None:
    if not items:
        return

    def values(item: Item) -> frozenset[int]:
        counts = np.bincount(decode_mask(item, collection).ravel(), minlength=1)
        return frozenset(np.flatnonzero(counts).tolist())

    results = for_each(values, items, "reading masks", threads_for(items))
    _KNOWN.update(zip(items, results, strict=True))
