"""Tables for a paper (`report --latex`): figures, ranks, marks, caption, choice, errors."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from records import make_cell, make_failure, make_record

from bench.cli import main
from bench.report.compare.against import differences
from bench.report.compare.comparison import Comparison, make_comparisons
from bench.report.records.columns import COLUMNS, DICE, Column, column_names
from bench.report.records.frame import to_frame
from bench.report.tables.paper import SIGNS, paper_table
from bench.run.store import Store
from bench.spec import Record

SPECIMENS = 12
LEVELS = {"lora": 0.80, "adapter": 0.801, "unet": 0.60, "full": 0.9}
TRAINABLE = column_names()["trainable"]


def records(specimens: int = SPECIMENS, dataset: str = "steel") -> list[Record]:
    """Two runs of each method; specimens of "adapter" differ from those of "lora" in sign."""
    made = []
    for name, level in LEVELS.items():
        for seed in (0, 1):
            swing = 0.01 if name == "adapter" else 0.0
            scores = [
                level + i * (0.001 + 0.0001 * level) + swing * (-1) ** i * (1 + i / 20)
                for i in range(specimens)
            ]
            cell = make_cell(name, dataset=dataset, seed=seed)
            made.append(make_record(cell, dice=level + 0.02 * seed, image_dice=scores))
    return made


def comparison(made: list[Record]) -> Comparison:
    (one,) = make_comparisons(to_frame(made))
    return one


def latex_table(one: Comparison, columns: list[Column], against: str | None = None) -> str:
    return paper_table([one], columns, against)


def body(table: str) -> list[list[str]]:
    """The cells of the rows, headers first."""
    return [line[:-3].split(" & ") for line in table.splitlines() if line.endswith(r"\\")]


def caption(table: str) -> str:
    found = re.search(r"\\caption\[.*?\]\{%\n(.*?)\n\}\n", table, re.DOTALL)
    assert found is not None
    return found[1]


def test_rows_have_rank_mean_and_spread() -> None:
    table = latex_table(comparison(records()), [DICE, TRAINABLE])
    names, units, *rows = body(table)
    assert names == ["Rank", "Method", "Dice", "Trainable"]
    assert units == ["", "", r"(\%)", "(M)"]
    assert [row[:2] for row in rows] == [
        ["1", "full"],
        ["2", "adapter"],
        ["3", "lora"],
        ["4", "unet"],
    ]
    assert rows[0][2] == r"\textbf{91.0 $\pm$ 1.4}"  # mean and deviation of 90 and 92
    assert "Backbone: sam\\_nano." in caption(table)
    assert "over 2 runs" in caption(table)
    assert r"\label{tab:steel}" in table


def test_signs_are_the_results_of_the_test_against_the_row() -> None:
    one = comparison(records())
    table = latex_table(one, [DICE, TRAINABLE], "lora")
    signs = {row[1]: re.findall(r"\\rlap\{(.*)\}$", row[2]) for row in body(table)[2:]}
    found = differences(one.blocks[0], [DICE], "lora")
    assert {d.row.label: d.result for d in found} == {
        "full": "better",
        "adapter": "tied",
        "unet": "worse",
    }
    expected = {d.row.label: [SIGNS[d.result][0]] for d in found}
    assert signs == {**expected, r"lora$^{\dagger}$": []}
    assert not any("rlap" in row[3] for row in body(table))
    text = caption(table)
    assert r"Compared with lora$^{\dagger}$: $^{+}$ significantly better, " in text
    assert "Wilcoxon signed-rank test" in text
    assert "Holm's correction" in text
    assert r"level 5\,\%" in text


def test_without_a_name_signs_are_those_of_the_other_tables() -> None:
    one = comparison(records())
    table = latex_table(one, [DICE])
    signs = [row[2].endswith(r"\rlap{$^{-}$}") for row in body(table)[2:]]
    marks = [one.blocks[0].marks.get((place, DICE.key)) == "worse" for place in range(4)]
    assert signs == marks
    assert sum(marks) == 3
    assert "Compared with the best: $^{-}$ significantly worse" in caption(table)
    assert "better" not in caption(table)


def test_few_specimens_and_failed_runs_are_said() -> None:
    failed = make_failure(make_cell("bias_only", seed=0))
    lucky = make_record(make_cell("bias_only", seed=1), dice=0.99, image_dice=[0.9] * 3)
    table = latex_table(comparison([*records(3), failed, lucky]), [DICE], "lora")
    text = caption(table)
    assert "$^{?}$ too few specimens to test" in text
    assert "No rank (---)" in text
    assert ["---", "bias\\_only"] in [row[:2] for row in body(table)]
    assert "over 1 to 2 runs" in text


def test_blocks_of_prompts_are_ranked_by_themselves() -> None:
    oracle = make_record(make_cell("medsam"), dice=0.95, prompts="oracle")
    table = latex_table(comparison([*records(), oracle]), [DICE], "lora")
    assert [row[0] for row in body(table) if len(row) > 1][2:] == ["1", "2", "3", "4", "1"]
    assert r"\multicolumn{3}{l}{\emph{Prompts: oracle}} \\" in table
    assert "Oracle prompts are made from the ground truth." in caption(table)


def test_weights_have_a_column_only_where_the_backbone_does_not_tell_them() -> None:
    unet = make_record(make_cell("unet", backbone="none", weights="random"))
    first = [make_record(make_cell("lora")), unet]
    table = latex_table(comparison(first), [DICE])
    assert body(table)[0] == ["Rank", "Method", "Backbone", "Dice"]
    assert r"Weights: random (none), pretrained (sam\_nano)." in caption(table)
    other = make_record(make_cell("lora", weights="random"))
    assert body(latex_table(comparison([*first, other]), [DICE]))[0][2:4] == ["Backbone", "Weights"]


def test_every_column_has_one_name() -> None:
    names = column_names()
    assert list(names.values()) == list(COLUMNS)
    assert names["hd95"].unit == "px"
    assert names["hd95-mm"].unit == "mm"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = Store.open(tmp_path)
    for dataset in ("steel", "nuclei", "emps"):
        for record in records(dataset=dataset):
            store.write(
                dataclasses.replace(
                    record, cell=dataclasses.replace(record.cell, dataset_sha=dataset)
                )
            )
    return tmp_path


def test_the_command_writes_the_chosen_tables(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--columns", "dice,trainable", "--datasets", "steel,nuclei", "--against", "lora"]
    assert main(["report", "--out", str(folder), "--latex", *chosen]) == 0
    file = folder / "latex" / "steel_nuclei.tex"
    assert list((folder / "latex").iterdir()) == [file]
    assert str(file) in capsys.readouterr().out
    assert body(file.read_text())[1] == ["Rank", "Method", *["Dice", "Trainable"] * 2]
    assert not (folder / "tables").exists()


def several() -> list[Comparison]:
    """Tables of steel and of nuclei, which lacks unet and in which full is last."""
    made = records() + [
        dataclasses.replace(
            one,
            cell=dataclasses.replace(one.cell, dataset="nuclei", dataset_sha="nuclei"),
            metrics={**one.metrics, "dice_dataset": 0.1 if one.cell.method == "full" else 0.7},
        )
        for one in records()
        if one.cell.method != "unet"
    ]
    nuclei, steel = make_comparisons(to_frame(made))
    return [steel, nuclei]


def test_datasets_have_groups_of_columns_and_a_mean_rank() -> None:
    table = paper_table(several(), [DICE, TRAINABLE], "lora")
    names, titles, units, *rows = body(table)
    assert names[2:] == [rf"\multicolumn{{2}}{{c}}{{{name}}}" for name in ("steel", "nuclei")]
    assert r"\cmidrule(lr){3-4}\cmidrule(lr){5-6}" in table
    assert titles == ["Rank", "Method", "Dice", "Trainable", "Dice", "Trainable"]
    assert units[2:] == [r"(\%)", "(M)"] * 2
    # On steel full, adapter, lora; on nuclei adapter and lora share the first rank.
    assert [(row[0], row[1].removesuffix(r"$^{\dagger}$")) for row in rows] == [
        ("1.5", "adapter"),
        ("2.0", "full"),
        ("2.0", "lora"),
        ("---", "unet"),
    ]
    assert rows[-1][4:] == ["---", "---"]
    assert rows[1][2].startswith(r"\textbf{91.0")
    assert not rows[1][4].startswith(r"\textbf")
    text = caption(table)
    assert text.startswith("steel, nuclei: equal protocol")
    assert "mean over the datasets of the rows that all of them rank" in text
    assert "or the row is not in every dataset" in text
    assert r"\label{tab:steel_nuclei}" in table


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_tables_compile(tmp_path: Path) -> None:
    hostile = make_record(make_cell("a_b & 100 % $x$ \\ 方", options={"k": "[*]"}), dice=0.3)
    oracle = make_record(make_cell("medsam"), dice=0.95, prompts="oracle")
    tables = [
        paper_table(several(), [DICE, TRAINABLE], "lora"),
        latex_table(comparison([*records(), hostile, oracle]), list(COLUMNS)[:6]),
    ]
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "paper.tex").write_text("\n".join([head, *tables, r"\end{document}"]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--latex", "--columns", "dise"], "no column 'dise'. Did you mean 'dice'? Known: aji,"),
        (["--latex", "--columns", ""], "no column ''"),
        (["--latex", "--datasets", "stel"], "'stel'. Did you mean 'steel'? Known: emps, nuclei"),
        (["--latex", "--against", "lara"], "no ranked row 'lara'. Did you mean 'lora'?"),
        (["--columns", "dice"], "--columns is for --latex: give --latex as well"),
        (["--datasets", "steel"], "--datasets is for --latex or --figure"),
    ],
)
def test_a_wrong_choice_is_one_sentence(
    folder: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--out", str(folder), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (folder / "latex").exists()
