"""Cross-validation and label budgets in the report."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from records import CLASSES, ENV, make_cell, make_failure, make_record, report_of

from bench.report.compare.comparison import make_comparisons
from bench.report.compare.label_budgets import find_budgets
from bench.report.page.charts import charts_of
from bench.report.page.tables import folds_lines
from bench.report.plots.label_budgets import draw_budgets
from bench.report.plots.pareto import draw_pareto
from bench.report.plots.style import assign, style
from bench.report.records.frame import to_frame
from bench.report.tables.folds import folds_markdown, folds_table
from bench.spec import PromptSource, Record

Pixels = dict[str, float]


def image(overlap: int, truth: int, predicted: int) -> Pixels:
    """Counts of one image that holds the first foreground class only."""
    counts = {
        f"{kind}_px/{name}": 0.0 for kind in ("overlap", "truth", "predicted") for name in CLASSES
    }
    first = CLASSES[1]
    return counts | {
        f"overlap_px/{first}": overlap,
        f"truth_px/{first}": truth,
        f"predicted_px/{first}": predicted,
    }


def fold(number: int, dice: float, pixels: Pixels, seed: int = 0) -> Record:
    record = make_record(make_cell(fold=number, folds=3, seed=seed), dice=dice)
    return dataclasses.replace(record, per_image=({"name": "x", "group": "x", **pixels},))


def table(records: list[Record]) -> pd.DataFrame:
    (found,) = make_comparisons(to_frame(records))
    return folds_table(found)


def test_every_fold_their_spread_and_the_pool() -> None:
    pixels = [image(10, 10, 10), image(50, 100, 100), image(0, 30, 10)]
    records = [fold(n, dice, pixels[n]) for n, dice in enumerate((1.0, 0.5, 0.0))]
    (line,) = table(records).to_dict("records")
    assert [line[f"fold_{n}"] for n in (1, 2, 3)] == [1.0, 0.5, 0.0]
    assert (line["mean"], line["sd"]) == (0.5, 0.5)
    assert line["pooled"] == pytest.approx(
        2 * 60 / (140 + 120)
    )  # a class that is nowhere is left out


def test_seeds_are_averaged_and_an_incomplete_one_is_not_pooled() -> None:
    pixels = image(10, 10, 10)
    records = [fold(n, 0.8, pixels) for n in range(3)]
    records += [fold(n, 0.4, image(0, 10, 10), seed=1) for n in range(2)]
    records.append(make_failure(make_cell(fold=2, folds=3, seed=1)))
    (line,) = table(records).to_dict("records")
    assert line["fold_1"] == pytest.approx(0.6)
    assert line["fold_3"] == pytest.approx(0.8)
    assert line["pooled"] == 1.0


def test_a_fold_without_a_figure_is_a_dash() -> None:
    records: list[Record] = [fold(n, 0.8, image(1, 1, 1)) for n in range(2)]
    (found,) = make_comparisons(to_frame([*records, make_failure(make_cell(fold=2, folds=3))]))
    row = folds_markdown(found).splitlines()[2]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "`lora`", "80.0", "80.0", "—", "80.0", "0.0", "—",
    ]  # fmt: skip


def test_rows_of_one_label_tell_backbone_weights_and_prompts() -> None:
    models: tuple[tuple[str, PromptSource], ...] = (
        ("sam_nano", "none"),
        ("mobile_sam", "none"),
        ("mobile_sam", "oracle"),
    )
    records = [
        make_record(make_cell(backbone=backbone, fold=n, folds=2), prompts=prompts)
        for backbone, prompts in models
        for n in range(2)
    ]
    records += [make_record(make_cell("full", fold=n, folds=2)) for n in range(2)]
    shown = ({"name": "x", "group": "x", **image(1, 1, 1)},)
    frame = to_frame(dataclasses.replace(record, per_image=shown) for record in records)
    (found,) = make_comparisons(frame)
    lines = folds_markdown(found).split("\n\n")[0].splitlines()[2:]
    assert sorted(line.split("|")[1].strip() for line in lines) == [
        "`full`",
        "`lora` (mobile_sam, pretrained)",
        "`lora` (mobile_sam, pretrained, oracle)",
        "`lora` (sam_nano, pretrained)",
    ]
    _, parts = folds_lines(found)
    assert {prompts: len(rows) for prompts, rows in parts.items()} == {"none": 3, "oracle": 1}


def test_a_row_without_all_folds_is_on_no_pareto_front() -> None:
    pixels = image(10, 10, 10)
    easy = make_record(make_cell("full", folds=3), dice=0.9)
    frame = to_frame([*(fold(n, 0.5, pixels) for n in range(3)), easy])
    (comparison,) = make_comparisons(frame)
    looks = assign(frame, comparison.rows)
    places = [place for place, row in enumerate(comparison.rows) if len(row.folds) == 3]
    assert len(comparison.rows) == 2
    fronts = charts_of(comparison, looks)["fronts"]["trainable_params dice_dataset"]
    assert fronts == [places]
    figure = draw_pareto(comparison, looks)
    assert figure is not None
    steps = [line for line in figure.axes[0].lines if line.get_drawstyle().startswith("steps")]
    assert [np.asarray(line.get_ydata()).tolist() for line in steps] == [[50.0]]


def test_one_split_has_no_table_of_folds(tmp_path: Path) -> None:
    assert table([make_record()]).empty
    assert not [path for path in report_of([make_record()], tmp_path) if "folds" in path.name]


def budget(labels: int | None, images: int, dice: float, seed: int = 0) -> Record:
    env = {**ENV, "split": {"train": images, "val": 1, "test": 1}}
    return make_record(make_cell(labels=labels, seed=seed), dice=dice, env=env)


def drawn(records: list[Record]) -> Figure:
    frame = to_frame(records)
    found = make_comparisons(frame)
    (budgets,) = find_budgets(found)
    with style():
        return draw_budgets(budgets, assign(frame, [row for one in found for row in one.rows]))


def test_budgets_are_the_images_that_were_trained_on() -> None:
    figure = drawn(
        [
            *(budget(None, 14, 0.8), budget(2, 2, 0.5), budget(2, 2, 0.7, 1), budget(1, 1, 0.2)),
            make_record(make_cell("full")),  # at one budget only, so that it has no curve
        ]
    )
    (axes,) = figure.axes
    marked = [line for line in axes.lines if line.get_marker() not in ("None", "_", "|")]
    (line,) = [line for line in marked if np.size(line.get_xdata())]  # not those of the legend
    assert np.array_equal(line.get_xdata(), [1, 2, 14])
    assert line.get_ydata() == pytest.approx([20, 60, 80])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "14"]


def test_a_budget_of_all_images_does_not_replace_the_runs_without_a_budget() -> None:
    records = [budget(None, 14, 0.8), budget(14, 14, 0.6, 1), budget(2, 2, 0.5)]
    (budgets,) = find_budgets(make_comparisons(to_frame(records)))
    assert [images for images, _ in budgets.steps] == [2, 14, 14]
    assert budgets.numbers == [2, 14]


def test_other_recipes_and_other_data_are_other_curves() -> None:
    other = dataclasses.replace(
        budget(1, 1, 0.3), cell=dataclasses.replace(make_cell(labels=1), dataset_sha="e" * 64)
    )
    assert not find_budgets(make_comparisons(to_frame([budget(None, 14, 0.8), other])))


def test_the_report_shows_folds_and_budgets(tmp_path: Path) -> None:
    records = [fold(n, 0.8, image(1, 1, 1)) for n in range(3)]
    files = report_of([*records, budget(None, 14, 0.8), budget(2, 2, 0.5)], tmp_path)
    overview = files[-1].read_text()
    assert tmp_path / "tables" / "steel_3-folds_folds.md" in files
    assert "(plots/steel_labels.png)" in (tmp_path / "figures.md").read_text()
    assert (tmp_path / "plots" / "steel_labels.svg").is_file()
    assert "| `lora` | 80.0 |" in " ".join(overview.split())
