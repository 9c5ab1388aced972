"""Several results folders become one, and nothing is written if they contradict each other."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from folders import make_folder
from records import make_cell, make_record
from safetensors.torch import load_file, save_file
from torch import nn

from bench.data.split import split
from bench.errors import UserError
from bench.keep.header import read_header, without_paths
from bench.plugins.registry import load_collection
from bench.run.merge import Merged, merge_folders
from bench.run.models import keep_model
from bench.run.store import Store

ROOT = Path(__file__).parents[2]


def make_results(folder: Path, *seeds: int, dice: float = 0.8) -> Store:
    """A results folder with a record and a class map of each seed."""
    store = Store.open(folder)
    for seed in seeds:
        record = make_record(make_cell(seed=seed), dice=dice)
        maps = store.predictions(record.cell)
        maps.mkdir()
        (maps / "image_0.png").write_bytes(b"map of seed %d" % seed)
        store.write(record)
    return store


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_merge_has_each_record_once(tmp_path: Path) -> None:
    one, other = make_results(tmp_path / "A", 0, 1), make_results(tmp_path / "B", 1, 2)
    merged = merge_folders([one.folder, other.folder], tmp_path / "C")
    assert merged == Merged(3, 3, 3, ())
    assert [record.cell.seed for record in Store(tmp_path / "C").stream()] == [0, 1, 2]
    before = files_of(tmp_path / "C")
    assert set(before) == {path for store in (one, other) for path in files_of(store.folder)}
    assert merge_folders([one.folder, other.folder], tmp_path / "C") == Merged(3, 0, 0, ())
    assert files_of(tmp_path / "C") == before


def test_a_folder_can_take_in_another_one(tmp_path: Path) -> None:
    one, other = make_results(tmp_path / "A", 0), make_results(tmp_path / "B", 0, 5)
    assert merge_folders([one.folder, other.folder], one.folder) == Merged(2, 1, 1, ())
    assert files_of(one.folder).keys() == files_of(other.folder).keys()


def test_records_are_equal_whatever_their_layout(tmp_path: Path) -> None:
    one, other = make_results(tmp_path / "A", 0), make_results(tmp_path / "B", 0)
    path = other.path(make_cell(seed=0))
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert merge_folders([one.folder, other.folder], tmp_path / "C").records == 1


@pytest.mark.parametrize("part", ["records", "predictions", "target"])
def test_other_contents_are_refused_and_nothing_is_written(tmp_path: Path, part: str) -> None:
    one = make_results(tmp_path / "A", 0, 1, 2)
    other = make_results(tmp_path / "B", 1, 2, dice=0.8 if part == "predictions" else 0.7)
    folders, target, first = [one.folder, other.folder], tmp_path / "C", one.folder
    if part == "predictions":
        for seed in (1, 2):
            (other.predictions(make_cell(seed=seed)) / "image_0.png").write_bytes(b"another map")
    elif part == "target":
        folders, target, first = [one.folder], other.folder, other.folder
        folders, other = [one.folder], one
    before = files_of(tmp_path)
    with pytest.raises(UserError) as error:
        merge_folders(folders, target)
    name = make_cell(seed=1).id
    path = f"predictions/{name}/image_0.png" if part == "predictions" else f"records/{name}.json"
    assert f"{first / path} and {other.folder / path} have the same name" in str(error.value)
    assert files_of(tmp_path) == before
    assert not (tmp_path / "C").exists()


def test_a_damaged_record_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    one, other = make_results(tmp_path / "A", 0), make_results(tmp_path / "B", 5)
    other.path(make_cell(seed=5)).write_text("{")
    with pytest.raises(UserError, match="is not a record"):
        merge_folders([one.folder, other.folder], tmp_path / "C")
    assert not (tmp_path / "C").exists()


def test_a_folder_without_records_is_named(tmp_path: Path) -> None:
    one = make_results(tmp_path / "A", 0)
    with pytest.raises(UserError, match=r"no records in .*nothing: give results folders"):
        merge_folders([one.folder, tmp_path / "nothing"], tmp_path / "C")


def test_logs_of_two_clusters_with_one_name_are_both_kept(tmp_path: Path) -> None:
    stores = [make_results(tmp_path / name, seed) for seed, name in enumerate("AB")]
    for store in stores:
        (store.folder / "slurm").mkdir()
        (store.folder / "slurm" / "1_0_log.out").write_text(store.folder.name)
        (store.folder / "slurm" / "1_0_result.pkl").write_text("not copied")
    for _ in range(2):
        merge_folders([store.folder for store in stores], tmp_path / "C")
        logs = sorted(path.read_text() for path in (tmp_path / "C" / "slurm").iterdir())
        assert logs == ["A", "B"]


def keep(store: Store, seed: int, parts_of: Path, weight: float) -> None:
    parts = split(load_collection(str(parts_of)))
    module = nn.Linear(2, 1)
    nn.init.constant_(module.weight, weight)
    nn.init.zeros_(module.bias)
    record = make_record(make_cell(seed=seed), dice=0.5 + seed / 10)
    keep_model(module, record, parts, {}, store.model(without_paths(record.cell)), "all")
    store.write(record)


def test_models_are_linked_and_their_cards_know_all_records(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images")
    stores = [Store.open(tmp_path / name) for name in "AB"]
    for seed, store in enumerate(stores):
        keep(store, seed, images, 0.1)
    merge_folders([store.folder for store in stores], tmp_path / "C")
    target = Store(tmp_path / "C")
    for seed, store in enumerate(stores):
        path = target.model(make_cell(seed=seed))
        assert path.samefile(store.model(make_cell(seed=seed)))
        assert "55.0 ± 7.1 % (2 runs)" in path.with_suffix(".md").read_text()
        assert "2 runs" not in store.model(make_cell(seed=seed)).with_suffix(".md").read_text()
    shutil.rmtree(tmp_path / "A")
    assert target.model(make_cell(seed=0)).stat().st_size > 0


def test_models_with_other_weights_are_refused(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images")
    stores = [Store.open(tmp_path / name) for name in "AB"]
    for store, weight in zip(stores, (0.1, 0.2), strict=True):
        keep(store, 0, images, weight)
    with pytest.raises(UserError, match=r"A/models/.* and .*B/models/.* different contents"):
        merge_folders([store.folder for store in stores], tmp_path / "C")
    assert not (tmp_path / "C").exists()


def test_a_card_of_an_unknown_method_is_copied_as_it_was(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "A")
    keep(store, 0, make_folder(tmp_path / "images"), 0.1)
    other = Store.open(tmp_path / "B")
    record = make_record(make_cell("of_somebody_else"))
    source = store.model(make_cell(seed=0))
    header = replace(read_header(source), cell=without_paths(record.cell))
    path = other.model(record.cell)
    path.parent.mkdir()
    save_file(load_file(source), path, header.to_metadata())
    path.with_suffix(".md").write_text("their card")
    other.write(record)
    merged = merge_folders([store.folder, other.folder], tmp_path / "C")
    card = Store(tmp_path / "C").model(record.cell).with_suffix(".md")
    assert merged.cards_as_they_were == (card,)
    assert card.read_text() == "their card"


def test_a_killed_merge_goes_on(tmp_path: Path) -> None:
    one, other = make_results(tmp_path / "A", *range(0, 60)), make_results(tmp_path / "B", 60)
    command = [sys.executable, str(ROOT / "run_bench.py"), "merge", "A", "B", "--out", "C"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    records = tmp_path / "C" / "records"
    while process.poll() is None and len(list(records.glob("*.json"))) < 5:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    for record in Store(tmp_path / "C").stream():  # whole, and with their class maps
        assert (tmp_path / "C" / "predictions" / record.cell.id / "image_0.png").stat().st_size
    merge_folders([one.folder, other.folder], tmp_path / "C")
    union = files_of(one.folder) | files_of(other.folder)
    merged = files_of(tmp_path / "C")
    assert {name: merged[name] for name in union} == union
