"""Runs of two folders are paired by their request, and only real differences are called so."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from records import make_cell, make_cost, make_failure, make_record

import bench
from bench import cli
from bench.report.compare.before_after import BeforeAfter, compare_records, get_metric
from bench.report.compare.run_pairs import pair_runs, read_runs
from bench.report.records.columns import DICE
from bench.run.store import Store
from bench.spec import Recipe, Record
from bench.stats.paired import min_specimens, signed_rank, typical_difference


def scores(specimens: int, middle: float = 0.7, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).normal(middle, 0.02, specimens).tolist()


def moved(record: Record, by: float, noise: float = 0.004) -> Record:
    """The record with other Dice of its images."""
    random = np.random.default_rng(5)
    rows = [{**row, "dice": row["dice"] + by + random.normal(0, noise)} for row in record.per_image]
    return replace(record, per_image=tuple(rows))


def outcomes(before: Sequence[Record], after: Sequence[Record]) -> dict[str, str]:
    return {row.label: row.outcome for row in compare_records(before, after).rows}


def test_only_real_differences_are_called_so() -> None:
    steps = {"lora": 0.03, "adapter": -0.03, "full": 0.0, "unet": None}
    before, after = [], []
    for method, step in steps.items():
        for seed in range(3):
            cell = make_cell(method, seed=seed)
            record = make_record(cell, image_dice=scores(20, seed=seed))
            before.append(record)
            after.append(record if step is None else moved(record, step))
    comparison = compare_records(before, after)
    assert {row.label: row.outcome for row in comparison.rows} == {
        "lora": "better",
        "adapter": "worse",
        "full": "not distinguishable",
        "unet": "equal",
    }
    assert [row.outcome for row in comparison.rows[2:]] == ["not distinguishable", "equal"]
    lora = next(row for row in comparison.rows if row.label == "lora")
    assert lora.interval is not None
    assert lora.interval[0] < 0.03 < lora.interval[1]
    assert lora.difference == pytest.approx(0.03, abs=0.003)
    assert (lora.runs, lora.specimens, comparison.pairs) == (3, 20, 12)


@pytest.mark.parametrize(("step", "outcome"), [(0.05, "better"), (-0.05, "worse")])
def test_a_difference_of_few_specimens_keeps_its_side(step: float, outcome: str) -> None:
    """Where most specimens are unchanged, the median difference is 0, and the test sees a side."""
    before = scores(60)
    after = [value + step * (1 + n) / 10 if n < 10 else value for n, value in enumerate(before)]
    records = [make_record(image_dice=values) for values in (before, after)]
    assert outcomes(records[:1], records[1:]) == {"lora": outcome}


@pytest.mark.parametrize(("specimens", "outcome"), [(5, "not testable"), (6, "better")])
def test_few_specimens_are_not_tested(specimens: int, outcome: str) -> None:
    record = make_record(image_dice=scores(specimens))
    assert outcomes([record], [moved(record, 0.05)]) == {"lora": outcome}
    row = compare_records([record], [moved(record, 0.05)]).rows[0]
    assert (row.interval is None) == (specimens < min_specimens(1) == row.needed)


def test_many_rows_need_more_specimens() -> None:
    before = [make_record(make_cell(f"m{n}"), image_dice=scores(6, seed=n)) for n in range(4)]
    after = [moved(record, 0.05 if n == 0 else 0.0) for n, record in enumerate(before)]
    assert set(outcomes(before, after).values()) == {"not testable"}


def test_images_of_a_specimen_are_one_sample() -> None:
    record = make_record(image_dice=scores(20), groups=["a", "b", "c", "d"] * 5)
    row = compare_records([record], [moved(record, 0.05)]).rows[0]
    assert (row.outcome, row.specimens) == ("not testable", 4)


def test_a_lower_value_is_better_where_it_should_be_lower() -> None:
    record = make_record(image_dice=scores(20))
    rows = tuple({**row, "hd95": row["hd95"] - 5} for row in record.per_image)
    after = replace(record, per_image=rows)
    row = compare_records([record], [after], get_metric("hd95")).rows[0]
    assert row.outcome == "better"
    assert row.difference == pytest.approx(-5)


def test_runs_are_paired_by_request_where_ids_differ() -> None:
    cell = make_cell()
    later = replace(cell, recipe=Recipe(lr=3e-4))
    assert cell.id != later.id
    row = compare_records([make_record(cell)], [make_record(later)]).rows[0]
    assert row.changes == ("lr 0.001 → 0.0003",)


def test_a_recipe_is_paired_with_itself_first() -> None:
    cells = [replace(make_cell(), recipe=Recipe(lr=lr)) for lr in (1e-3, 1e-4)]
    later = [replace(cell, dataset_sha="e" * 64) for cell in reversed(cells)]
    sides = [read_runs([make_record(c) for c in one], DICE) for one in (cells, later)]
    pairs, only_before, only_after = pair_runs(*sides)
    assert [pair.before.cell.recipe == pair.after.cell.recipe for pair in pairs] == [True, True]
    assert (only_before, only_after) == ([], [])


def test_ambiguous_runs_are_not_paired() -> None:
    cells = [replace(make_cell(), recipe=Recipe(lr=lr)) for lr in (1e-3, 1e-4, 1e-5)]
    comparison = compare_records(map(make_record, cells[:2]), [make_record(cells[2])])
    assert comparison.rows == ()
    assert comparison.only_before == tuple(cells[:2])
    assert comparison.only_after == (cells[2],)


def test_other_images_are_not_compared() -> None:
    record = make_record(image_dice=scores(20))
    other = replace(moved(record, 0.1), cell=replace(record.cell, dataset_sha="e" * 64))
    row = compare_records([record], [other]).rows[0]
    assert (row.outcome, row.changes) == ("not comparable", ("other images",))
    assert (row.difference, row.p_value) == (None, None)
    assert row.before is not None


def test_failures_and_cells_on_one_side_are_named() -> None:
    before = [make_record(make_cell(seed=seed)) for seed in range(3)]
    after = [make_record(make_cell(seed=0)), make_failure(make_cell(seed=1)), make_record()]
    after[2] = make_record(make_cell("unet"))
    comparison = compare_records(before, after)
    assert comparison.rows[0].statuses == {"ok → oom": 1}
    assert comparison.rows[0].runs == 1
    assert [cell.seed for cell in comparison.only_before] == [2]
    assert [cell.method for cell in comparison.only_after] == ["unet"]


def test_other_code_and_costs_are_noted() -> None:
    before = make_record(env={"commit": "aaa", "threads": 1})
    after = make_record(cost=make_cost(60_000), env={"commit": "bbb", "threads": 1})
    comparison = compare_records([before], [after])
    assert comparison.notes == ("commit aaa → bbb in 1 of 1 pairs",)
    assert comparison.rows[0].costs["trainable_params"] == (50_000, 60_000)


@pytest.mark.parametrize("specimens", [6, 13, 50, 80])
def test_the_interval_is_that_of_the_test(specimens: int) -> None:
    values = np.random.default_rng(specimens).normal(0.3, 1, specimens)
    estimate, interval = typical_difference(values)
    assert interval is not None
    low, high = interval
    assert low < estimate < high
    inside, outside = signed_rank([values - low - 1e-6, values - low + 1e-6])
    assert inside > 0.05 >= outside
    inside, outside = signed_rank([values - high + 1e-6, values - high - 1e-6])
    assert inside > 0.05 >= outside


def test_too_few_values_have_no_interval() -> None:
    assert typical_difference(np.array([1.0, 2.0, 6.0])) == (2.75, None)


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    before, after = (Store.open(tmp_path / name) for name in ("before", "after"))
    for seed in range(2):
        record = make_record(make_cell(seed=seed), image_dice=scores(20))
        before.write(record)
        after.write(moved(record, 0.03))
    after.write(make_record(make_cell("unet")))
    return [str(before.folder), str(after.folder)]


def test_the_command_shows_a_table(
    folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert cli.main(["compare", *folders]) == 0
    text = capsys.readouterr().out
    assert "better" in text
    assert re.search(r" \+(2\.9|3\.0) +\+2\.\d to \+3\.\d ", text)
    assert "1 row of 2 pairs of runs: 1 better." in text
    assert f"Only after: 1 cell: {make_cell('unet').id}." in text


def test_the_command_writes_json(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *folders, "--json", "--metric", "iou"]) == 0
    comparison = json.loads(capsys.readouterr().out)
    assert comparison["metric"] == "iou_dataset"
    assert [row["outcome"] for row in comparison["rows"]] == ["equal"]
    assert comparison["only_after"] == [make_cell("unet").id]


def test_python_gives_the_same(folders: list[str]) -> None:
    comparison = bench.compare_results(*folders)
    assert isinstance(comparison, BeforeAfter)
    assert comparison.counts == {"better": 1}


def test_an_unknown_metric_is_refused(
    folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", *folders, "--metric", "f1"]) == 2
    assert "--metric cannot be 'f1': give one of dice, iou" in capsys.readouterr().err
