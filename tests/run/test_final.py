"""The final model: trained on more images, tested on nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from folders import make_folder
from records import make_record

from bench.errors import UserError, WriteError
from bench.keep.header import read_header
from bench.keep.model_file import load_module
from bench.run.final import FinalTraining, train_final
from bench.run.models import scores_of
from bench.spec import Cell, Recipe, Task


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    images = make_folder(tmp_path_factory.mktemp("data") / "images")
    recipe = Recipe(lr=1e-3, steps=2, batch_size=2, bank_views=4, precision="fp32")
    return Cell("frozen_head", str(images), Task(2, 64, weights="random"), recipe)


@pytest.mark.parametrize("everything", [False, True])
def test_it_is_trained_on_all_parts_that_may_be_used(
    cell: Cell, everything: bool, tmp_path: Path
) -> None:
    records = [
        make_record(replace(cell, seed=seed), dice_dataset=0.5 + seed / 10) for seed in (0, 2)
    ]
    other = make_record(replace(cell, labels=3), dice_dataset=0.9)
    training = FinalTraining(cell, everything, scores_of(cell, [*records, other]))
    path = tmp_path / "final.safetensors"
    header = train_final(training, "cpu", path, lambda event: None)
    assert header.final
    assert set(header.trained_on) == ({"train", "val", "test"} if everything else {"train", "val"})
    names = [name for some in header.trained_on.values() for name in some]
    assert len(names) == len(set(names)) == (8 if everything else 6)
    assert header.metrics == {}
    assert [score.dice for score in header.repeats] == [0.5, 0.7]
    assert read_header(path) == header
    load_module(path)
    card = path.with_suffix(".md").read_text()
    assert "tested on nothing" in card
    assert "60.0 ± 14.1 % (2 runs)" in card
    assert all(name in card for name in names)


def test_a_method_without_training_is_refused(cell: Cell, tmp_path: Path) -> None:
    training = FinalTraining(replace(cell, method="zero_shot"))
    with pytest.raises(UserError, match="zero_shot has nothing to train"):
        train_final(training, "cpu", tmp_path / "m.safetensors", lambda event: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/m.safetensors", "m.md", "m" * 240 + ".safetensors"])
def test_a_path_that_cannot_be_written_is_refused_before_the_training(
    cell: Cell, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "m.md").mkdir()
    monkeypatch.setattr("bench.run.final.load_collection", None)
    path = (tmp_path / place).with_suffix(".safetensors")
    with pytest.raises(WriteError, match="cannot write"):
        train_final(FinalTraining(cell), "cpu", path, lambda event: None)


def test_a_training_that_diverges_ends_in_one_sentence(cell: Cell, tmp_path: Path) -> None:
    training = FinalTraining(replace(cell, recipe=replace(cell.recipe, lr=1e30)))
    with pytest.raises(UserError, match="frozen_head cannot be trained here: the loss became"):
        train_final(training, "cpu", tmp_path / "m.safetensors", lambda event: None)
    assert list(tmp_path.iterdir()) == []
