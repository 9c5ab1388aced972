from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest

from bench.ask.request import Request
from bench.data.items import Collection, Item
from bench.data.leakage.gate import find_leaks
from bench.data.split import SHARES, Split, canonical_ratio, split
from bench.errors import UserError

MASK = np.array([[0, 1]], np.uint8)
IMAGE = np.zeros((1, 2), np.uint8)


def made(sizes: list[int], mask: Any = MASK, **facts: Any) -> Collection:
    """A collection with groups of the given sizes."""
    items = tuple(
        Item(f"g{group}-{number}", IMAGE, mask, f"g{group}")
        for group, size in enumerate(sizes)
        for number in range(size)
    )
    return Collection("made", ("background", "object"), items, **facts)


def names(items: tuple[Item, ...]) -> list[str]:
    return [item.name for item in items]


def assert_divides(collection: Collection, parts: Split) -> None:
    """Every item stands in one part, no part is empty, no group straddles."""
    sides = (parts.train, parts.val, parts.test)
    assert all(sides)
    assert sorted(name for side in sides for name in names(side)) == sorted(names(collection.items))
    for one, other in combinations(sides, 2):
        assert not {item.group for item in one} & {item.group for item in other}


@pytest.mark.parametrize("case", range(15))
def test_no_group_straddles_whatever_the_layout(case: int) -> None:
    rng = np.random.default_rng(case)
    collection = made(rng.integers(1, 12, rng.integers(6, 40)).tolist())
    assert_divides(collection, split(collection))
    folds = int(rng.integers(3, 7))
    parts = [split(collection, fold=fold, folds=folds) for fold in range(folds)]
    for part in parts:
        assert_divides(collection, part)
    tested = [name for part in parts for name in names(part.test)]
    assert sorted(tested) == sorted(names(collection.items))


@pytest.mark.parametrize("sizes", [[1, 1, 1], [10, 10, 10], [50, 1, 1], [1, 1, 50, 50]])
def test_few_groups_fill_all_parts(sizes: list[int]) -> None:
    collection = made(sizes)
    assert_divides(collection, split(collection))


@pytest.mark.parametrize("sizes", [[1] * 24, [1] * 200, [3] * 40, [1, 2, 3] * 20])
def test_shares_are_kept(sizes: list[int]) -> None:
    collection = made(sizes)
    parts = split(collection)
    for name, share in SHARES.items():
        assert abs(len(getattr(parts, name)) - share * sum(sizes)) <= max(sizes)


def test_folds_are_about_equal() -> None:
    collection = made([1, 2, 3] * 10)
    counts = [len(split(collection, fold=fold, folds=4).test) for fold in range(4)]
    assert max(counts) - min(counts) <= 1


def test_seed_does_not_move_the_parts() -> None:
    collection = made([1] * 30)
    assert names(split(collection).test) == names(split(collection, seed=9).test)
    assert names(split(collection).train) == names(split(collection, seed=9).train)


@pytest.mark.parametrize("seed", range(2))
def test_label_budgets_are_nested(seed: int) -> None:
    collection = made([1, 2] * 15)
    whole = split(collection, seed=seed)
    budgets = [split(collection, seed=seed, labels=n) for n in range(1, len(whole.train) + 1)]
    for number, (small, large) in enumerate(pairwise(budgets), start=1):
        assert names(large.train)[:number] == names(small.train)
        assert names(small.test) == names(whole.test)
    assert sorted(names(budgets[-1].train)) == sorted(names(whole.train))


def test_label_budgets_differ_between_seeds() -> None:
    collection = made([1] * 40)
    kept = {tuple(names(split(collection, seed=seed, labels=3).train)) for seed in range(5)}
    assert len(kept) == 5


@pytest.mark.parametrize("labels", [0, -1, 25])
def test_label_budget_out_of_range(labels: int) -> None:
    with pytest.raises(UserError, match=rf"{labels} labelled .* part has 24; give 1 to 24"):
        split(made([1] * 40), labels=labels)


def test_official_split_is_kept() -> None:
    official = {"train": ("g0-0", "g2-0"), "val": ("g1-0",), "test": ("g3-0",)}
    collection = made([1] * 5, official=official)
    parts = split(collection)
    assert {part: tuple(names(getattr(parts, part))) for part in official} == official
    assert parts.notes == ("1 images are in no part of the dataset's own split: not used",)


def test_official_split_without_validation_takes_whole_training_groups() -> None:
    train = tuple(f"g{group}-{number}" for group in range(10) for number in range(2))
    test = ("g10-0", "g10-1")
    collection = made([2] * 11, official={"train": train, "val": (), "test": test})
    parts = split(collection)
    assert_divides(collection, parts)
    assert names(parts.test) == list(test)
    assert len(parts.val) == 4
    assert "no validation part" in parts.notes[0]


def test_official_split_that_breaks_a_group_is_left_to_the_leakage_gate() -> None:
    official = {"train": ("g0-0",), "val": ("g1-0",), "test": ("g0-1",)}
    parts = split(made([2, 1], official=official))
    assert names(parts.test) == ["g0-1"]
    assert [leak.kind for leak in find_leaks(parts)] == ["group"]


def test_official_split_without_test_is_refused() -> None:
    with pytest.raises(UserError, match="no training or no test images; name both parts"):
        split(made([1] * 5, official={"train": ("g0-0",), "val": ("g1-0",), "test": ()}))


def test_folds_set_the_official_split_aside() -> None:
    official = {"train": ("g0-0",), "val": ("g1-0",), "test": ("g2-0",)}
    collection = made([1] * 12, official=official)
    parts = split(collection, fold=1, folds=3)
    assert_divides(collection, parts)
    assert parts.notes == ("cross-validation: the split that comes with the dataset is not used",)


@pytest.mark.parametrize(("sizes", "folds"), [([1], 1), ([50], 1), ([9, 9], 3), ([1] * 3, 4)])
def test_too_few_groups(sizes: list[int], folds: int) -> None:
    with pytest.raises(UserError, match="too few specimen groups") as raised:
        split(made(sizes), folds=folds)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("fold", "folds"), [(3, 3), (-1, 2), (0, 0)])
def test_no_such_fold(fold: int, folds: int) -> None:
    with pytest.raises(UserError, match="does not exist"):
        split(made([1] * 9), fold=fold, folds=folds)


def test_absent_classes_are_told() -> None:
    parts = split(made([1] * 9, mask=np.zeros((1, 2), np.uint8)))
    assert parts.notes == (
        "class 'object' does not occur in the train part",
        "class 'object' does not occur in the test part",
    )


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("7:2:1", "7:2:1"),
        ("70:20:10", "7:2:1"),
        ("0.7 : 0.2 : 0.1", "7:2:1"),
        ("12:3:5", ""),  # the default
        ("0.60:0.15:0.25", ""),
        ("1:1:1", "1:1:1"),
    ],
)
def test_equal_ratios_have_one_name(text: str, canonical: str) -> None:
    assert canonical_ratio(text) == canonical


@pytest.mark.parametrize(
    "text", ["", "7:2", "7:2:1:1", "7:0:3", "7:-2:1", "7:x:1", "7,2,1", "nan:1:1", "1e9:1:1"]
)
def test_a_ratio_that_is_not_allowed_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="give three numbers above 0 for the training, validation"):
        canonical_ratio(text)


def test_a_ratio_sets_the_sizes_of_the_parts_and_keeps_specimens_whole() -> None:
    collection = made([3] * 10)
    parts = split(collection, ratio="7:2:1")
    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [21, 6, 3]
    assert_divides(collection, parts)


def test_a_ratio_is_refused_where_the_split_is_published_or_made_for_folds() -> None:
    official = {"train": ("g0-0", "g1-0"), "val": ("g2-0",), "test": ("g3-0",)}
    published = made([1] * 4, official=official)
    with pytest.raises(UserError, match="cannot be used for 'made' because it comes with a split"):
        split(published, ratio="7:2:1")
    with pytest.raises(UserError, match="because cross-validation makes its own"):
        split(made([1] * 9), folds=3, ratio="7:2:1")
    with pytest.raises(UserError, match="--split 7:2:1 and --folds 3 both set"):
        Request("lora", "steel", split="7:2:1", folds=3).check()


@pytest.mark.parametrize(
    ("sizes", "official", "expected"),
    [
        ([1, 1], {"train": ("g0-0",), "test": ("g1-0",)}, (1, 0, 1)),
        ([1, 1, 1], {"train": ("g0-0",), "test": ("g1-0", "g2-0")}, (1, 0, 2)),
        ([1, 1, 1], {"train": ("g0-0", "g1-0"), "test": ("g2-0",)}, (1, 1, 1)),
        ([2, 1], None, (2, 0, 1)),
    ],
)
def test_two_or_three_images_run_without_a_validation_part(
    sizes: list[int], official: dict[str, tuple[str, ...]] | None, expected: tuple[int, ...]
) -> None:
    parts = split(made(sizes, official=official))
    assert (len(parts.train), len(parts.val), len(parts.test)) == expected
    assert any("no validation part, so" in note for note in parts.notes) == (expected[1] == 0)
