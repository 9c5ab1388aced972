"""Volume measures against values computed on paper, by brute force, and by MONAI."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from bench.data.items import IGNORE
from bench.metrics.volumes import score_volume, summarise_volumes, volume_row

Volume = npt.NDArray[Any]
CLASSES = ("background", "liver", "spleen")
SPACING = (3.0, 0.8, 0.75)


def column(*values: int) -> Volume:
    """Voxels above one another."""
    return np.array(values, np.uint8)[:, None, None]


def pair(seed: int) -> tuple[Volume, Volume]:
    """A mask of two organs, and a prediction that is shifted and speckled."""
    rng, shape = np.random.default_rng(seed), (8, 20, 22)
    fields = [ndimage.gaussian_filter(rng.normal(size=shape), (1.5, 3, 3)) for _ in range(3)]
    mask = np.argmax(fields, axis=0).astype(np.uint8)
    prediction = np.roll(mask, (1, 2, -1), axis=(0, 1, 2))
    speckle = rng.random(shape) < 0.01
    prediction[speckle] = rng.integers(0, 3, speckle.sum())
    return prediction, mask


PAIRS = [pair(seed) for seed in range(3)]


def test_worked_example() -> None:
    (score,) = score_volume(column(1, 0, 1), column(1, 0, 0), 2, (5.0, 2.0, 1.0))
    assert score.dice == pytest.approx(2 / 3)
    assert score.iou == 1 / 2
    # Distances: 0 from the truth, 0 and 10 mm from the prediction
    assert score.hd95_pooled_mm == pytest.approx(9.0)  # 0, 0, 10 at place 0.95 * 2
    assert score.hd95_max_mm == pytest.approx(9.5)  # 0, 10 at place 0.95
    assert score.assd_pooled_mm == pytest.approx(10 / 3)
    assert score.assd_mean_mm == pytest.approx((0 + 5) / 2)
    assert score.volume_ml.truth == pytest.approx(0.01)  # 10 cubic millimetres
    assert score.volume_ml.error == pytest.approx(0.01)
    assert score.volume_ml.relative_error == pytest.approx(1.0)


@pytest.mark.parametrize(("axis", "expected"), [(0, 6.0), (1, 1.6), (2, 1.5)])
def test_spacing_belongs_to_its_axis(axis: int, expected: float) -> None:
    mask = np.zeros((5, 5, 5), np.uint8)
    mask[1, 1, 1] = 1
    (score,) = score_volume(np.roll(mask, 2, axis), mask, 2, SPACING)
    assert score.dice == 0.0
    for value in (score.hd95_pooled_mm, score.hd95_max_mm, score.assd_pooled_mm):
        assert value == pytest.approx(expected)


def test_a_slice_with_the_organ_on_one_side_is_no_edge_case() -> None:
    """Distances cross slices: a slice that lacks the organ is part of the volume."""
    (score,) = score_volume(column(1, 1, 0), column(1, 1, 1), 2, (4.0, 1.0, 1.0))
    assert score.dice == pytest.approx(4 / 5)
    assert score.assd_pooled_mm == pytest.approx(4 / 5)  # four of five voxels agree
    assert score.volume_ml.relative_error == pytest.approx(-1 / 3)


def test_organ_on_one_side_or_on_none() -> None:
    nothing, liver = column(0, 0), column(0, 1)
    for prediction, mask in ((nothing, liver), (liver, nothing)):
        score, absent = score_volume(prediction, mask, 3, SPACING)
        assert score.dice == score.iou == 0.0
        assert score.hd95_pooled_mm is score.hd95_max_mm is score.assd_pooled_mm is None
        assert score.one_empty
        assert (absent.dice, absent.hd95_pooled_mm, absent.one_empty) == (None, None, False)
        assert (absent.volume_ml.error, absent.volume_ml.relative_error) == (0.0, None)
    invented = score_volume(liver, nothing, 3, SPACING)[0].volume_ml
    assert invented.error == pytest.approx(0.0018)
    assert invented.relative_error is None  # nothing to relate it to


def test_ignored_voxels_never_count() -> None:
    prediction, mask = (array.copy() for array in PAIRS[0])
    mask[2:5, 3:9, 4:12] = IGNORE
    rows = []
    for filler in (0, 1, 77):
        prediction[mask == IGNORE] = filler
        rows.append(volume_row(score_volume(prediction, mask, 3, SPACING), CLASSES))
    assert rows[0]["dice"] is not None
    assert rows[1] == rows[2] == rows[0]


def test_distances_agree_with_brute_force() -> None:
    six = ndimage.generate_binary_structure(3, 1)
    for prediction, mask in PAIRS:
        for index, score in enumerate(score_volume(prediction, mask, 3, SPACING), start=1):
            truth, found = (
                np.argwhere(side & ~ndimage.binary_erosion(side, six)) * SPACING
                for side in (mask == index, prediction == index)
            )
            table = cdist(truth, found)
            sets = table.min(axis=1), table.min(axis=0)
            both = np.concatenate(sets)
            assert score.hd95_pooled_mm == pytest.approx(np.percentile(both, 95), abs=1e-9)
            assert score.hd95_max_mm == pytest.approx(
                max(np.percentile(side, 95) for side in sets), abs=1e-9
            )
            assert score.assd_pooled_mm == pytest.approx(both.mean(), abs=1e-9)
            assert score.assd_mean_mm == pytest.approx(np.mean([s.mean() for s in sets]), abs=1e-9)


def test_means_run_over_volumes_first() -> None:
    both = score_volume(column(1, 2, 0), column(1, 2, 0), 3, SPACING)  # both right
    missed = score_volume(column(0, 0, 0), column(1, 0, 0), 3, SPACING)  # liver missed, no spleen
    summary = summarise_volumes([both, missed], CLASSES)
    assert summary["dice_volume_mean/liver"] == 0.5
    assert summary["dice_volume_mean/spleen"] == 1.0
    assert summary["dice_volume_mean"] == 0.75
    assert summary["hd95_pooled_mm_volume_mean"] == 0.0
    assert summary["distance_one_empty"] == 1
    voxel = 3.0 * 0.8 * 0.75 / 1000
    assert summary["volume_ml_error_volume_mean/liver"] == pytest.approx(-voxel / 2)
    assert summary["volume_ml_abs_error_volume_mean/liver"] == pytest.approx(voxel / 2)
    assert summary["volume_ml_abs_relative_error_volume_mean/liver"] == 0.5
    assert summary["volume_ml_abs_relative_error_volume_mean/spleen"] == 0.0  # of one volume
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_row_holds_every_organ() -> None:
    prediction, mask = PAIRS[0]
    scores = score_volume(prediction, mask, 3, SPACING)
    row = volume_row(scores, CLASSES)
    assert row["dice"] == pytest.approx(
        (row["dice/liver"] or 0) / 2 + (row["dice/spleen"] or 0) / 2
    )
    expected = (prediction == 1).sum() * 3.0 * 0.8 * 0.75 / 1000
    assert row["volume_ml/liver"] == pytest.approx(expected)
    assert row["volume_ml_error/liver"] == scores[0].volume_ml.error
    assert json.loads(json.dumps(row, allow_nan=False)) == row


@pytest.mark.parametrize(
    ("prediction", "spacing", "message"),
    [
        (column(0, 1), (1.0, 1.0, 1.0), r"one shape \(D, H, W\)"),
        (column(0, 1, 1), (1.0, 1.0), "three lengths above 0"),
        (column(0, 1, 1), (1.0, 0.0, 1.0), "three lengths above 0"),
        (column(0, 1, 3), (1.0, 1.0, 1.0), r"prediction holds classes 0\.\.3"),
    ],
)
def test_wrong_input_is_refused(prediction: Volume, spacing: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_volume(prediction, column(0, 1, 2), 3, spacing)
    with pytest.raises(ValueError, match="no volumes"):
        summarise_volumes([], CLASSES)


@pytest.mark.filterwarnings(  # MONAI calls itself with an argument that it has deprecated
    "ignore:.*get_mask_edges.always_return_as_numpy:FutureWarning"
)
@pytest.mark.slow  # importing MONAI takes longer than all tests of this file together
def test_volumes_as_monai() -> None:
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    for prediction, mask in PAIRS:
        scores = score_volume(prediction, mask, 3, SPACING)
        one_hot = [
            torch.nn.functional.one_hot(torch.from_numpy(m).long(), 3).permute(3, 0, 1, 2)[None]
            for m in (prediction, mask)
        ]
        dice = monai.compute_dice(*one_hot, include_background=False)[0]
        hd95 = monai.compute_hausdorff_distance(*one_hot, percentile=95, spacing=SPACING)[0]
        assd = monai.compute_average_surface_distance(*one_hot, symmetric=True, spacing=SPACING)[0]
        assert [s.dice for s in scores] == pytest.approx(dice.tolist(), abs=1e-6)
        assert [s.hd95_max_mm for s in scores] == pytest.approx(hd95.tolist(), abs=1e-5)
        assert [s.assd_pooled_mm for s in scores] == pytest.approx(assd.tolist(), abs=1e-5)


def test_without_a_spacing_there_are_neither_distances_nor_volumes() -> None:
    prediction, mask = PAIRS[0]
    known = score_volume(prediction, mask, 3, SPACING)
    unknown = score_volume(prediction, mask, 3, None)
    assert [score.dice for score in unknown] == [score.dice for score in known]
    for score in unknown:
        assert score.hd95_pooled_mm is score.assd_mean_mm is score.volume_ml.truth is None
        assert not score.one_empty
