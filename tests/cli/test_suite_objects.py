"""`suite run objects` and `suite ledger objects` from the command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from records import make_record
from touching_discs import write_discs

from bench.ask import object_rules
from bench.ask.suites import SuiteChoice
from bench.cli import main
from bench.run.store import Store
from bench.spec import Cell

REQUEST = {"steps": 2, "image_size": 64, "precision": "fp32", "allow_leakage": True}
OPTIONS = [
    "--seeds",
    "2",
    "--steps",
    "2",
    "--image-size",
    "64",
    "--precision",
    "fp32",
    "--allow-leakage",
]
RULES = ("components", "watershed", "distances", "prompts")


def expand(*folders: Path) -> list[Cell]:
    datasets = ",".join(map(str, folders))
    cells, notes = object_rules.expand_objects(SuiteChoice(datasets, "2", REQUEST))
    assert any("particles, nuclei, emps: left out" in note for note in notes)
    return cells


def rule_of(cell: Cell) -> str:
    return "prompts" if cell.recipe.proposer else cell.recipe.objects


def test_the_grid_is_complete_and_rules_come_one_after_the_other(tmp_path: Path) -> None:
    cells = expand(write_discs(tmp_path / "dsb2018"), write_discs(tmp_path / "b"))
    assert len(cells) == 2 * 2 * 4 * 4  # datasets, seeds, methods, rules
    assert list(dict.fromkeys(map(rule_of, cells))) == list(RULES)
    prompted = [cell for cell in cells if cell.recipe.proposer]
    assert {cell.method for cell in prompted} == {"zero_shot"}
    assert {cell.recipe.proposer for cell in prompted} == {"lora", "full", "decoder_only", "unet"}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Records in which lora with learned distances has a PQ of 50 and 52 %, the rest 30 %."""
    write_discs(tmp_path / "dsb2018")
    for cell in expand(tmp_path / "dsb2018"):
        good = cell.method == "lora" and rule_of(cell) == "distances"
        scores = dict.fromkeys(("sq", "dq", "ap50", "aji"), 0.4)
        metrics: dict[str, Any] = {f"{key}_dataset": one for key, one in scores.items()}
        metrics["pq_dataset"] = 0.5 + 0.02 * cell.seed if good else 0.3
        metrics |= {"particles_relative_error/particle": -0.25, "d50_error/particle": 1.5}
        record = replace(make_record(cell, **metrics), classes=("ground", "particle"))
        Store(tmp_path / "out").write(record)
    return tmp_path


def test_the_ledger_is_made_from_records_and_verified(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(results / "out")
    words = ["objects", "--dataset", str(results / "dsb2018"), *OPTIONS, "--out", out]
    assert main(["suite", "ledger", *words]) == 0
    (path,) = (results / "out" / "ledger").glob("*.md")
    text = path.read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    table = [line for line in lines if line and line[0].startswith("`")]
    assert [line[1] for line in table] == [f"`{rule}`" for rule in RULES] * 4
    assert [line[0] for line in table[::4]] == ["`lora`", "`full`", "`decoder_only`", "`unet`"]
    assert table[2][2:] == ["2 of 2", "51.0 ± 1.4", *["40.0"] * 4, "-25", "+1.5"]
    assert table[3][2:4] == ["2 of 2", "30.0 ± 0.0"]
    assert "Not in these tables: particles, nuclei, emps" in text
    capsys.readouterr()
    main(["verify", "--results", out])
    assert path.name not in capsys.readouterr().out
    path.write_text(text.replace("51.0", "61.0"))
    assert main(["verify", "--results", out]) == 1
    assert path.name in capsys.readouterr().out


def test_without_records_lines_are_empty_and_several_datasets_name_the_file(
    tmp_path: Path,
) -> None:
    folders = write_discs(tmp_path / "dsb2018"), write_discs(tmp_path / "b")
    words = ["--dataset", ",".join(map(str, folders)), *OPTIONS, "--out", str(tmp_path / "out")]
    assert main(["suite", "ledger", "objects", *words]) == 0
    text = (tmp_path / "out" / "ledger" / "objects_dsb2018-b.md").read_text()
    assert text.count("0 of 2") == 2 * 16


def test_a_rule_and_other_suites_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suite", "run", "objects", "--objects", "rays", "--out", str(tmp_path)]) == 2
    assert "the suite objects runs every rule" in capsys.readouterr().err
    assert main(["suite", "run", "objects", "proxy", "--out", str(tmp_path)]) == 2
    assert "run the suite objects alone" in capsys.readouterr().err
    assert main(["suite", "list"]) == 0
    assert "objects" in capsys.readouterr().out
