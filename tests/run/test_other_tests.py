"""Train on one dataset and test on another, from the request to the tables."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from records import make_cell, make_record, report_of

from bench.api.compare import read_options
from bench.ask.grid import expand
from bench.ask.request import Request
from bench.contract.tiny import write_tiny_folder
from bench.data.split import split
from bench.errors import UserError
from bench.plugins.registry import load_collection
from bench.report.compare.comparison import make_comparisons
from bench.report.records.frame import to_frame
from bench.run.cell import run_cell
from bench.run.record_images import RecordImages
from bench.run.store import Store
from bench.spec import Cell, Record
from bench.verify.predictions import check_predictions

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("one") / "near")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same objects on another background."""
    folder = write_tiny_folder(tmp_path_factory.mktemp("other") / "far")
    rng = np.random.default_rng(9)
    for path in (folder / "images").iterdir():
        mask = np.asarray(Image.open(folder / "masks" / path.name))
        Image.fromarray(mask // 3 + rng.integers(0, 90, mask.shape, np.uint8)).save(path)
    return folder


def request(near: Path, **options: object) -> Request:
    tiny = {"methods": "frozen_head", "image_size": 64, "weights": "random", "steps": 2}
    return Request(**{"datasets": str(near), **tiny, "batch_size": 2, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def runs(
    near: Path, far: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, Record, Record]:
    """A cell that tests on `far`, and the same cell that tests on its own test part."""
    store = Store.open(tmp_path_factory.mktemp("results"))
    (other,), _ = expand(request(near, test_dataset=str(far), precision="fp32"))
    (own,), _ = expand(request(near, precision="fp32"))
    records = [run_cell(cell, CPU, store, lambda event: None) for cell in (other, own)]
    for record in records:
        store.write(record)
    return store, records[0], records[1]


def test_all_images_of_the_other_dataset_are_tested(
    runs: tuple[Store, Record, Record], far: Path
) -> None:
    _, other, own = runs
    items = load_collection(str(far)).items
    assert [row["name"] for row in other.per_image] == [item.name for item in items]
    assert other.env["split"]["test"] == len(items)
    assert other.env["split"]["train"] == own.env["split"]["train"]


def test_the_in_domain_scores_are_those_of_the_cell_without_another_dataset(
    runs: tuple[Store, Record, Record],
) -> None:
    _, other, own = runs
    assert other.metrics["dice_dataset"] != own.metrics["dice_dataset"]
    in_domain = {
        name.removeprefix("in_domain_"): value
        for name, value in other.metrics.items()
        if name.startswith("in_domain_")
    }
    assert in_domain == own.metrics
    assert [row["loss"] for row in other.history] == [row["loss"] for row in own.history]


def test_the_table_shows_both_next_to_each_other(runs: tuple[Store, Record, Record]) -> None:
    _, other, own = runs
    in_domain, cross = make_comparisons(to_frame([other, own]))
    assert "tested-on-far" in cross.slug
    assert "tested on far" in cross.title
    assert "tested on" not in in_domain.title
    titles = [column.title for column in cross.columns]
    assert titles[:2] == ["Dice", "In-domain Dice"]
    assert "In-domain Dice" not in [column.title for column in in_domain.columns]
    figure = cross.rows[0].values["in_domain_dice_dataset"].figure
    assert figure == own.metrics["dice_dataset"]
    assert any("tested on all images of far" in note for note in cross.notes)


def test_stored_predictions_are_checked_on_the_other_dataset(
    runs: tuple[Store, Record, Record],
) -> None:
    store, other, _ = runs
    count, skipped, findings = check_predictions(store, [other], RecordImages(load_collection))
    assert (count, skipped, findings) == (len(other.per_image), [], [])


def test_the_test_dataset_is_part_of_the_identity_and_its_folder_is_not(
    runs: tuple[Store, Record, Record],
) -> None:
    _, other, own = runs
    cell = other.cell
    assert cell.id.startswith("near-on-far_sam_nano_frozen_head")
    assert cell.id != own.cell.id
    assert replace(cell, test_dataset="/elsewhere/far/").id == cell.id
    assert replace(cell, test_sha="0" * 64).id != cell.id
    assert replace(cell, test_dataset="", test_sha="").id == own.cell.id
    assert Cell.from_dict(cell.to_dict()) == cell


def test_other_classes_are_refused_with_both_lists(near: Path, far: Path, tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.mkdir()
    for part in ("images", "masks"):
        (named / part).symlink_to(far / part)
    (named / "classes.json").write_text('{"rest": 0, "pore": 255}')
    with pytest.raises(
        UserError, match="has the classes rest, pore, but 'near' has background, ob"
    ):
        expand(request(near, test_dataset=str(named)))


def test_the_dataset_itself_is_refused(near: Path) -> None:
    with pytest.raises(UserError, match="has the same images as 'near': leave it out"):
        expand(request(near, test_dataset=str(near)))


def test_a_training_image_in_the_other_dataset_is_a_leak(
    near: Path, far: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    for part in ("images", "masks"):
        (mixed / part).mkdir(parents=True)
        for path in (far / part).iterdir():
            (mixed / part / path.name).symlink_to(path)
    name = _train_names(near)[0]
    for part in ("images", "masks"):
        (mixed / part / "copy.png").symlink_to(near / part / f"{name}.png")
    with pytest.raises(UserError, match=rf"'copy' \(test\) has the same pixels as '{name}' \(tr"):
        expand(request(near, test_dataset=str(mixed)))
    (cell,), notes = expand(request(near, test_dataset=str(mixed), allow_leakage=True))
    assert len(cell.leaks) == 1
    assert any("'copy' (test)" in note for note in notes)


def _train_names(folder: Path) -> list[str]:
    return [item.name for item in split(load_collection(str(folder))).train]


def test_the_python_interface_takes_names_and_paths(far: Path) -> None:
    for value in (far, str(far)):
        parsed, _ = read_options({"methods": "lora", "datasets": "steel", "test_dataset": value})
        assert parsed.test_dataset == str(far)
    parsed, _ = read_options({"methods": "lora", "datasets": "steel", "split": "7:2:1"})
    assert parsed.ratio == "7:2:1"


def test_reports_of_both_kinds_are_written(tmp_path: Path) -> None:
    own = make_record(dice=0.8)
    cell = replace(make_cell(), test_dataset="/data/plant_b", test_sha="e" * 64)
    other = make_record(cell, dice=0.6, in_domain_dice_dataset=0.8)
    report_of([own, other], tmp_path)
    index = (tmp_path / "index.md").read_text()
    assert "## steel: equal protocol, all labels, 256 px, 200 steps of 4 images\n" in index
    assert "## steel: equal protocol, all labels, 256 px, 200 steps of 4 images, tested on" in index
    assert re.search(r"\| +Dice \(%\) +\| +In-domain Dice \(%\) +\|", index)
    table = (tmp_path / "tables" / "steel_tested-on-plant-b.csv").read_text()
    assert "in_domain_dice_dataset" in table
    report_of([own], tmp_path / "own")
    assert "in_domain" not in (tmp_path / "own" / "tables" / "records.csv").read_text()
