"""Split a collection into train, validation and test parts by specimen."""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from bench.data.items import Collection, Item
from bench.data.mask_classes import present_classes
from bench.errors import UserError, shorten

SHARES = {"train": 0.60, "val": 0.15, "test": 0.25}  # of the items, where no split is published
WITHOUT_VALIDATION = "no validation part, so no validation Dice and no choice by it"


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of a collection.

    Attributes:
        train: items of the training part, after a label budget.
        val: items of the validation part.
        test: items of the test part.
        notes: sentences for the reader of the results, such as on classes that a part lacks.
    """

    train: tuple[Item, ...]
    val: tuple[Item, ...]
    test: tuple[Item, ...]
    notes: tuple[str, ...] = ()


def split(
    collection: Collection,
    *,
    fold: int = 0,
    folds: int = 1,
    seed: int = 0,
    labels: int | None = None,
    ratio: str = "",
) -> Split:
    """Split a collection; `seed` only decides which training images a label budget keeps.

    One fold: the collection's own split, else `SHARES` of the items; a missing validation part is
    taken from the training groups, and stays empty if there is only one. Two groups are divided
    into a training and a test part. More folds: the groups are distributed over folds of about
    equal size; one fold is the test part, and a fifth of the others the validation part. Groups are
    never divided, except by such a split; each part but validation has at least one item.

    All masks of the training and test parts are decoded, for the notes on absent classes.

    Args:
        collection: the collection.
        fold: number of the test fold, from 0.
        folds: number of folds; with more than 1 the collection's own split is not used.
        seed: of the order in which training images enter a label budget.
        labels: label budget: number of training images that are kept, in the order of `seed`; a
            smaller budget is part of a larger one. None for all, in the order of the collection.
        ratio: of `canonical_ratio`, in place of `SHARES`; "" for these. Only for one fold of a
            collection without a split of its own.

    Raises:
        UserError: too few groups, an unknown fold, a budget out of range, a ratio for a
            collection with a split of its own or for folds, such a split without training or test
            images, or a mask as in `decode_mask`.
    """
    if ratio and (folds > 1 or collection.official):
        reason = "cross-validation makes its own" if folds > 1 else "it comes with a split"
        raise UserError(
            f"--split {ratio} cannot be used for '{collection.name}' because {reason}: leave it out"
        )
    if folds < 1 or not 0 <= fold < folds:
        raise UserError(f"fold {fold} of {folds} does not exist; folds count from 0 to folds - 1")
    notes: list[str] = []
    if collection.official and folds == 1:
        parts = _official(collection, notes)
    else:
        if collection.official:
            notes.append("cross-validation: the split that comes with the dataset is not used")
        parts = _by_group(collection, fold, folds, shares_of(ratio))
        if not parts["val"]:
            notes.append(f"{WITHOUT_VALIDATION}: there are too few specimen groups")
    if labels is not None:
        parts["train"] = _budget(parts["train"], labels, seed)
    notes += _absent_classes(collection, parts)
    train, val, test = (tuple(parts[name]) for name in SHARES)
    return Split(train, val, test, tuple(notes))


def join_groups(collection: Collection, joined: Sequence[Sequence[str]]) -> Collection:
    """The collection with some groups joined into one; its fingerprint then differs.

    Args:
        collection: any.
        joined: names of the groups that become one; the first is its name.
    """
    if not joined:
        return collection
    name_of = {group: groups[0] for groups in joined for group in groups}
    return replace(
        collection,
        items=tuple(
            replace(item, group=name_of.get(item.group, item.group)) for item in collection.items
        ),
    )


def canonical_ratio(text: str) -> str:
    """The ratio in its smallest whole numbers, so that equal ratios are equal texts.

    Args:
        text: numbers of training, validation and test images, as "7:2:1" or "0.7:0.2:0.1".

    Returns:
        Such as "7:2:1"; "" for the ratio of `SHARES`.

    Raises:
        UserError: the text is not a ratio of three numbers above 0, each with at most six digits
            before and after the point.
    """
    words = [word.strip() for word in text.split(":")]
    pattern = r"[0-9]{1,6}(\.[0-9]{1,6})?"
    valid = len(words) == 3 and all(re.fullmatch(pattern, word) for word in words)
    numbers = [Fraction(word) for word in words] if valid else [Fraction(0)]
    if min(numbers) <= 0:
        raise UserError(
            f"--split is '{shorten(text)}': give three numbers above 0 for the training,"
            " validation and test images, as in 7:2:1"
        )
    whole = [int(number * math.lcm(*(n.denominator for n in numbers))) for number in numbers]
    smallest = [number // math.gcd(*whole) for number in whole]
    if all(
        math.isclose(n / sum(smallest), s) for n, s in zip(smallest, SHARES.values(), strict=True)
    ):
        return ""
    return ":".join(map(str, smallest))


def shares_of(ratio: str) -> dict[str, float]:
    """The share of each part, in (0, 1); `SHARES` for "".

    Args:
        ratio: of `canonical_ratio`.
    """
    if not ratio:
        return SHARES
    numbers = [int(word) for word in ratio.split(":")]
    return dict(zip(SHARES, (number / sum(numbers) for number in numbers), strict=True))


def _official(collection: Collection, notes: list[str]) -> dict[str, list[Item]]:
    official = collection.official or {}
    part_of = {name: part for part, names in official.items() for name in names}
    parts: dict[str, list[Item]] = {name: [] for name in SHARES}
    for item in collection.items:
        if item.name in part_of:
            parts[part_of[item.name]].append(item)
    if not parts["train"] or not parts["test"]:
        raise UserError(
            f"the split that comes with '{collection.name}' has no training or no test images; "
            "name both parts, or remove the split to have one made"
        )
    if left_out := len(collection.items) - sum(map(len, parts.values())):
        notes.append(f"{left_out} images are in no part of the dataset's own split: not used")
    if not parts["val"]:
        parts["train"], parts["val"] = _carve(collection, parts["train"])
        notes.append(
            "the dataset's own split has no validation part: taken from its training groups"
            if parts["val"]
            else f"{WITHOUT_VALIDATION}: the training part has one specimen group"
        )
    return parts


def _by_group(
    collection: Collection, fold: int, folds: int, shares: dict[str, float]
) -> dict[str, list[Item]]:
    if folds == 1 and len({item.group for item in collection.items}) == 2:
        train, test = _deal(collection, collection.items, (shares["train"], shares["test"]))
        return {"train": train, "val": [], "test": test}
    if folds == 1:
        return dict(zip(SHARES, _deal(collection, collection.items, shares.values()), strict=True))
    dealt = _deal(collection, collection.items, [1 / folds] * folds)
    rest = [item for number, part in enumerate(dealt) if number != fold for item in part]
    train, val = _carve(collection, rest)
    return {"train": train, "val": val, "test": dealt[fold]}


def _carve(collection: Collection, items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Training and validation items in the proportion of `SHARES`; one group trains alone."""
    if len({item.group for item in items}) == 1:
        return list(items), []
    known = SHARES["train"] + SHARES["val"]
    train, val = _deal(collection, items, (SHARES["train"] / known, SHARES["val"] / known))
    return train, val


def _deal(
    collection: Collection, items: Sequence[Item], shares: Iterable[float]
) -> list[list[Item]]:
    """Distribute whole groups so that each part has about its share of the items, at least one.

    Largest groups first, each to the part that lacks most. Groups of equal size come in an order
    that depends on their names only and is unrelated to the numbering of files.
    """
    missing = [share * len(items) for share in shares]
    sizes: dict[str, int] = {}
    for item in items:
        sizes[item.group] = sizes.get(item.group, 0) + 1
    if len(sizes) < len(missing):
        raise UserError(
            f"'{collection.name}' has too few specimen groups to split: {len(sizes)} for "
            f"{len(missing)} parts; add images, add a split file, or use fewer folds"
        )
    part_of: dict[str, int] = {}
    empty = set(range(len(missing)))
    for group in sorted(sizes, key=lambda name: (-sizes[name], _rank(name))):
        scarce = len(sizes) - len(part_of) <= len(
            empty
        )  # the rest is just enough for the empty parts
        part = max(empty if scarce else range(len(missing)), key=lambda number: missing[number])
        part_of[group] = part
        missing[part] -= sizes[group]
        empty.discard(part)
    return [[item for item in items if part_of[item.group] == n] for n in range(len(missing))]


def _budget(train: Sequence[Item], labels: int, seed: int) -> list[Item]:
    if not 1 <= labels <= len(train):
        raise UserError(
            f"{labels} labelled images requested, but the training part has {len(train)}; "
            f"give 1 to {len(train)}"
        )
    return sorted(train, key=lambda item: _rank(f"{seed}/{item.name}"))[:labels]


def _rank(name: str) -> str:
    """A fixed pseudo-random order of names."""
    return hashlib.sha256(name.encode()).hexdigest()


def _absent_classes(collection: Collection, parts: dict[str, list[Item]]) -> list[str]:
    """One note for each class that does not occur in the train or test part."""
    notes = []
    for part in ("train", "test"):
        present = set[int]().union(*present_classes(collection, parts[part]))
        notes += [
            f"class '{name}' does not occur in the {part} part"
            for index, name in enumerate(collection.classes)
            if index not in present
        ]
    return notes
