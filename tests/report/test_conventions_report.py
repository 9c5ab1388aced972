"""Records and stored class maps to a comparison of conventions, and how it is told."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from records import CLASSES, make_cell, make_failure, make_record
from rich.console import Console

from bench.data.fingerprint import fingerprint
from bench.data.items import Collection, Item
from bench.errors import UserError
from bench.report.conventions.order_changes import OrderChange, Scores, find_order_changes
from bench.report.conventions.scores import compare_conventions, find_records
from bench.report.conventions.terminal import conventions_tables
from bench.run.store import Store
from bench.spec import Cell, Record


def collection(*masks: Sequence[int], volume: str = "") -> Collection:
    """Images of one line, alone or as the slices of one volume."""
    return Collection(
        "lines",
        CLASSES,
        tuple(
            Item(f"line_{i}", np.zeros((1, len(mask)), np.uint8), line(mask), "one", volume=volume)
            for i, mask in enumerate(masks)
        ),
    )


def line(values: Sequence[int]) -> Any:
    return np.array([values], np.uint8)


def add(
    store: Store,
    method: str,
    images: Collection,
    *found: Sequence[int],
    seed: int = 0,
    **asked: Any,
) -> Record:
    """A run whose class maps are kept."""
    cell = replace(make_cell(method, dataset="lines", seed=seed), dataset_sha=fingerprint(images))
    per_image = tuple({"name": item.name, "group": item.group} for item in images.items)
    record = replace(make_record(cell, **asked), per_image=per_image)
    store.write(record)
    folder = store.predictions(cell)
    folder.mkdir()
    for item, values in zip(images.items, found, strict=True):
        Image.fromarray(line(values)).save(folder / f"{item.name}.png")
    return record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "results")


LINES = collection([0, 1, 1, 0, 2, 2], [0, 1, 1, 0, 0, 0])
WILD = [0, 1, 1, 0, 2, 2], [0, 1, 0, 0, 2, 0]  # marks class 2 where there is none
CAREFUL = [0, 1, 1, 0, 2, 2], [0, 1, 0, 0, 0, 0]
HALF = [0, 1, 1, 0, 2, 0], [0, 1, 1, 0, 0, 0]


def test_a_false_alarm_turns_the_ranking(store: Store) -> None:
    add(store, "wild", LINES, *WILD)
    add(store, "careful", LINES, *CAREFUL)
    (found,) = compare_conventions(store.read_all(), store.predictions, lambda *_: LINES)
    (block,) = found.blocks
    # Class 1: (1 + 2/3) / 2; class 2: (1 + 1) / 2 with the false alarm, (1 + 0) / 2 without.
    assert block.scores["wild"]["SAMed", "dice"] == pytest.approx((5 / 6 + 1) / 2)
    assert block.scores["careful"]["SAMed", "dice"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert block.scores["careful"]["nnU-Net", "dice"] == pytest.approx((5 / 6 + 1) / 2)
    assert block.scores["wild"]["nnU-Net", "dice"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    (flip,) = (one for one in block.order_changes if one.conventions == ("SAMed", "nnU-Net"))
    assert flip.measure == "dice"
    assert flip.methods == ("wild", "careful")
    assert flip.leads == pytest.approx((1 / 4, 1 / 4))
    assert "each is scored as one volume" in " ".join(found.notes)


def test_scores_are_means_over_seeds(store: Store) -> None:
    add(store, "lora", LINES, *CAREFUL)
    add(store, "lora", LINES, *HALF, seed=1)
    (found,) = compare_conventions(store.read_all(), store.predictions, lambda *_: LINES)
    figure = found.blocks[0].scores["lora"]["suite", "dice"]
    # Careful: 2 * 3 / 7 and 1; half: 1 and 2 / 3.
    assert figure == pytest.approx(((6 / 7 + 1) / 2 + (1 + 2 / 3) / 2) / 2)


def test_slices_are_gathered_to_volumes(store: Store) -> None:
    slices = collection([0, 1, 1, 0, 2, 2], [0, 1, 1, 0, 0, 0], volume="scan")
    add(store, "wild", slices, *WILD)
    (found,) = compare_conventions(store.read_all(), store.predictions, lambda *_: slices)
    # The volume holds class 2: 2 voxels found, 1 too many; class 1: 3 of 4.
    figure = found.blocks[0].scores["wild"]["SAMed", "dice"]
    assert figure == pytest.approx((6 / 7 + 4 / 5) / 2)
    assert "each is scored as one volume" not in " ".join(found.notes)


def test_prompts_of_different_origin_are_not_compared(store: Store) -> None:
    add(store, "wild", LINES, *WILD)
    add(store, "careful", LINES, *CAREFUL, prompts="oracle")
    (found,) = compare_conventions(store.read_all(), store.predictions, lambda *_: LINES)
    assert [block.prompts for block in found.blocks] == ["none", "oracle"]
    assert not any(block.order_changes for block in found.blocks)


def test_flips_know_which_way_is_better() -> None:
    scores: Scores = {
        "a": {("suite", "hd95_px"): 2.0, ("SAMed", "hd95_px"): 2.0, ("suite", "dice"): 0.5},
        "b": {("suite", "hd95_px"): 5.0, ("SAMed", "hd95_px"): 1.0, ("suite", "dice"): 0.6},
        "c": {("suite", "hd95_px"): 5.0, ("SAMed", "hd95_px"): None, ("suite", "dice"): 0.6},
    }
    assert find_order_changes(scores) == [
        OrderChange("hd95_px", ("suite", "SAMed"), ("a", "b"), (3.0, 1.0))
    ]


def test_the_clearest_flip_comes_first() -> None:
    dice = {"a": (0.5, 0.8), "b": (0.6, 0.5), "c": (0.9, 0.79)}
    scores = {
        name: {("suite", "dice"): first, ("nnU-Net", "dice"): second}
        for name, (first, second) in dice.items()
    }
    assert [flip.methods for flip in find_order_changes(scores)] == [("b", "a"), ("c", "a")]


def test_tables_tell_figures_ranks_and_flips(store: Store) -> None:
    add(store, "wild", LINES, *WILD)
    add(store, "careful", LINES, *CAREFUL)
    console = Console(width=140, file=io.StringIO())
    for table in conventions_tables(
        compare_conventions(store.read_all(), store.predictions, lambda *_: LINES)
    ):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "Dice (%) by convention: lines" in text
    assert "91.7  (1)" in text  # wild by SAMed, careful by nnU-Net
    assert "wild leads careful by 25.0, then trails by 25.0" in text


def test_records_are_found_by_file_and_folder(store: Store) -> None:
    first, second = add(store, "wild", LINES, *WILD), add(store, "careful", LINES, *CAREFUL)
    store.write(make_failure(make_cell("lora", dataset="lines")))
    records, folder = find_records([store.folder])
    assert {one.cell.method for one in records} == {"wild", "careful"}
    assert folder(first.cell) == store.predictions(first.cell)
    assert find_records([store.path(second.cell)])[0] == [second]


def test_one_dataset_at_a_time(store: Store) -> None:
    add(store, "wild", LINES, *WILD)
    store.write(make_record(make_cell(dataset="steel")))
    with pytest.raises(UserError, match="of lines, steel: choose one with --dataset"):
        find_records([store.folder])
    assert [one.cell.dataset for one in find_records([store.folder], "steel")[0]] == ["steel"]
    with pytest.raises(UserError, match="no record here is of dataset 'uhcs'"):
        find_records([store.folder], "uhcs")
    with pytest.raises(UserError, match="no record in"):
        find_records([store.folder / "records" / "nothing.json"])


def assert_refused(store: Store, images: Collection, match: str) -> None:
    def compare(records: list[Record]) -> None:
        compare_conventions(records, store.predictions, lambda *_: images)

    with pytest.raises(UserError, match=match):
        compare(store.read_all())


def test_what_cannot_be_compared_is_refused(store: Store) -> None:
    cell: Cell = add(store, "wild", LINES, *WILD).cell
    assert_refused(store, collection([0, 1], [1, 0]), "differ from those that .* was tested on")
    path = store.predictions(cell) / "line_1.png"
    path.unlink()
    assert_refused(store, LINES, "has no stored prediction .*line_1.png")
    Image.fromarray(line([0, 1])).save(path)
    assert_refused(store, LINES, "the class map of 'line_1' in .* does not fit")
    store.write(make_failure(cell))
    assert_refused(store, LINES, "has the status oom and no predictions")
