"""The metrics against values computed on paper, by brute force, and by other libraries."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from bench.data.items import IGNORE
from bench.metrics.boundary import boundary_iou, surface_distances
from bench.metrics.overlap import confusion_matrix, dice_per_class, iou_per_class, pixel_accuracy
from bench.metrics.scores import score_image, summarise

Labels = npt.NDArray[np.uint8]
CLASSES = ("matrix", "carbide", "pore")


def labels(*rows: str) -> Labels:
    """Draw a class map: one digit per pixel, `x` for ignored."""
    return np.array([[IGNORE if c == "x" else int(c) for c in row] for row in rows], np.uint8)


def blobs(seed: int, shape: tuple[int, int] = (60, 90), num_classes: int = 3) -> Labels:
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=shape), 4) for _ in range(num_classes)]
    return np.argmax(fields, axis=0).astype(np.uint8)


def pair(seed: int) -> tuple[Labels, Labels]:
    """A mask, and a prediction that is shifted and speckled."""
    mask, rng = blobs(seed), np.random.default_rng(seed + 1000)
    prediction = np.roll(mask, (2, -3), axis=(0, 1))
    speckle = rng.random(mask.shape) < 0.02
    prediction[speckle] = rng.integers(0, 3, speckle.sum())
    return prediction, mask


PAIRS = [pair(seed) for seed in range(4)]


def test_overlap_worked_example() -> None:
    mask = labels("0011", "0011")
    prediction = labels("0111", "0010")
    confusion = confusion_matrix(prediction, mask, 2)
    assert confusion.tolist() == [[3, 1], [1, 3]]
    assert confusion.dtype == np.int64
    assert dice_per_class(confusion) == (0.75, 0.75)  # 2*3 / (4+4)
    assert iou_per_class(confusion) == (0.6, 0.6)  # 3 / 5
    assert pixel_accuracy(confusion) == 0.75  # 6 of 8


def test_confusion_rows_are_truth_and_ignored_pixels_are_left_out() -> None:
    confusion = confusion_matrix(labels("2210"), labels("11x0"), 3)
    assert confusion.tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]


def test_confusion_agrees_with_a_plain_loop() -> None:
    prediction, mask = PAIRS[0]
    expected = [[int(((mask == t) & (prediction == p)).sum()) for p in range(3)] for t in range(3)]
    assert confusion_matrix(prediction.astype(np.int64), mask, 3).tolist() == expected


def test_set_and_image_means_worked_example() -> None:
    found = score_image(labels("10000"), labels("10000"), 2)  # Dice 1
    missed = score_image(labels("00000"), labels("01110"), 2)  # Dice 0, no distance
    empty = score_image(labels("00000"), labels("00000"), 2)  # no foreground: not in the mean
    summary = summarise([found, missed, empty], ("matrix", "pore"))
    assert summary["dice_image_mean"] == 0.5
    assert summary["iou_image_mean"] == 0.5
    assert summary["boundary_iou"] == 0.5
    assert summary["image_mean_defined"] == 2
    assert summary["dice_dataset"] == summary["dice/pore"] == 2 / 5  # 2*1 / (4+1)
    assert summary["iou_dataset"] == summary["iou/pore"] == 1 / 4
    assert summary["iou/matrix"] == 11 / 14
    assert summary["iou_dataset_all"] == pytest.approx((1 / 4 + 11 / 14) / 2)
    assert summary["pixel_accuracy"] == 12 / 15
    assert summary["hd95_pooled_px"] == summary["hd95_max_px"] == 0.0
    assert summary["hd95_defined"] == 1
    assert summary["hd95_one_empty"] == 1


def test_hd95_worked_example() -> None:
    truth, prediction = labels("1" + "0" * 10) == 1, labels("1" + "0" * 9 + "1") == 1
    distances = surface_distances(truth, prediction)
    assert distances is not None
    assert distances.from_truth.tolist() == [0]
    assert distances.from_prediction.tolist() == [0, 10]
    assert distances.hd95_pooled == pytest.approx(9.0)  # 0, 0, 10 at place 0.95 * 2
    assert distances.hd95_max == pytest.approx(9.5)  # 0, 10 at place 0.95


@pytest.mark.parametrize(("spacing", "expected"), [((1.0, 1.0), 5.0), ((2.0, 0.5), 40**0.5)])
def test_hd95_takes_the_size_of_a_pixel(spacing: tuple[float, float], expected: float) -> None:
    truth, prediction = np.zeros((2, 9, 9), bool)
    truth[1, 2] = prediction[4, 6] = True  # 3 rows and 4 columns apart
    distances = surface_distances(truth, prediction, spacing)
    assert distances is not None
    assert distances.hd95_pooled == pytest.approx(expected)
    assert distances.hd95_max == pytest.approx(expected)


def test_only_border_pixels_have_surface_distances() -> None:
    square = np.zeros((9, 9), bool)
    square[:5, 2:7] = True  # 5 x 5, one side on the edge of the image, which is a border too
    distances = surface_distances(square, square)
    assert distances is not None
    assert len(distances.from_truth) == 16


@pytest.mark.parametrize("density", [0.02, 0.4, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_surface_distances_by_brute_force(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.random((2, 17, 23)) < density
    truth[3, 4] = prediction[9, 20] = True
    edges = [np.array(_border_pixels(mask)) for mask in (truth, prediction)]
    every = cdist(edges[0], edges[1])
    nearest = [every.min(axis=1), every.min(axis=0)]
    distances = surface_distances(truth, prediction)
    assert distances is not None
    np.testing.assert_allclose(np.sort(distances.from_truth), np.sort(nearest[0]))
    np.testing.assert_allclose(np.sort(distances.from_prediction), np.sort(nearest[1]))
    assert distances.hd95_pooled == pytest.approx(np.percentile(np.hstack(nearest), 95))
    assert distances.hd95_max == pytest.approx(max(np.percentile(d, 95) for d in nearest))


def _border_pixels(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    inside = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    return [
        (y, x)
        for y, x in sorted(inside)
        if not {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} <= inside
    ]


def test_boundary_iou_worked_example() -> None:
    truth, prediction = np.zeros((2, 10, 10), np.uint8)  # diagonal 14.1: one pixel of band
    truth[2:6, 2:6] = prediction[2:6, 3:7] = 1  # two rings of 12 pixels that share 6
    assert boundary_iou(prediction, truth, 2)[1] == 6 / 18
    assert iou_per_class(confusion_matrix(prediction, truth, 2))[1] == 12 / 20


@pytest.mark.parametrize("ratio", [0.001, 0.02, 0.05])
def test_boundary_iou_as_the_paper_erodes(ratio: float) -> None:
    for prediction, mask in PAIRS:
        depth = max(1, round(ratio * np.hypot(*mask.shape)))
        expected = []
        for index in range(3):
            bands = [
                np.pad(m == index, 1)
                & ~ndimage.binary_erosion(np.pad(m == index, 1), np.ones((3, 3)), depth)
                for m in (prediction, mask)
            ]
            expected.append((bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum())
        assert boundary_iou(prediction, mask, 3, ratio) == pytest.approx(expected)


def test_perfect_prediction() -> None:
    score = score_image(PAIRS[0][1], PAIRS[0][1], 3)
    summary = summarise([score], CLASSES)
    distances = {name for name in summary if name.startswith("hd95")}
    counts = {"image_mean_defined", "hd95_defined"}
    assert {summary[name] for name in set(summary) - distances - counts} == {1.0}
    assert summary["hd95_pooled_px"] == summary["hd95_max_px"] == summary["hd95_one_empty"] == 0
    assert summary["hd95_defined"] == 1


def test_both_empty_is_undefined() -> None:
    score = score_image(labels("000"), labels("000"), 3)
    row = score.to_row(CLASSES)
    assert row["pixel_accuracy"] == row["dice/matrix"] == 1.0
    for name in ("dice", "iou", "boundary_iou", "hd95", "hd95_max", "dice/carbide"):
        assert row[name] is None
    summary = summarise([score], CLASSES)
    assert summary["dice_dataset"] is summary["dice_image_mean"] is summary["hd95_max_px"] is None
    assert summary["image_mean_defined"] == summary["hd95_defined"] == 0
    assert summary["hd95_one_empty"] == 0
    assert summary["iou_dataset_all"] == 1.0


@pytest.mark.parametrize(("prediction", "mask"), [("000", "011"), ("011", "000")])
def test_one_empty_is_zero_and_has_no_distance(prediction: str, mask: str) -> None:
    score = score_image(labels(prediction), labels(mask), 3)
    row = score.to_row(CLASSES)
    assert row["dice"] == row["iou"] == row["boundary_iou"] == row["dice/carbide"] == 0.0
    assert row["hd95"] is None
    assert row["dice/pore"] is None
    assert score.hd95_one_empty == 1


def test_ignored_pixels_never_count() -> None:
    prediction, mask = (array.copy() for array in PAIRS[1])
    mask[10:30, 20:50] = IGNORE
    rows = []
    for filler in (0, 1, 2, 77, IGNORE):
        prediction[mask == IGNORE] = filler
        rows.append(score_image(prediction, mask, 3).to_row(CLASSES))
    assert rows[0]["dice"] is not None
    assert all(row == rows[0] for row in rows[1:])


def test_all_ignored_is_undefined_everywhere() -> None:
    row = score_image(labels("012"), labels("xxx"), 3).to_row(CLASSES)
    assert {value for name, value in row.items() if "_px/" not in name} == {None}


def test_transposing_changes_nothing() -> None:
    for prediction, mask in PAIRS:
        plain, turned = (
            score_image(p, m, 3).to_row(CLASSES)
            for p, m in ((prediction, mask), (prediction.T, mask.T))
        )
        assert turned == pytest.approx(plain)


def test_relabelling_moves_values_between_classes_only() -> None:
    new_index = np.array([0, 2, 1], np.uint8)
    renamed = (CLASSES[0], CLASSES[2], CLASSES[1])
    scores = [score_image(p, m, 3) for p, m in PAIRS]
    relabelled = [score_image(new_index[p], new_index[m], 3) for p, m in PAIRS]
    assert summarise(relabelled, renamed) == pytest.approx(summarise(scores, CLASSES))


def test_rows_survive_json_and_give_back_the_set() -> None:
    scores = [score_image(p, m, 3) for p, m in PAIRS]
    rows = json.loads(json.dumps([s.to_row(CLASSES) for s in scores], allow_nan=False))
    summary = summarise(scores, CLASSES)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    for name in CLASSES:
        overlap, truth, predicted = (
            sum(row[f"{kind}/{name}"] for row in rows)
            for kind in ("overlap_px", "truth_px", "predicted_px")
        )
        assert summary[f"dice/{name}"] == 2 * overlap / (truth + predicted)
    for key, column in (("dice_image_mean", "dice"), ("hd95_pooled_px", "hd95")):
        assert summary[key] == pytest.approx(np.mean([row[column] for row in rows]))


@pytest.mark.parametrize(
    ("prediction", "mask", "message"),
    [
        (labels("000"), labels("00"), r"one shape"),
        (labels("003"), labels("000"), r"prediction holds classes 0\.\.3; allowed are 0\.\.2"),
        (labels("000"), labels("007"), r"mask holds classes 0\.\.7"),
        (np.zeros((1, 3)), labels("000"), r"integer class indices, not float64"),
        (np.full((1, 3), -1), labels("000"), r"classes -1\.\.-1"),
    ],
)
def test_wrong_input_is_refused(prediction: npt.NDArray[Any], mask: Labels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_image(prediction, mask, 3)


def test_summary_wants_images_and_one_name_per_class() -> None:
    with pytest.raises(ValueError, match="no images"):
        summarise([], CLASSES)
    with pytest.raises(ValueError, match="zip"):
        summarise([score_image(labels("01"), labels("01"), 2)], CLASSES)


def test_overlap_as_segmentation_models_pytorch() -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("segmentation_models_pytorch").metrics
    predictions, masks = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*PAIRS, strict=True))
    masks = masks.long()
    masks[:, 5:9, 5:40] = IGNORE
    counts = metrics.get_stats(
        predictions.long(), masks, mode="multiclass", ignore_index=IGNORE, num_classes=3
    )
    scores = [score_image(p.numpy(), m.numpy(), 3) for p, m in zip(predictions, masks, strict=True)]
    summary = summarise(scores, CLASSES)
    for name, function in (("dice", metrics.f1_score), ("iou", metrics.iou_score)):
        per_image = function(*counts)[:, 1:].mean(dim=1)
        assert summary[f"{name}_image_mean"] == pytest.approx(float(per_image.mean()), abs=1e-6)
        of_set = function(*(count.sum(dim=0) for count in counts))
        assert [summary[f"{name}/{c}"] for c in CLASSES] == pytest.approx(of_set.tolist(), abs=1e-6)


@pytest.mark.filterwarnings(  # MONAI calls itself with an argument that it has deprecated
    "ignore:.*get_mask_edges.always_return_as_numpy:FutureWarning"
)
@pytest.mark.slow  # importing MONAI takes longer than all tests of this file together
def test_overlap_and_hd95_as_monai() -> None:
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    for prediction, mask in PAIRS:
        score = score_image(prediction, mask, 3)
        one_hot = [
            torch.nn.functional.one_hot(torch.from_numpy(m).long(), 3).permute(2, 0, 1)[None]
            for m in (prediction, mask)
        ]
        dice = monai.compute_dice(*one_hot)[0].tolist()
        iou = monai.compute_iou(*one_hot)[0].tolist()
        hd95 = monai.compute_hausdorff_distance(*one_hot, percentile=95)[0].tolist()
        assert dice_per_class(score.confusion) == pytest.approx(dice, abs=1e-6)
        assert iou_per_class(score.confusion) == pytest.approx(iou, abs=1e-6)
        assert score.hd95_max[1:] == pytest.approx(hd95, abs=1e-5)
