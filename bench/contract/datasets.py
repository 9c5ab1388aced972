"""The promises of every dataset; datasets/README.md explains each of them.

Each promise is a function that checks a registered dataset and its collection. Its docstring is the
sentence that `check-dataset` prints.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from bench.contract.promise import Outcome, expect, run_promise, shortened
from bench.data.decode import decode
from bench.data.fingerprint import fingerprint
from bench.data.items import IGNORE, Collection, Item
from bench.data.split import split
from bench.plugins.drawn import forget_drawn
from bench.plugins.registry import Dataset, load_collection

DECODED = 24  # number of images whose pixels are checked, evenly spread over the collection


def check_dataset(dataset: Dataset) -> Iterator[Outcome]:
    """Check all promises of a dataset, one after the other, each when the iterator reaches it.

    Yields:
        The result of each promise of `PROMISES`, in their order; a broken one stops nothing.

    Raises:
        UserError: the collection cannot be loaded, for example because its files are not on this
            machine; raised when the first result is taken.
    """
    collection = load_collection(dataset.name)
    for promise in PROMISES:
        yield run_promise(promise, dataset, collection)


def declares_its_source(dataset: Dataset, collection: Collection) -> None:
    """It has a source, a licence, a summary, and two classes or more with different names."""
    missing = [name for name in ("source", "licence", "summary") if not getattr(dataset, name)]
    expect(not missing, f"empty: {shortened(missing)}")
    classes = dataset.classes
    expect(len(classes) >= 2, f"{len(classes)} class: name the background and one class or more")
    expect(len(set(classes)) == len(classes), "two classes have the same name")


def names_every_image_once(dataset: Dataset, collection: Collection) -> None:
    """It has images, and each image has a name of its own and a specimen group."""
    expect(collection.items, "it lists no images")
    counts = Counter(item.name for item in collection.items)
    twice = {name for name, count in counts.items() if count > 1}
    expect(not twice, f"these names are used more than once: {shortened(twice)}")
    alone = {item.name for item in collection.items if not item.group}
    expect(not alone, f"these images have no group: {shortened(alone)}")


def gives_masks_that_fit(dataset: Dataset, collection: Collection) -> None:
    """The checked images can be read; masks have their size, and declared classes or no label."""
    allowed = {*range(len(dataset.classes)), IGNORE}
    for item in _sample(collection.items):
        image, mask = decode(item, collection)
        expect(image.ndim == 3, f"image '{item.name}' has {image.ndim} dimensions")
        others = set(np.unique(mask).tolist()) - allowed
        expect(not others, f"mask of '{item.name}' contains class indices {sorted(others)}")


def shows_every_class(dataset: Dataset, collection: Collection) -> None:
    """Every class occurs in the images that are checked."""
    shown: set[int] = set()
    for item in _sample(collection.items):
        shown.update(np.unique(decode(item, collection)[1]).tolist())
    absent = [name for index, name in enumerate(dataset.classes) if index not in shown]
    expect(not absent, f"no pixel of {shortened(absent)} in {DECODED} images of the collection")


def is_the_same_each_time(dataset: Dataset, collection: Collection) -> None:
    """Loading it twice gives the same images in the same order."""
    forget_drawn(dataset.name)
    again = load_collection(dataset.name)
    expect(
        fingerprint(collection) == fingerprint(again),
        "the results of two loads differ: sort the list of files, and use a fixed seed",
    )


def keeps_groups_apart(dataset: Dataset, collection: Collection) -> None:
    """It can be split (as its own split says, where it has one), and no group is in two parts."""
    parts = split(collection)
    groups = [{item.group for item in part} for part in (parts.train, parts.val, parts.test)]
    shared = (groups[0] & groups[1]) | (groups[0] & groups[2]) | (groups[1] & groups[2])
    expect(not shared, f"its own split has these groups in two parts: {shortened(shared)}")


PROMISES = (
    declares_its_source,
    names_every_image_once,
    gives_masks_that_fit,
    shows_every_class,
    is_the_same_each_time,
    keeps_groups_apart,
)


def _sample(items: Sequence[Item]) -> Sequence[Item]:
    """Up to `DECODED` items, evenly spread."""
    return items[:: max(1, -(-len(items) // DECODED))]
