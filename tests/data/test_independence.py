import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bench.ask.independence import check_independence
from bench.ask.request import Request
from bench.cli.reading import proposing_groups
from bench.data.contents import Contents, inspect, inspect_all
from bench.data.facts import CollectionFacts
from bench.data.folder.read import read_folder
from bench.data.items import IGNORE, Collection, Item
from bench.data.leakage.gate import find_leaks, leak_of, leakage_error
from bench.data.leakage.near_duplicates import Match
from bench.data.leakage.pairs import Pair, find_pairs, joined_groups
from bench.data.mask_classes import present_classes
from bench.data.selection import Selection
from bench.data.split import join_groups, split
from bench.draw.texture import smooth_noise
from bench.errors import UserError

REQUEST = Request(methods="frozen_head", datasets="mine")


def scene(seed: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = 128 + 25 * smooth_noise(rng, (120, width), 24) + 20 * smooth_noise(rng, (120, width), 7)
    return np.asarray(np.clip(level + rng.normal(0, 4, level.shape), 0, 255), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scenes in three overlapping tiles each, of which the outer ones share nothing."""
    root = tmp_path / "mine"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for seed in range(2):
        whole = scene(seed, 360)
        for number, start in enumerate((0, 90, 180)):
            tile = whole[:, start : start + 160]
            Image.fromarray(tile).save(root / "images" / f"s{seed}t{number}.png")
            mask = (tile > 128).astype(np.uint8)
            Image.fromarray(mask).save(root / "masks" / f"s{seed}t{number}.png")
    for seed in range(2, 8):
        Image.fromarray(scene(seed, 160)).save(root / "images" / f"x{seed}.png")
        shutil.copy(root / "masks" / "s0t0.png", root / "masks" / f"x{seed}.png")
    return root


def test_chains_of_overlaps_join_one_group_and_the_split_then_holds(folder: Path) -> None:
    collection = read_folder(folder)
    pairs = find_pairs(collection.items)
    assert {(pair.first, pair.second) for pair in pairs} == {
        *(("s0t0", "s0t1"), ("s0t1", "s0t2"), ("s1t0", "s1t1"), ("s1t1", "s1t2")),
    }
    groups = joined_groups(collection.items, pairs)
    assert groups == (("s0t0", "s0t1", "s0t2"), ("s1t0", "s1t1", "s1t2"))
    checked = check_independence(REQUEST, collection, None)
    assert checked.joined == groups
    assert checked.leaks == ((),)
    assert "images of 6 specimen groups overlap" in checked.notes[0]
    assert not find_leaks(split(checked.collection))
    allowed = Request(methods="frozen_head", datasets="mine", allow_leakage=True)
    assert check_independence(allowed, collection, None).joined == ()


def test_independent_parts_stay_as_they_are_although_images_of_one_part_overlap(
    folder: Path,
) -> None:
    parts = {"train": ["s0t0", "s0t1", "s0t2", "s1t0", "s1t1", "s1t2", "x2"]}
    parts |= {"val": ["x3"], "test": ["x4", "x5", "x6", "x7"]}
    (folder / "split.json").write_text(json.dumps(parts))
    checked = check_independence(REQUEST, read_folder(folder), None)
    assert (checked.joined, checked.leaks) == ((), ((),))


def test_one_pass_with_the_proposed_files_mends_a_split_of_the_user(
    folder: Path, tmp_path: Path
) -> None:
    names = [path.stem for path in sorted((folder / "images").iterdir())]
    parts = {"train": names[::2], "test": names[1::2]}
    (folder / "split.json").write_text(json.dumps(parts))
    with (
        pytest.raises(UserError, match="copy these files into the folder"),
        proposing_groups(tmp_path / "out"),
    ):
        check_independence(REQUEST, read_folder(folder), None)
    made = tmp_path / "out" / "overlaps" / "mine"
    rows = list(csv.reader((made / "overlaps.csv").read_text().splitlines()))
    assert {(row[1], row[3]) for row in rows[1:]} == {
        *(("s0t0", "s0t1"), ("s0t2", "s0t1"), ("s1t1", "s1t0"), ("s1t1", "s1t2")),
    }
    for name in ("groups.csv", "split.json"):
        shutil.copy(made / name, folder / name)
    mended = read_folder(folder)
    assert check_independence(REQUEST, mended, None).leaks == ((),)
    assert {item.group for item in mended.items if item.name.startswith("s0")} == {"s0t0"}


@pytest.mark.parametrize(
    ("parts", "pairs", "expected"),
    [
        ({"train": "abcd", "test": "ef"}, ("ae", "bf"), {"train": "bcdf", "test": "ae"}),
        ({"train": "ab", "val": "cd", "test": "e"}, ("ce", "de"), {"train": "ab", "test": "cde"}),
        ({"train": "a", "test": "b"}, ("ab",), None),
    ],
)
def test_a_proposed_split_trains_and_tests(
    tmp_path: Path, parts: dict[str, str], pairs: tuple[str, ...], expected: dict[str, str] | None
) -> None:
    items = tuple(Item(name, Path(name), Path(name), name) for name in "".join(parts.values()))
    official = {part: tuple(names) for part, names in parts.items()}
    collection = Collection("mine", ("ground", "thing"), items, official)
    some = [Pair(one, other, Match("overlap", 0.9, 0.5, 0)) for one, other in map(tuple, pairs)]
    (tmp_path / "overlaps" / "mine").mkdir(parents=True)
    (tmp_path / "overlaps" / "mine" / "split.json").write_text("of an earlier run")
    with pytest.raises(UserError) as raised, proposing_groups(tmp_path):
        raise leakage_error([leak_of(some[0], "train", "test")], collection, some)
    file = tmp_path / "overlaps" / "mine" / "split.json"
    assert ("remove its split file" in str(raised.value)) == (not file.exists())
    made = json.loads(file.read_text()) if file.exists() else {}
    assert {part: "".join(names) for part, names in made.items() if names} == (expected or {})


def test_no_groups_are_proposed_where_only_the_test_dataset_overlaps(
    folder: Path, tmp_path: Path
) -> None:
    collection = replace(read_folder(folder), name="other")
    parts: dict[str, tuple[str, ...]] = {"train": ("x2", "x3"), "test": ("x4", "x5")}
    items = tuple(item for item in collection.items if item.name in "x2 x3 x4 x5")
    mine = replace(collection, name="mine", items=items, official=parts, contents=())
    with (
        pytest.raises(UserError, match=r"remove the copies from .*overlaps\.csv'$"),
        proposing_groups(tmp_path / "out"),
    ):
        check_independence(REQUEST, mine, collection)
    written = (tmp_path / "out" / "overlaps" / "mine").iterdir()
    assert [file.name for file in written] == ["overlaps.csv"]


def test_an_image_that_only_some_folds_train_on_is_a_leak_of_these() -> None:
    """Of a copy in the test dataset, every fold is asked whether it trains on the original."""
    blank = np.zeros((120, 160), np.uint8)
    items = tuple(Item(f"x{n}", scene(n + 20, 160), blank, f"x{n}") for n in range(9))
    mine = Collection("mine", ("ground", "thing"), items)
    request = replace(REQUEST, folds=3)
    parts = [split(mine, fold=fold, folds=3) for fold in range(3)]
    for item in (parts[0].test[0], parts[1].test[0]):
        other = Collection("other", mine.classes, (replace(item, name="copy"),))
        with pytest.raises(
            UserError, match=rf"'copy' \(test\) has the same pixels as '{item.name}'"
        ):
            check_independence(request, mine, other)
        allowed = check_independence(replace(request, allow_leakage=True), mine, other)
        trained = [item.name in {one.name for one in (*p.train, *p.val)} for p in parts]
        assert [bool(leaks) for leaks in allowed.leaks] == trained
        assert sorted(trained) == [False, True, True]


def test_the_same_pairs_come_from_files_that_are_remembered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.data.remember.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("bench.data.remember.SETTLED_S", -1.0)
    first = find_pairs(read_folder(folder).items)
    monkeypatch.setattr("bench.data.leakage.pairs._search", None)
    monkeypatch.setattr("bench.data.contents.inspect", None)
    again = read_folder(folder)
    assert find_pairs(again.items) == first
    Image.fromarray(scene(9, 160)).save(folder / "images" / "x7.png")
    with pytest.raises(TypeError):
        read_folder(folder)


def test_groups_join_under_the_name_of_the_first(folder: Path) -> None:
    collection = join_groups(read_folder(folder), (("s0t0", "x2"), ("x3", "x4")))
    groups = {item.name: item.group for item in collection.items}
    assert (groups["x2"], groups["x4"], groups["x5"]) == ("s0t0", "x3", "x5")


def test_classes_of_masks_come_from_what_the_reader_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = read_folder(folder)
    decoded = present_classes(replace(collection, contents=()), collection.items)
    fresh = read_folder(folder)
    monkeypatch.setattr("bench.data.mask_classes.decode_mask", None)
    assert present_classes(fresh, fresh.items) == decoded == [frozenset({0, 1})] * 12


def test_a_mask_that_changes_while_it_is_read_is_read_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, mask = read_folder(folder).items[0], folder / "masks" / "s0t0.png"
    monkeypatch.setattr("bench.data.remember.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("bench.data.remember.SETTLED_S", -1.0)

    def inspect_and_change(item: Item) -> Contents:
        contents = inspect(item)
        Image.fromarray(np.full((120, 160), 7, np.uint8)).save(mask)
        return contents

    monkeypatch.setattr("bench.data.contents.inspect", inspect_and_change)
    inspect_all([first])
    monkeypatch.setattr("bench.data.contents.inspect", inspect)
    assert inspect_all([first])[0].values == {7: 120 * 160}


def test_lost_pixels_of_a_changed_image_change_the_classes_of_its_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.data.remember.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("bench.data.remember.SETTLED_S", -1.0)
    image, mask = tmp_path / "a.tif", tmp_path / "mask.png"
    Image.fromarray(np.array([[0, 1]], np.uint8).repeat(4, 0)).save(mask)

    def classes(values: list[float]) -> frozenset[int]:
        tifffile.imwrite(image, np.array([values], np.float32).repeat(4, 0))
        item = Item("a", image, mask, "a")
        return present_classes(Collection("a", ("ground", "thing"), (item,)), [item])[0]

    assert classes([0.0, 1.0]) == {0, 1}
    assert classes([np.nan, 1.0]) == {1, IGNORE}


def test_the_facts_of_a_cropped_collection_are_those_of_the_frame(folder: Path) -> None:
    cropped = read_folder(folder).select(Selection(crop="bottom=40"))
    assert CollectionFacts.of(cropped).sizes == {(80, 160): 12}
