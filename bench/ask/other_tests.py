"""Test on another dataset: its collection, and the leak check between the two."""

from typing import TYPE_CHECKING

from bench.ask.request import Request
from bench.data.items import Collection
from bench.data.split import Split
from bench.errors import UserError
from bench.plugins.registry import load_collection

if TYPE_CHECKING:
    from bench.data.leakage.gate import Leak


def load_test_collection(
    request: Request, collection: Collection, sha: str
) -> tuple[Collection | None, str]:
    """The collection of `request.test_dataset` and its fingerprint; None and "" without one.

    Args:
        request: what to run.
        collection: what is trained on.
        sha: its fingerprint.

    Raises:
        UserError: the dataset cannot be read, has other classes (in names or order) or the same
            fingerprint, or cannot be divided into stacks of `request.depth` slices.
    """
    from bench.data.fingerprint import fingerprint
    from bench.data.stacks import stacks

    if request.test_dataset is None:
        return None, ""
    other = load_collection(request.test_dataset, request.selection)
    if other.classes != collection.classes:
        raise UserError(
            f"--test-dataset '{other.name}' has the classes {', '.join(other.classes)}, but"
            f" '{collection.name}' has {', '.join(collection.classes)}: both need the same classes"
            " in the same order"
        )
    other_sha = fingerprint(other)
    if other_sha == sha:
        raise UserError(
            f"--test-dataset '{other.name}' has the same images as '{collection.name}': leave it"
            " out to test on the test part, or give another dataset"
        )
    stacks(other.items, request.depth)  # raises its error now, not in every cell
    return other, other_sha


def find_leaks_between(parts: Split, other: Collection) -> "list[Leak]":
    """Pairs of overlapping images: one of `other`, one of the training or validation part.

    Equal names of specimens do not count: two datasets may use one name for different specimens.

    Args:
        parts: of the dataset that is trained on.
        other: the dataset that is tested on.

    Returns:
        The pairs; the second image of each is of `other`, and its part is called "test".

    Raises:
        UserError: an image cannot be read.
    """
    from bench.data.leakage.gate import leak_of
    from bench.data.leakage.pairs import find_pairs

    trained = (*parts.train, *parts.val)
    part_of = {item.name: "train" for item in parts.train} | {v.name: "val" for v in parts.val}
    return [leak_of(pair, part_of[pair.first], "test") for pair in find_pairs(trained, other.items)]
