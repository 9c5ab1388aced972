"""Conventions against values computed on paper, and against MONAI and MedPy."""

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.data.items import IGNORE
from bench.metrics.cases import Case, read_case
from bench.metrics.conventions import CONVENTIONS

Labels = npt.NDArray[Any]


def row(*values: int) -> Labels:
    """An image of one line."""
    return np.array([values], np.uint8)


def score(name: str, *cases: Case) -> dict[str, float | None]:
    (convention,) = (one for one in CONVENTIONS if one.name == name)
    return dict(convention.score(cases))


EMPTY_TRUTH = read_case(row(0, 1, 0, 0), row(0, 0, 0, 0), 2)
EMPTY_PREDICTION = read_case(row(0, 0, 0, 0), row(0, 1, 1, 0), 2)
BOTH_EMPTY = read_case(row(0, 0, 0, 0), row(0, 0, 0, 0), 2)
HALF = read_case(row(0, 1, 0, 0), row(0, 1, 1, 0), 2)  # Dice 2/3, IoU 1/2, background 4/5, 2/3


@pytest.mark.parametrize(
    ("name", "empty_truth", "empty_prediction", "both_empty", "half"),
    [
        ("suite", 0, 0, None, 2 / 3),
        ("suite by image", 0, 0, None, 2 / 3),
        ("SAMed", 1, 0, 0, 2 / 3),
        # (2 * 3 + 1) / (7 + 1) and 1 / 2; (2 * 2 + 1) / (6 + 1) and 1 / 3; 1 and 1;
        # (2 * 2 + 1) / (5 + 1) and (2 + 1) / (3 + 1)
        ("finetune-SAM", 11 / 16, 11 / 21, 1, 19 / 24),
        ("Med-SA", 1e-4 / 1.0001, 1e-4 / 2.0001, 1, 2.0001 / 3.0001),
        ("nnU-Net", 0, 0, None, 2 / 3),
    ],
)
def test_dice_where_a_side_is_empty(
    name: str, empty_truth: float, empty_prediction: float, both_empty: float, half: float
) -> None:
    assert score(name, EMPTY_TRUTH)["dice"] == pytest.approx(empty_truth)
    assert score(name, EMPTY_PREDICTION)["dice"] == pytest.approx(empty_prediction)
    assert score(name, BOTH_EMPTY)["dice"] == pytest.approx(both_empty)
    assert score(name, HALF)["dice"] == pytest.approx(half)


def test_a_set_with_an_image_without_foreground() -> None:
    cases = HALF, BOTH_EMPTY
    assert score("suite", *cases)["dice"] == pytest.approx(2 / 3)
    assert score("SAMed", *cases)["dice"] == pytest.approx(1 / 3)
    assert score("finetune-SAM", *cases)["dice"] == pytest.approx((19 / 24 + 1) / 2)
    assert score("Med-SA", *cases)["dice"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-4)
    assert score("Med-SA", *cases)["iou"] == pytest.approx((1 / 2 + 1) / 2, abs=1e-5)
    assert score("nnU-Net", *cases)["iou"] == pytest.approx(1 / 2)


def test_a_false_alarm_is_the_best_that_samed_knows() -> None:
    """Two methods, one of which marks an absent class: the order turns round."""
    wild, careful = (HALF, EMPTY_TRUTH), (HALF, BOTH_EMPTY)
    assert score("SAMed", *wild)["dice"] == pytest.approx(5 / 6)
    assert score("SAMed", *careful)["dice"] == pytest.approx(1 / 3)
    assert score("nnU-Net", *wild)["dice"] == pytest.approx(1 / 3)
    assert score("nnU-Net", *careful)["dice"] == pytest.approx(2 / 3)


def test_an_absent_class_has_no_say_or_any() -> None:
    """Of three classes the last is in neither truth nor prediction."""
    case = read_case(row(0, 1, 0, 0), row(0, 1, 1, 0), 3)
    assert score("suite", case)["dice"] == pytest.approx(2 / 3)
    assert score("SAMed", case)["dice"] == pytest.approx(1 / 3)
    assert score("finetune-SAM", case)["dice"] == pytest.approx((5 / 6 + 3 / 4 + 1) / 3)
    assert score("Med-SA", case)["dice"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-4)
    assert score("nnU-Net", case)["dice"] is None


def test_slices_of_a_volume_count_alone_or_together() -> None:
    # First slice: 1 of 1 found; second: 1 of 3. Together 2 of 4: Dice 2 * 2 / (2 + 4).
    prediction = np.stack([row(1, 0, 0, 0), row(1, 0, 0, 0)])
    mask = np.stack([row(1, 0, 0, 0), row(1, 1, 1, 0)])
    case = read_case(prediction, mask, 2)
    assert score("SAMed", case)["dice"] == pytest.approx(2 / 3)
    assert score("nnU-Net", case)["dice"] == pytest.approx(2 / 3)
    assert score("nnU-Net", case)["iou"] == pytest.approx(1 / 2)
    assert score("Med-SA", case)["dice"] == pytest.approx((1 + 1 / 2) / 2, abs=1e-4)
    assert score("suite by image", case)["dice"] == pytest.approx((1 + 1 / 2) / 2)
    # Surface voxels: truth 0, 0, 1, 2 away, prediction 0, 0: the 95th percentile of six values
    # lies at place 4.75, between 1 and 2.
    assert score("SAMed", case)["hd95_px"] == pytest.approx(1.75)
    # Slices: 0; and 0, 1, 2 with 0, at place 2.85.
    assert score("suite", case)["hd95_px"] == pytest.approx((0 + 1.85) / 2)


def test_distances_that_do_not_exist() -> None:
    for case in (EMPTY_TRUTH, EMPTY_PREDICTION, BOTH_EMPTY):
        assert score("SAMed", case)["hd95_px"] == 0  # the best there is
        assert score("suite", case)["hd95_px"] is None
    assert score("SAMed", HALF, EMPTY_PREDICTION)["hd95_px"] == pytest.approx(0.9 / 2)
    assert score("suite", HALF, EMPTY_PREDICTION)["hd95_px"] == pytest.approx(0.9)


def test_balanced_error_rate_by_image_and_pooled() -> None:
    # 1 of 2 found, 2 of 2 rejected: 25 %. 1 of 1 found, 0 of 3 rejected: 50 %.
    cases = HALF, read_case(row(1, 1, 1, 1), row(0, 1, 0, 0), 2)
    assert score("SAM-Adapter", *cases)["ber"] == pytest.approx((25 + 50) / 2)
    assert score("suite", *cases)["ber"] == pytest.approx(100 * (1 - (2 / 3 + 2 / 5) / 2))
    assert score("SAM-Adapter", *cases, EMPTY_TRUTH)["ber"] is None
    assert score("SAM-Adapter", *cases)["mae"] == pytest.approx((1 / 4 + 3 / 4) / 2)


def test_ignored_pixels_belong_to_no_class() -> None:
    with_ignored = read_case(row(0, 1, 0, 0, 1, 0), row(0, 1, 1, 0, IGNORE, IGNORE), 2)
    for name in ("suite", "SAMed", "finetune-SAM", "Med-SA", "nnU-Net"):
        assert score(name, with_ignored) == pytest.approx(score(name, HALF))


def test_what_is_no_pair_of_class_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="must have one shape"):
        read_case(row(0, 1), row(0, 1, 1), 2)
    with pytest.raises(ValueError, match=r"holds classes 0\.\.2"):
        read_case(row(0, 2), row(0, 1), 2)


def test_every_convention_tells_where_it_is_from() -> None:
    assert len({one.name for one in CONVENTIONS}) == len(CONVENTIONS)
    assert all(one.source and one.rule.endswith(".") for one in CONVENTIONS)


def pair(seed: int, shape: tuple[int, ...]) -> tuple[Labels, Labels]:
    """Class maps of three classes, the prediction shifted and speckled; class 2 often absent."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    mask[..., 4:14, 5:17] = 1
    if seed % 2:
        mask[..., 9:12, 8:13] = 2
    prediction = np.roll(mask, (1, 2), axis=(-2, -1))
    prediction[rng.random(shape) < 0.02] = 1 + seed % 2
    return prediction, mask


PAIRS = [pair(seed, (20, 22)) for seed in range(4)] + [pair(seed, (3, 20, 22)) for seed in (4, 5)]


@pytest.mark.slow
def test_samed_is_that_of_medpy() -> None:
    binary = pytest.importorskip("medpy.metric.binary", reason="MedPy is no dependency")
    figures = []
    for prediction, mask in PAIRS:
        for index in (1, 2):
            found, truth = prediction == index, mask == index
            if found.any() and truth.any():
                figures.append((binary.dc(found, truth), binary.hd95(found, truth)))
            else:
                figures.append((float(found.any() and not truth.any()), 0.0))
    dice, hd95 = np.mean(figures, axis=0)
    ours = score("SAMed", *(read_case(*one, 3) for one in PAIRS))
    assert ours == pytest.approx({"dice": dice, "hd95_px": hd95})


@pytest.mark.slow
def test_unsmoothed_dice_and_iou_are_those_of_monai() -> None:
    torch, metrics = map(importlib.import_module, ("torch", "monai.metrics"))
    cases = [read_case(*one, 3) for one in PAIRS]

    def one_hot(labels: Labels) -> Any:
        return torch.from_numpy((labels == np.arange(3).reshape(3, *[1] * labels.ndim))[None])

    def monai(kind: str, flat: bool, empty: float) -> Any:
        """(cases, K) with what is absent from both sides set to `empty`."""
        values = []
        for prediction, mask in PAIRS:
            pairs = zip(prediction, mask, strict=True) if flat and mask.ndim == 3 else None
            for found, truth in pairs or [(prediction, mask)]:
                compute = getattr(metrics, f"compute_{kind}")
                (value,) = compute(one_hot(found), one_hot(truth), ignore_empty=False).numpy()
                absent = [not ((found == k) | (truth == k)).any() for k in range(3)]
                values.append(np.where(absent, empty, value))
        return np.array(values)

    for kind, measure in (("dice", "dice"), ("iou", "iou")):
        by_label = np.nanmean(monai(kind, False, np.nan)[:, 1:], axis=0)
        assert score("nnU-Net", *cases)[measure] == pytest.approx(by_label.mean(), abs=1e-6)
        smooth = monai(kind, True, 1.0)
        assert score("Med-SA", *cases)[measure] == pytest.approx(smooth[:, 1:].mean(), abs=1e-4)
    # Smoothing by a pixel can only raise a score, by less than a pixel in the smallest class.
    rise = (score("finetune-SAM", *cases)["dice"] or 0) - monai("dice", True, 1.0).mean()
    assert 0 < rise < 0.05
