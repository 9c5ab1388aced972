"""Regions of nnU-Net that overlap, and run lengths along rows or columns."""

import csv
import json
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from bench.cli import main
from bench.data.decode import decode_mask
from bench.data.folder.read import read_folder
from bench.data.layouts.draft import Options
from bench.data.layouts.importing import import_folder
from bench.errors import UserError


def with_labels(root: Path, labels: dict[str, Any], order: list[int] | None) -> Path:
    """The volumes of nnU-Net, whose values are 0, 1 and 2, with other labels."""
    foreign.nnunet(root)
    content: dict[str, Any] = {"labels": labels, "file_ending": ".nii.gz"}
    content |= {} if order is None else {"regions_class_order": order}
    foreign.write(root / "dataset.json", content)
    return root


@pytest.mark.parametrize(
    ("labels", "order", "classes"),
    [
        (
            {"background": 0, "whole": [1, 2], "core": [2]},
            [1, 2],
            {"background": 0, "whole (rest)": 1, "core": 2},
        ),
        ({"background": 0, "whole": [1, 2], "core": 2}, None, None),
        ({"background": [0], "core": [2], "whole": [1, 2]}, None, None),
        ({"background": 0, "all": [1, 2]}, [1], {"background": 0, "all": [1, 2]}),
        (
            {"background": 0, "a": [1, 2], "b": [2, 3], "ignore": 4},
            [1, 3],
            {"background": 0, "a (rest)": 1, "a and b": 2, "b": 3, "ignore": 4},
        ),
    ],
)
def test_regions_become_the_parts_that_they_have_apart(
    tmp_path: Path, labels: Any, order: Any, classes: Any
) -> None:
    done = import_folder(with_labels(tmp_path / "raw", labels, order), tmp_path / "target")
    expected = classes or {"background": 0, "whole (rest)": 1, "core": 2}
    assert json.loads((tmp_path / "target" / "classes.json").read_text()) == expected
    assert any("scores are of these parts, not of whole regions" in one for one in done.sentences)
    assert not done.fault
    collection = read_folder(tmp_path / "target")
    item = next(item for item in collection.items if item.name == "case_001_s000")
    truth = foreign.mask(2)
    truth = np.minimum(truth, 1) if "all" in labels else truth
    np.testing.assert_array_equal(decode_mask(item, collection), truth)


def run_lengths(inside: npt.NDArray[Any], order: Any) -> str:
    """Pairs of start, from 1, and length."""
    flat = np.concatenate([[0], inside.ravel(order=order).astype(int), [0]])
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    return " ".join(f"{a + 1} {b - a}" for a, b in zip(starts, ends, strict=True))


def table(root: Path, order: Any, *, square: bool = False, plain: bool = False) -> Path:
    """Images with one bright object each and their run lengths; "plain" images show nothing."""
    rows = [["ImageId", "EncodedPixels"]]
    for number, name in enumerate(foreign.NAMES):
        inside = foreign.mask(number) > 0
        shown = foreign.image(number)
        if square:
            inside, shown = inside[:, : foreign.HEIGHT], shown[:, : foreign.HEIGHT]
        shown = np.zeros_like(shown) if plain else shown
        foreign.save(root / f"{name}.png", ndimage.gaussian_filter(shown, 1))
        rows.append([f"{name}.png", run_lengths(inside, order)])
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


@pytest.mark.parametrize("square", [False, True])
def test_run_lengths_along_rows_are_asked_for_and_then_read(tmp_path: Path, square: bool) -> None:
    raw = table(tmp_path / "raw", "C", square=square)
    with pytest.raises(UserError, match=r"fit the images along the rows, .*: add --runs rows, or"):
        import_folder(raw, tmp_path / "target")
    assert main(["data", "import", str(raw), str(tmp_path / "target"), "--runs", "rows"]) == 0
    collection = read_folder(tmp_path / "target")
    for number, item in enumerate(collection.items):
        truth = foreign.mask(number)[:, : foreign.HEIGHT if square else None] > 0
        np.testing.assert_array_equal(decode_mask(item, collection), truth)
    done = import_folder(raw, tmp_path / "other", options=Options(runs="columns"))
    assert any("they fit rows better, so look at them" in line for line in done.sentences)


@pytest.mark.parametrize("square", [False, True])
def test_run_lengths_down_columns_need_no_option(tmp_path: Path, square: bool) -> None:
    done = import_folder(table(tmp_path / "raw", "F", square=square), tmp_path / "target")
    told = "run lengths are read from 1, down the columns, as Kaggle writes them"
    assert told in done.sentences
    collection = read_folder(tmp_path / "target")
    truth = foreign.mask(5)[:, : foreign.HEIGHT if square else None] > 0
    np.testing.assert_array_equal(decode_mask(collection.items[5], collection), truth)


def test_images_that_show_nothing_give_a_note(tmp_path: Path) -> None:
    raw = table(tmp_path / "raw", "C", square=True, plain=True)
    done = import_folder(raw, tmp_path / "target")
    assert any("the images do not show which way they go" in line for line in done.sentences)


def test_runs_are_an_option_of_run_lengths_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign.coco(tmp_path / "raw")
    words = ["data", "import", str(tmp_path / "raw"), str(tmp_path / "target"), "--runs"]
    assert main([*words, "rows"]) == 2
    assert "--runs is for run lengths in a CSV, but" in capsys.readouterr().err
    assert main([*words, "up"]) == 2
    assert "--runs is 'up': give columns or rows" in capsys.readouterr().err
