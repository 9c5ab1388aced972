"""Collections of records that are loaded when they are asked for, and only then."""

from pathlib import Path

import pytest
from folders import make_folder
from records import make_cell

from bench.data.fingerprint import fingerprint
from bench.data.items import Collection
from bench.data.selection import Selection
from bench.errors import UserError
from bench.plugins.registry import load_collection
from bench.run.record_images import NamedImages, RecordImages
from bench.spec import Cell


def test_two_folders_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    folders = [
        str(make_folder(tmp_path / parent / "mine", n)) for parent, n in (("a", 6), ("b", 7))
    ]
    cells = [
        Cell(**{**vars(make_cell()), "dataset": folder, "dataset_sha": sha})
        for folder in folders
        for sha in [fingerprint(load_collection(folder))]
    ]
    images = RecordImages(load_collection)
    assert images.by_name(cells) == {}
    assert list(images.by_name(cells[:1])) == ["mine"]


def test_only_what_is_asked_for_is_loaded(tmp_path: Path) -> None:
    folder = str(make_folder(tmp_path / "mine"))
    sha = fingerprint(load_collection(folder))
    loaded: list[str] = []

    def load(name: str, selection: Selection) -> Collection:
        loaded.append(name)
        if name == "away":
            raise UserError("it is on another machine")
        return load_collection(folder, selection)

    def of(dataset: str, fingerprint: str) -> Cell:
        return Cell(**{**vars(make_cell()), "dataset": dataset, "dataset_sha": fingerprint})

    cells = [of("here", sha), of("away", sha), of("changed", "0" * 64), of("unasked", sha)]
    images = NamedImages(cells, RecordImages(load))
    assert loaded == []
    assert len(images["here"].items) > 0
    assert images.get("here") is images["here"]
    assert loaded == ["here"]
    assert images.get("away") is None
    assert images.get("changed") is None
    assert images.get("of no record") is None
    with pytest.raises(KeyError):
        images["away"]
    assert loaded == ["here", "away", "changed"]
    assert list(images) == ["here", "unasked"]
    assert len(images) == 2
