"""Make sure that the parts of a dataset are independent before anything is trained."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.ask.request import Request
from bench.data.items import Collection
from bench.errors import UserError
from bench.plugins.registry import load_collection
from bench.wording import counted

if TYPE_CHECKING:
    from bench.data.leakage.gate import Leak
    from bench.data.leakage.pairs import Pair
    from bench.data.split import Split

Groups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Independence:
    """What the check of a dataset gave.

    Attributes:
        collection: the collection, with groups joined where their images overlap.
        leaks: for each fold, sentences on the shared groups and overlapping images of different
            parts, which the request allows.
        joined: the groups that were joined, see `Cell.joined`.
        notes: what was joined, for the reader of the results.
    """

    collection: Collection
    leaks: tuple[tuple[str, ...], ...]
    joined: Groups = ()
    notes: tuple[str, ...] = ()


def check_independence(
    request: Request, collection: Collection, other: Collection | None
) -> Independence:
    """Look for images that also occur, whole or in part, in another part of the split.

    All pairs of images are compared once, for all folds, unless the collection is known to be
    `independent`. Where this program makes the split and images of different parts overlap, the
    groups of all overlapping images are joined, and the split is made again; not with
    `request.allow_leakage`. Other overlaps stop the request.

    Args:
        request: gives folds, ratio and what is allowed.
        collection: what is split.
        other: what is tested on in place of the test part; None for nothing.

    Raises:
        LeakageError: there are overlaps, and the request does not allow them.
        UserError: an image cannot be read, or the dataset cannot be split.
    """
    from bench.data.leakage.gate import leakage_error
    from bench.data.leakage.pairs import find_pairs, joined_groups
    from bench.data.split import join_groups

    pairs = [] if collection.independent else find_pairs(collection.items)
    leaks = _leaks_of_folds(request, collection, pairs)
    joined: Groups = ()
    makes_split = request.folds > 1 or not collection.official
    if any(leaks) and makes_split and not request.allow_leakage:
        joined = joined_groups(collection.items, pairs)
        collection = join_groups(collection, joined)
        leaks = _leaks_of_folds(request, collection, pairs)
    inside = any(leaks)
    if other is not None:
        between = _leaks_into(request, collection, other)
        leaks = tuple((*some, *more) for some, more in zip(leaks, between, strict=True))
    if any(leaks) and not request.allow_leakage:
        first = next(some for some in leaks if some)
        raise leakage_error(first, collection, pairs, inside)
    sentences = tuple(tuple(map(str, some)) for some in leaks)
    return Independence(collection, sentences, joined, _notes(joined))


def _leaks_of_folds(
    request: Request, collection: Collection, pairs: "list[Pair]"
) -> "tuple[tuple[Leak, ...], ...]":
    """The leaks of each fold, without any label budget."""
    from bench.data.leakage.gate import find_leaks

    folds = range(request.folds)
    return tuple(tuple(find_leaks(_split(request, collection, fold), pairs)) for fold in folds)


def _leaks_into(
    request: Request, collection: Collection, other: Collection
) -> "Iterator[tuple[Leak, ...]]":
    """For each fold, its training or validation images that overlap with images of `other`.

    Equal names of specimens do not count: two datasets may use one name for different specimens.
    """
    from bench.data.leakage.gate import leak_of
    from bench.data.leakage.pairs import find_pairs

    pairs = find_pairs(collection.items, other.items)
    for fold in range(request.folds):
        parts = _split(request, collection, fold)
        part_of = {item.name: "train" for item in parts.train}
        part_of |= {item.name: "val" for item in parts.val}
        yield tuple(
            leak_of(pair, part_of[pair.first], "test") for pair in pairs if pair.first in part_of
        )


def _split(request: Request, collection: Collection, fold: int) -> "Split":
    from bench.data.split import split

    return split(collection, fold=fold, folds=request.folds, ratio=request.ratio)


def _notes(joined: Groups) -> tuple[str, ...]:
    if not joined:
        return ()
    named = "; ".join(", ".join(groups[:4]) for groups in joined[:3])
    more = "; ..." if len(joined) > 3 or any(len(groups) > 4 for groups in joined) else ""
    total = counted(sum(map(len, joined)), "specimen group")
    return (
        f"images of {total} overlap, so that they stay in one part of the split they were joined"
        f" to {len(joined)}: {named}{more} (--allow-leakage keeps them apart)",
    )


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
