"""One report of several results folders equals that of the merged folder."""

from pathlib import Path

import pytest
from records import make_cell, make_record

from bench import cli
from bench.run.folders import UnitedStore
from bench.run.merge import merge_folders
from bench.run.store import Store


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """A has the seeds 0 and 1, B the seeds 1 and 2 and a method more."""
    for name, seeds in (("A", (0, 1)), ("B", (1, 2))):
        store = Store.open(tmp_path / name)
        for seed in seeds:
            store.write(make_record(make_cell(seed=seed)))
    store.write(make_record(make_cell("unet", seed=2), dice=0.7))
    return [tmp_path / "A", tmp_path / "B"]


def texts(folder: Path) -> dict[str, str]:
    paths = [*folder.glob("*.md"), *folder.glob("tables/*")]
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


@pytest.mark.slow
def test_the_report_is_that_of_the_merged_folder(folders: list[Path], tmp_path: Path) -> None:
    assert cli.main(["report", *map(str, folders), "--out", str(tmp_path / "C")]) == 0
    merge_folders(folders, tmp_path / "D")
    assert cli.main(["report", "--out", str(tmp_path / "D")]) == 0
    assert texts(tmp_path / "C") == texts(tmp_path / "D")
    assert len(texts(tmp_path / "C")) >= 6
    plots = [{path.name for path in (tmp_path / name / "plots").iterdir()} for name in "CD"]
    assert plots[0] == plots[1]


def test_records_are_read_and_not_copied(folders: list[Path], tmp_path: Path) -> None:
    store = UnitedStore.unite(folders, tmp_path / "C")
    assert [(one.cell.method, one.cell.seed) for one in store.read_all()] == [
        *(("lora", seed) for seed in range(3)),
        ("unet", 2),
    ]
    assert [path.name for path in (tmp_path / "C" / "records").iterdir()] == ["folders.txt"]


def test_class_maps_are_linked_again_in_each_report(folders: list[Path], tmp_path: Path) -> None:
    ids = [make_cell(seed=seed).id for seed in (0, 2)]
    for folder, name in zip(folders, ids, strict=True):
        (folder / "predictions" / name).mkdir()
        (folder / "predictions" / name / "image_0.png").write_bytes(b"map")
    (folders[1] / "predictions" / "without-a-record").mkdir()
    store = UnitedStore.unite(folders, tmp_path / "C")
    maps = store.folder / "predictions"
    assert sorted(path.name for path in maps.iterdir()) == sorted(ids)
    assert (maps / ids[1] / "image_0.png").read_bytes() == b"map"
    UnitedStore.unite(folders[1:], tmp_path / "C")
    assert [path.name for path in maps.iterdir()] == ids[1:]
    assert (folders[0] / "predictions" / ids[0] / "image_0.png").exists()


def test_a_conflict_names_both_files(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = make_cell(seed=1)
    Store(folders[1]).write(make_record(cell, dice=0.3))
    assert cli.main(["report", *map(str, folders), "--out", str(tmp_path / "C")]) == 2
    sentence = capsys.readouterr().err
    for folder in folders:
        assert str(Store(folder).path(cell)) in sentence
    assert not (tmp_path / "C").exists()


def test_a_target_with_other_records_is_refused(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", str(folders[0]), "--out", str(folders[1])]) == 2
    assert "has records that are in none of the other folders" in capsys.readouterr().err
