"""Object measures against values computed on paper, plain loops, and torchmetrics."""

import json
from fractions import Fraction
from itertools import permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from bench.data.items import IGNORE
from bench.metrics.matching import pair_up
from bench.metrics.objects import (
    MEASURES,
    PRECISION_PERCENT,
    label_objects,
    objects_row,
    score_objects,
    score_objects_by_class,
    summarise_objects,
)

Labels = npt.NDArray[Any]
CLASSES = ("matrix", "carbide", "pore")


def numbers(*rows: str) -> Labels:
    """Draw a map: one digit per pixel, `x` for ignored."""
    return np.array([[IGNORE if c == "x" else int(c) for c in row] for row in rows], np.uint8)


def discs(seed: int) -> tuple[Labels, Labels]:
    """Predicted and true discs, some touching, some merged, moved, missed or made up."""
    rng, shape = np.random.default_rng(seed), (80, 100)
    centres, radii = rng.random((25, 2)) * shape, rng.uniform(3, 10, 25)
    kept = rng.random(25) > 0.15
    centres_found = np.concatenate([centres[kept] + rng.normal(0, 2, (kept.sum(), 2)), [[70, 90]]])
    truth, found = np.zeros((2, *shape), np.uint16)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for drawn, places, sizes in (
        (truth, centres, radii),
        (found, centres_found, np.append(radii[kept] * rng.uniform(0.7, 1.3, kept.sum()), 5)),
    ):
        for number, ((row, column), radius) in enumerate(zip(places, sizes, strict=True), 3):
            drawn[(y - row) ** 2 + (x - column) ** 2 < radius**2] = number
    if seed % 2:
        found = ndimage.label(found)[0].astype(np.uint16)
    return found, truth


PAIRS = [discs(seed) for seed in range(6)]


def test_worked_example() -> None:
    truth = numbers("1111022203")
    prediction = numbers("5550077770")  # IoU 3/4 twice; the third object is missed
    score = score_objects(prediction, truth)
    assert (score.truth, score.predicted, score.matched) == (3, 2, 2)
    assert score.sq == 0.75
    assert score.dq == pytest.approx(2 * 2 / (3 + 2))
    assert score.pq == pytest.approx(0.75 * 0.8)
    assert score.aji == score.aji_plus == 6 / 9  # (3 + 3) / (4 + 4 + 1)
    assert score.matched_at == (2, 2, 2, 2, 2, 2, 0, 0, 0, 0)  # 0.75 is reached, 0.80 is not
    assert score.ap50 == pytest.approx(2 / 3)
    assert score.ap == pytest.approx(6 * (2 / 3) / 10)


def test_one_prediction_over_two_objects() -> None:
    score = score_objects(numbers("1111"), numbers("1122"))  # IoU 1/2 with both
    assert (score.matched, score.dq, score.pq, score.sq) == (0, 0.0, 0.0, None)  # not above 1/2
    assert score.matched_at == (1,) + 9 * (0,)  # reaches 1/2, but serves one object only
    assert score.ap50 == 1 / 2  # one match, one miss
    assert score.aji == 4 / 8  # used twice: (2 + 2) / (4 + 4)
    assert score.aji_plus == 2 / 6  # used once: 2 / (4 + 2)


def test_assignment_may_part_the_best_pair() -> None:
    truth = numbers("1111111111222")
    prediction = numbers("3331111111111")
    score = score_objects(prediction, truth)
    assert score.aji == 10 / 26  # 7/13 and 3/10 with the long one; 3 pixels unused
    assert score.aji_plus == 6 / 20  # 3/10 + 3/10 is more than 7/13


def test_nothing_on_one_side_or_both() -> None:
    none, one = numbers("000"), numbers("011")
    for prediction, truth in ((none, one), (one, none)):
        score = score_objects(prediction, truth)
        assert score.pq == score.dq == score.aji == score.aji_plus == score.ap == 0.0
        assert score.sq is None
    empty = score_objects(none, none)
    assert {empty.pq, empty.sq, empty.dq, empty.aji, empty.aji_plus, empty.ap} == {None}
    apart = score_objects(numbers("011"), numbers("200"))
    assert apart.aji == apart.aji_plus == apart.pq == 0.0
    assert (apart.aji_union_px, apart.aji_plus_union_px) == (3, 3)


def test_objects_of_a_class_map_are_joined_by_edges() -> None:
    found = label_objects(numbers("101", "012", "001"), 1)
    assert found.tolist() == [[1, 0, 2], [0, 3, 0], [0, 0, 4]]
    assert label_objects(numbers("1101"), 1, min_area_px=2).tolist() == [[1, 1, 0, 0]]
    instances = np.array([[7, 9, 9, 300]], np.uint16)
    assert label_objects(numbers("1121"), 1, instances).tolist() == [[7, 9, 0, 300]]


def test_scores_of_classes_and_ignored_pixels() -> None:
    mask = numbers("11x11022")
    prediction = numbers("11111000")
    carbide, pore = score_objects_by_class(prediction, mask, 3)
    assert (carbide.truth, carbide.predicted, carbide.pq) == (2, 2, 1.0)  # both cut by the x
    assert (pore.truth, pore.predicted, pore.pq) == (1, 0, 0.0)
    instances = np.array([[1, 2, 0, 3, 3, 0, 4, 4]], np.uint16)
    assert score_objects_by_class(prediction, mask, 3, instances)[0].truth == 3
    row = objects_row([carbide, pore], CLASSES)
    assert (row["pq"], row["sq"], row["pq/carbide"], row["pq/pore"]) == (0.5, 1.0, 1.0, 0.0)
    assert row["objects_truth/pore"] == 1


def test_set_and_image_means_worked_example() -> None:
    found = score_objects_by_class(numbers("110"), numbers("110"), 2)
    missed = score_objects_by_class(numbers("000"), numbers("101"), 2)
    empty = score_objects_by_class(numbers("000"), numbers("000"), 2)
    summary = summarise_objects([found, missed, empty], CLASSES[:2])
    assert summary["pq_image_mean"] == 0.5
    assert summary["pq_dataset"] == summary["pq_dataset/carbide"] == 2 / 4  # 1 of 3, 1 predicted
    assert summary["sq_dataset"] == summary["sq_image_mean"] == 1.0
    assert summary["aji_dataset"] == 2 / 4
    assert summary["ap_dataset"] == pytest.approx(1 / 3)
    assert summary["objects_defined"] == 2
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    with pytest.raises(ValueError, match="no images"):
        summarise_objects([], CLASSES)
    with pytest.raises(ValueError, match="zip"):
        summarise_objects([found], CLASSES)


def test_numbers_do_not_matter() -> None:
    for prediction, truth in PAIRS:
        plain = score_objects(prediction, truth)
        renumbered = np.where(truth, 40000 - truth.astype(np.int32), 0)
        other = score_objects(prediction.astype(np.int64) * 3, renumbered)
        assert other.matched_at == plain.matched_at
        for measure in MEASURES:
            assert getattr(other, measure) == pytest.approx(getattr(plain, measure), abs=1e-12)
        perfect = score_objects(truth, truth)
        assert perfect.pq == perfect.aji == perfect.aji_plus == perfect.ap == 1.0


def iou_table(prediction: Labels, truth: Labels) -> npt.NDArray[np.float64]:
    return np.array(
        [
            [
                ((truth == t) & (prediction == p)).sum() / ((truth == t) | (prediction == p)).sum()
                for p in np.unique(prediction)[1:]
            ]
            for t in np.unique(truth)[1:]
        ]
    )


def test_panoptic_quality_agrees_with_a_plain_loop() -> None:
    for prediction, truth in PAIRS:
        score, table = score_objects(prediction, truth), iou_table(prediction, truth)
        sure = table[table > 0.5]
        assert (score.truth, score.predicted) == table.shape
        assert score.pq == pytest.approx(sure.sum() / (sum(table.shape) / 2), abs=1e-12)
        assert score.matched_at[1:] == tuple(
            (table >= percent / 100).sum() for percent in PRECISION_PERCENT[1:]
        )


def test_assignment_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        prediction, truth = rng.integers(0, 5, (2, 3, 6))
        table = np.zeros((5, 5))  # 4 objects at most on each side, one to spare
        found = iou_table(prediction, truth)
        table[: found.shape[0], : found.shape[1]] = found
        best = max(table[range(5), order].sum() for order in permutations(range(5)))
        pairs = pair_up(prediction, truth)
        assert pairs.iou[pairs.assignment()].sum() == pytest.approx(best, abs=1e-12)


def test_equal_sums_of_iou_are_decided_by_the_shared_pixels() -> None:
    truth = numbers("111000000")
    for small, large in ((4, 5), (5, 4)):
        # IoU 1/3 twice: 1 of 3 pixels with the small one, 2 of 6 with the large one.
        prediction = np.array([[small, large, large, large, large, large, 0, 0, 0]])
        assert score_objects(prediction, truth).aji_plus == 2 / (3 + 1 + 5 - 2)


@pytest.mark.parametrize("seed", range(30))
def test_ties_of_the_assignment_are_the_best_of_all(seed: int) -> None:
    """Against all assignments of small maps, in exact fractions, whatever the numbers are."""
    rng = np.random.default_rng(seed)
    prediction, truth = rng.integers(0, 5, (2, 2, 6))
    true, predicted = (np.unique(side[side > 0]) for side in (truth, prediction))
    size = max(len(true), len(predicted))
    shared = np.zeros((size, size), int)
    iou = np.full((size, size), Fraction(0))
    for (row, t), (column, p) in product(enumerate(true), enumerate(predicted)):
        both = int(((truth == t) & (prediction == p)).sum())
        shared[row, column] = both
        iou[row, column] = Fraction(both, int(((truth == t) | (prediction == p)).sum()))
    best = max(
        (iou[range(size), order].sum(), shared[range(size), order].sum())
        for order in permutations(range(size))
    )
    areas = int((truth > 0).sum() + (prediction > 0).sum())
    for change in (1, -1):  # other numbers, and another order of them
        score = score_objects(np.where(prediction, 10 + change * prediction, 0), truth)
        assert score.aji_plus_overlap_px == best[1]
        assert score.aji_plus_union_px == areas - best[1]


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (numbers("00"), numbers("000"), "one shape"),
        (np.zeros((1, 3)), numbers("000"), "integer object numbers, not float64"),
        (np.array([[-1, 0, 0]]), numbers("000"), r"prediction holds object numbers -1\.\.0"),
        (numbers("000"), np.array([[2**24, 0, 0]]), "truth holds object numbers"),
    ],
)
def test_wrong_input_is_refused(prediction: Labels, truth: Labels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_objects(prediction, truth)


@pytest.mark.slow  # imports torch
def test_panoptic_quality_as_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.detection")
    for prediction, truth in PAIRS:
        both = [
            torch.from_numpy(np.stack([labels > 0, labels], axis=-1).astype(np.int64))[None]
            for labels in (prediction, truth)
        ]
        expected = functional.panoptic_quality(
            *both, things={1}, stuffs={0}, return_sq_and_rq=True, return_per_class=True
        )[0]
        score = score_objects(prediction, truth)
        assert (score.pq, score.sq, score.dq) == pytest.approx(expected.tolist(), abs=1e-6)
