"""The grid of the suite `reference`."""

import tomllib
from pathlib import Path

import pytest
from folders import make_folder

from bench import UserError
from bench.ask import reference
from bench.ask.method_words import parse_methods
from bench.ask.suites import SuiteChoice
from bench.cli import main
from bench.plugins.registry import list_methods

FILE = Path(__file__).parents[2] / "results" / "published" / "reference.toml"
SMALL = {"steps": 2, "image_size": 64, "allow_leakage": True}


def _parts() -> list[dict[str, str]]:
    return list(tomllib.loads(FILE.read_text())["parts"])


def test_every_method_is_in_the_set_of_this_name() -> None:
    text = tomllib.loads(FILE.read_text())["sets"]["every"]
    names = {method.name for method, _ in parse_methods(text)}
    assert names == {method.name for method in list_methods(built_in_only=True)}


def test_folds_are_at_most_those_that_verify_reads() -> None:
    assert max(int(part.get("folds", 1)) for part in _parts()) == reference.FOLDS


def test_a_folder_has_the_parts_of_its_name(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "uhcs", count=12)
    cells, notes = reference.expand_reference(SuiteChoice(str(folder), "2", SMALL))
    assert {cell.dataset_name for cell in cells} == {"uhcs"}
    assert {(cell.folds, cell.seed) for cell in cells} == {(4, 0)}
    assert {cell.fold for cell in cells} == {0, 1, 2, 3}
    weights = [cell.task.weights for cell in cells if cell.label == "lora"]
    assert sorted(weights) == ["pretrained"] * 4 + ["random"] * 4
    assert any(note.startswith("steel, particles") and "left out" in note for note in notes)


def test_the_seeds_of_parts_without_folds_are_those_of_the_command(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "emps", count=12)
    cells, _ = reference.expand_reference(SuiteChoice(str(folder), "2", SMALL))
    assert len(cells) == 10 * 2
    assert {(cell.folds, cell.seed) for cell in cells} == {(1, 0), (1, 1)}


def test_the_command_lists_the_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "emps", count=12)
    words = ["suite", "run", "reference", "--dataset", str(folder), "--seeds", "1", "--dry-run"]
    small = ["--steps", "2", "--image-size", "64", "--allow-leakage", "--no-predict"]
    assert main([*words, *small, "--out", str(tmp_path / "out")]) == 0
    assert "10 cells" in capsys.readouterr().out


def test_a_dataset_without_a_part_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "other", count=12)
    with pytest.raises(UserError, match="does not have the dataset other: give some of steel"):
        reference.expand_reference(SuiteChoice(f"steel,{folder}", "2", SMALL))
