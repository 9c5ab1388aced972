"""Paired tests of specimens: against scipy one by one, and what they promise by simulation."""

import numpy as np
import pytest
import ties
from records import make_cell, make_record
from scipy import stats

from bench.report.compare.comparison import make_comparisons
from bench.report.records.frame import to_frame
from bench.report.records.image_scores import ImageScores
from bench.stats.paired import (
    POWER,
    SIGNIFICANCE,
    detectable_difference,
    detectable_effect,
    direction,
    holm,
    min_specimens,
    signed_rank,
    tied_with_best,
)


def test_holm_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_p_values_equal_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.normal(0.3, 1, size) for size in (9, 9, 20, 20, 70)]
    rows += [np.round(rng.normal(0.3, 1, 70), 1)]
    expected = [stats.wilcoxon(row).pvalue for row in rows]
    assert signed_rank([*rows, np.zeros(8)]) == pytest.approx([*expected, 1.0])


def test_with_zeros_and_ties_p_values_are_those_of_all_permutations() -> None:
    rng = np.random.default_rng(0)
    rows = [np.round(rng.normal(0.3, 1, 10), 1), np.repeat([1.0, -1.0, 2.0], 3)]
    rows += [np.array([0.0, 1.0, 2.0, -3.0, 4.0, 5.5, 7.0]), np.array([0.0, -1.0, 1.0, 2.0])]
    all_signs = stats.PermutationMethod(n_resamples=np.inf)
    expected = [stats.wilcoxon(row[row != 0], method=all_signs).pvalue for row in rows]
    assert signed_rank(rows) == pytest.approx(expected)


@pytest.mark.parametrize("changed", [5, 6])
def test_unchanged_specimens_are_no_evidence(changed: int) -> None:
    """Of 50 specimens, few are worse and the others equal: as many are needed as without those."""
    differences = np.zeros(50)
    differences[:changed] = np.arange(1, changed + 1)
    assert signed_rank([differences]) == pytest.approx([2.0 ** (1 - changed)])
    assert tied_with_best([differences]) == [changed < min_specimens(1)]
    assert (direction(differences), direction(-differences), direction(np.zeros(9))) == (1, -1, 0)


@pytest.mark.parametrize("comparisons", [1, 3, 6, 28])
def test_with_fewer_specimens_nothing_is_significant(comparisons: int) -> None:
    def ties_with(specimens: int) -> list[bool]:
        apart = np.arange(1.0, specimens + 1)
        return tied_with_best([apart] * comparisons)

    fewest = min_specimens(comparisons)
    assert ties_with(fewest) == [False] * comparisons
    assert ties_with(fewest - 1) == [True] * comparisons
    differences = [np.arange(1.0, fewest)] * comparisons
    assert detectable_difference(differences) is None
    assert SIGNIFICANCE / comparisons >= 2.0 ** (1 - fewest) > SIGNIFICANCE / comparisons / 2


def test_a_method_that_is_better_on_the_specimens_is_tied_with_the_best() -> None:
    assert tied_with_best([-np.arange(1.0, 21.0), np.arange(1.0, 21.0)]) == [True, False]


@pytest.mark.parametrize(("specimens", "comparisons"), [(6, 1), (8, 6), (20, 28), (60, 3)])
def test_a_detectable_difference_is_detected_with_the_stated_power(
    specimens: int, comparisons: int
) -> None:
    effect = detectable_effect(specimens, comparisons)
    samples = np.random.default_rng(5).normal(effect, 1, (1500, specimens))
    seen = np.array(signed_rank(list(samples))) <= SIGNIFICANCE / comparisons
    assert seen.mean() == pytest.approx(POWER, abs=0.035)  # three standard deviations


def test_more_specimens_and_fewer_comparisons_detect_smaller_differences() -> None:
    by_number = [detectable_effect(n, 6) for n in (8, 12, 20, 49, 50, 51, 52, 200)]
    assert by_number == sorted(by_number, reverse=True)
    assert by_number[4] == pytest.approx(by_number[5], rel=0.03)  # simulated, then worked out
    assert detectable_effect(20, 28) > detectable_effect(20, 3)


def test_the_detectable_difference_is_a_median_in_the_unit_of_the_score() -> None:
    shape = np.random.default_rng(0).normal(size=20)
    shape = (shape - shape.mean()) / shape.std(ddof=1)
    detectable = detectable_difference([0.1 + scale * shape for scale in (0.01, 0.02, 0.9)])
    assert detectable == pytest.approx(0.02 * detectable_effect(20, 3))


def test_notes_state_the_detectable_difference() -> None:
    def notes(images: int) -> str:
        noise = np.random.default_rng(0).normal(0.8, 0.03, (2, images)).tolist()
        cells = [make_cell(method) for method in ("full", "lora")]
        records = [
            make_record(cell, dice=dice, image_dice=scores)
            for cell, dice, scores in zip(cells, (0.81, 0.80), noise, strict=True)
        ]
        (table,) = make_comparisons(to_frame(records))
        return "\n".join(table.notes)

    assert "difference of 3.6 points of Dice from the best is detected with 80%" in notes(12)
    assert "detected with" not in notes(5)
    assert "no difference can be significant" in notes(5)
    assert "at least 6 specimens are needed" in notes(5)


def test_scores_are_paired_by_image_and_averaged_by_specimen() -> None:
    def run(**scores: float | None) -> list[dict[str, object]]:
        return [{"group": name[0], "name": name, "dice": x} for name, x in scores.items()]

    first = [run(a1=0.5, a2=0.7, b1=0.4), run(a1=0.7, a2=0.7, b1=0.6)]
    other = [run(b1=0.1, a2=0.5, a1=0.2, c1=0.9)]  # another order, one image more
    lacking = [run(a1=None, a2=0.6, b1=None)]
    images = ImageScores([first, other, lacking])
    apart, single = images.differences(0, [1, 2], "dice")
    assert apart == pytest.approx([((0.6 - 0.2) + (0.7 - 0.5)) / 2, 0.5 - 0.1])
    assert single == pytest.approx([0.1])
    assert [len(x) for x in ImageScores([[], []]).differences(0, [1], "dice")] == [0]


@pytest.mark.slow
@pytest.mark.parametrize("noise", ties.NOISES)
def test_the_stated_power_holds_for_normal_differences_and_roughly_for_others(noise: str) -> None:
    seen, by_estimate = ties.power(20, 6, ties.NOISES[noise], 2000)
    least, most = {"normal": (0.77, 0.83), "heavy tails": (0.8, 0.95), "skewed": (0.7, 0.9)}[noise]
    assert least <= seen <= most
    assert by_estimate >= least - 0.08


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "all_kept", "one_kept", "left_out"),
    [
        (ties.Study(8, 3, 1), 0.90, 0.96, 0.75),
        (ties.Study(20, 3, 3), 0.90, 0.95, 0.90),
        (ties.Study(20, 7, 22), 0.87, 0.96, 0.95),
    ],
    ids=str,
)
def test_true_ties_are_marked_and_worse_methods_are_not(
    study: ties.Study, all_kept: float, one_kept: float, left_out: float
) -> None:
    kept = ties.kept(study, 500)
    assert kept[0] >= all_kept
    assert kept[1] >= one_kept
    assert kept[2] >= left_out
