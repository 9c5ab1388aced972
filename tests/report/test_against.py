"""Differences, intervals and p-values of all rows against one, and the verdict of a table."""

import csv
from pathlib import Path

import numpy as np
import pytest
from records import make_cell, make_record
from scipy import stats

from bench.cli import main
from bench.report.compare.against import differences, find_references
from bench.report.compare.comparison import Comparison, make_comparisons
from bench.report.records.columns import COLUMNS, DICE
from bench.report.records.frame import to_frame
from bench.run.store import Store
from bench.spec import Record
from bench.stats.paired import holm

SPECIMENS = 12


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02, SPECIMENS)


BASE = 0.8 + noise(0)
SCORES = {
    "lora": BASE,
    "adapter": BASE - 0.002 + (noise(5) - noise(5).mean()) / 4,
    "unet": BASE - 0.2 + noise(2),
}


def records(specimens: int = SPECIMENS) -> list[Record]:
    return [
        make_record(
            make_cell(name),
            dice=float(scores.mean()),
            image_dice=scores[:specimens].tolist(),
        )
        for name, scores in SCORES.items()
    ]


def comparison(specimens: int = SPECIMENS) -> Comparison:
    (one,) = make_comparisons(to_frame(records(specimens)))
    return one


def test_differences_are_those_of_scipy() -> None:
    one = comparison()
    adapter, unet = differences(one.blocks[0], [DICE], "lora")
    assert (adapter.row.label, unet.row.label) == ("adapter", "unet")
    expected = [
        float(stats.wilcoxon(SCORES[name] - BASE, method="exact").pvalue)
        for name in ("adapter", "unet")
    ]
    assert [adapter.p, unet.p] == pytest.approx(expected)
    assert [adapter.p_corrected, unet.p_corrected] == pytest.approx(holm(expected))
    assert (adapter.result, unet.result) == ("tied", "worse")
    assert unet.interval is not None
    assert unet.interval[0] < unet.typical < unet.interval[1] < 0
    assert unet.typical == pytest.approx(-0.2, abs=0.02)


def test_the_other_way_round_signs_change() -> None:
    lora = differences(comparison().blocks[0], COLUMNS, "unet")[0]
    assert lora.result == "better"
    assert lora.typical > 0


def test_too_few_specimens_are_not_tested() -> None:
    one = differences(comparison(4).blocks[0], [DICE], "lora")[0]
    assert (one.p, one.p_corrected, one.interval, one.result) == (None, None, None, "untestable")
    assert one.specimens == 4


def test_the_verdict_bounds_the_difference_of_equal_rows() -> None:
    one = comparison()
    block = one.blocks[0]
    adapter = [row.label for row in block.rows].index("adapter")
    interval = differences(block, [DICE], "lora")[0].interval
    assert interval is not None
    assert block.within == {adapter: pytest.approx(-interval[0])}
    points = f"{-100 * interval[0]:.1f} points"
    assert block.verdict.startswith(f"lora and adapter are equal within {points} of Dice; unet is")
    assert one.notes[0] == block.verdict
    assert one.verdicts == [block.verdict]


def test_the_verdict_on_few_specimens_is_that_nothing_is_known() -> None:
    verdict = comparison(4).notes[0]
    assert verdict.startswith("lora has the highest Dice, by ")
    assert "too few test specimens" in verdict


def test_the_command_prints_dice_and_writes_all_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(tmp_path)
    for record in records():
        store.write(record)
    assert main(["report", "--out", str(tmp_path), "--against", "lora"]) == 0
    assert "95 % interval" in capsys.readouterr().out
    (path,) = (tmp_path / "against").glob("*.csv")
    lines = list(csv.DictReader(path.read_text().splitlines()))
    assert {(line["label"], line["result"]) for line in lines if line["score"] == DICE.key} == {
        ("adapter", "tied"),
        ("unet", "worse"),
    }
    assert not (tmp_path / "tables").exists()
    assert main(["report", "--out", str(tmp_path), "--against", "lara"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no ranked row 'lara'. Did you mean 'lora'?" in error


def test_a_row_is_named_by_its_label_or_its_full_name() -> None:
    one = comparison()
    assert list(find_references([one], "lora (sam_nano, pretrained)")) == [one]
