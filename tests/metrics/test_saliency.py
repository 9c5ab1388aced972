"""Saliency measures against values computed on paper, and against pysodmetrics."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from bench.metrics.foreground import stretch, structure_measure, weighted_f_measure
from bench.metrics.saliency import score_saliency, summarise_saliency

Map = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def row(*values: float) -> Map:
    return np.array([values], float)


def mask(*values: int) -> Mask:
    return np.array([values], bool)


def grey_pair(seed: int, shape: tuple[int, int] = (60, 90)) -> tuple[npt.NDArray[np.uint8], Mask]:
    """A soft, shifted and noisy prediction in 0..255, and its truth."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    truth = field > np.quantile(field, 0.7)
    soft = ndimage.gaussian_filter(np.roll(truth, 2, axis=1).astype(float), 2)
    noisy = np.clip(0.8 * soft + 0.3 * rng.random(shape), 0, 1)
    return (noisy * 255).astype(np.uint8), truth


def test_perfect_map_worked_example() -> None:
    found = score_saliency(row(1, 0), mask(1, 0)).to_row()
    assert found["s_alpha"] == found["weighted_f"] == found["f_beta_adaptive"] == 1.0
    assert found["mae"] == found["ber"] == 0.0
    # At threshold 0 both pixels are foreground: F = 1.3 * 1 / (0.3 * 1 + 2)
    assert found["f_beta_mean"] == pytest.approx((255 + 1.3 / 2.3) / 256)
    assert found["f_beta_max"] == 1.0
    # Two pixels of enhanced alignment 1, divided by 2 - 1; at threshold 0 a is 0: (1 / 2)^2 each
    assert found["e_phi_adaptive"] == found["e_phi_max"] == 2.0
    assert found["e_phi_mean"] == pytest.approx((255 * 2 + 0.5) / 256)


def test_structure_worked_example() -> None:
    # Centroid in column 1.5, which rounds to 2: the quadrants are columns 0..2 and column 3.
    # Left: means 1/2 and 1/3, sums of products 1/2, of squares 1/2 and 2/3: SSIM 72/91. Right: 1.
    regions = 0.75 * 72 / 91 + 0.25 * 1
    # Foreground 1, 1 scores 1; background 1 - 0.5, 1 - 0 has mean 3/4 and variance 1/8.
    objects = 0.5 * 1 + 0.5 * (2 * 0.75 / (0.75**2 + 1 + 0.125**0.5))
    found = structure_measure(row(1, 0.5, 0, 1), mask(1, 0, 0, 1))
    assert found == pytest.approx((objects + regions) / 2, abs=1e-12)
    assert structure_measure(row(0.5, 0.5), mask(1, 0)) == pytest.approx((1 / 1.25 + 1) / 2)


def test_structure_at_the_edges() -> None:
    prediction = row(0.25, 0.5)
    assert structure_measure(prediction, mask(0, 0)) == 1 - 0.375
    assert structure_measure(prediction, mask(1, 1)) == 0.375
    in_corner = np.zeros((4, 4), bool)
    in_corner[3, 3] = True  # three quadrants have no pixels, the fourth is the image
    # Quadrant: y = 1/16, sums of products 15/16 = those of squares, twice. Objects: both even.
    assert structure_measure(in_corner.astype(float), in_corner) == pytest.approx(1.0)


def test_weighted_f_worked_examples() -> None:
    # A false grey of 0.5 one pixel off weighs 2 - 0.5^(1/5): precision 1 / (1 + that / 2).
    weight = 2 - 0.5**0.2
    expected = 2 / (2 + 0.5 * weight)
    assert weighted_f_measure(row(1, 0.5), mask(1, 0)) == pytest.approx(expected, abs=1e-12)
    # An error of 0.5 at a single pixel is shared over the 7 x 7 kernel: only its centre stays.
    centre = 1 / np.exp(-(np.arange(-3, 4) ** 2) / 50).sum() ** 2
    recall = 1 - 0.5 * centre
    found = weighted_f_measure(row(0.5), mask(1))
    assert found == pytest.approx(2 * recall / (1 + recall), abs=1e-12)
    assert weighted_f_measure(row(0.5, 1), mask(0, 0)) == 0.0
    # A pixel that is missed altogether finds no neighbour to share with: all stand for it.
    middle = np.zeros((9, 9), bool)
    middle[4, 4] = True
    assert weighted_f_measure(np.zeros((9, 9)), middle) == pytest.approx(0, abs=1e-12)


def test_mean_absolute_error_is_that_of_the_stretched_map() -> None:
    score = score_saliency(row(0.2, 0.6), mask(0, 1))
    assert score.mae == 0.0
    assert score.mae_unstretched == pytest.approx(0.3)
    assert stretch(row(0.4, 0.4)).tolist() == [[0.4, 0.4]]


def test_balanced_error_per_image_and_pooled() -> None:
    half = score_saliency(row(1, 0, 0, 0), mask(1, 1, 0, 0))  # 1/2 and 2/2
    missed = score_saliency(row(0, 0, 0, 0), mask(1, 0, 0, 0))  # 0/1 and 3/3
    no_truth = score_saliency(row(1, 0, 0, 0), mask(0, 0, 0, 0))  # -/0 and 3/4
    assert (half.ber, missed.ber, no_truth.ber) == (25.0, 50.0, None)
    summary = summarise_saliency([half, missed, no_truth])
    assert summary["ber_image_mean"] == 37.5
    assert summary["ber_defined"] == 2
    assert summary["ber_dataset"] == pytest.approx(100 * (1 - (1 / 3 + 8 / 9) / 2))
    assert summarise_saliency([no_truth])["ber_dataset"] is None


def test_balanced_error_counts_above_125_of_255() -> None:
    score = score_saliency(row(125 / 255, 126 / 255, 0), mask(1, 1, 0))
    assert (score.hits, score.foreground_px) == (1, 2)
    assert (score.rejections, score.background_px) == (1, 1)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_nothing_to_find(level: float) -> None:
    """A truth without foreground: F is 0, E-phi the share of rejected pixels."""
    found = score_saliency(np.full((2, 2), level), np.zeros((2, 2), bool)).to_row()
    assert found["f_beta_adaptive"] == found["f_beta_max"] == found["weighted_f"] == 0.0
    assert found["s_alpha"] == 1 - level
    assert found["mae"] == level
    # An all-black map has the adaptive threshold 0, which every pixel reaches.
    assert found["e_phi_adaptive"] == 0.0
    assert found["e_phi_max"] == pytest.approx((1 - level) * 4 / 3)
    assert found["ber"] is None


def test_maximum_of_a_set_is_that_of_its_mean_curve() -> None:
    dark, bright = (score_saliency(row(1, level, 0), mask(1, 1, 0)) for level in (0.1, 0.9))
    summary = summarise_saliency([dark, bright])
    assert dark.f_curve is not None
    assert bright.f_curve is not None
    curve = (dark.f_curve + bright.f_curve) / 2
    assert summary["f_beta_max"] == curve.max() == 1.0
    assert summary["f_beta_mean"] == pytest.approx(
        (dark.f_curve.mean() + bright.f_curve.mean()) / 2
    )
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (row(1, 0), mask(1), "one shape"),
        (np.zeros((0, 0)), np.zeros((0, 0), bool), "one shape"),
        (row(1, 0), np.array([[1, 0]]), "bool, not int64"),
        (row(255, 0), mask(1, 0), r"allowed is 0\.\.1"),
        (row(np.nan, 0), mask(1, 0), r"allowed is 0\.\.1"),
    ],
)
def test_wrong_input_is_refused(prediction: Map, truth: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_saliency(prediction, truth)
    with pytest.raises(ValueError, match="no images"):
        summarise_saliency([])


def test_values_of_pysodmetrics() -> None:
    """A disc in two ramps of grey; the figures are those of pysodmetrics 1.6.2."""
    y, x = np.mgrid[:48, :64]
    truth = (y - 20) ** 2 + (x - 40) ** 2 < 150
    grey = np.where(truth, (y * 7 + x * 5) % 200 + 40, (y * 3 + x * 11) % 120 + 20)
    found = score_saliency(grey / 255, truth).to_row()
    expected = {
        "s_alpha": 0.5916454016264219,
        "e_phi_adaptive": 0.7310022781887197,
        "e_phi_mean": 0.48061953569135474,
        "e_phi_max": 0.9009137434396968,
        "f_beta_adaptive": 0.7807915859396624,
        "f_beta_mean": 0.4415504126486319,
        "f_beta_max": 0.8526114953493918,
        "weighted_f": 0.29381753583374354,
        "mae": 0.2952325318683409,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow  # importing it takes longer than all tests of this file together
@pytest.mark.filterwarnings("ignore:This class will be removed:UserWarning")
def test_every_measure_as_pysodmetrics() -> None:
    library = pytest.importorskip("py_sod_metrics")
    pairs = [grey_pair(seed) for seed in range(4)]
    pairs += [(pairs[0][0], np.zeros((60, 90), bool)), (pairs[0][0], np.ones((60, 90), bool))]
    measures = [
        library.Smeasure(alpha=0.5),
        library.Emeasure(),
        library.Fmeasure(beta=0.3),
        library.WeightedFmeasure(beta=1),
        library.MAE(),
    ]
    for prediction, truth in pairs:
        for measure in measures:
            measure.step(prediction, truth.astype(np.uint8) * 255)
    structure, alignment, plain, weighted, error = (m.get_results() for m in measures)
    summary = summarise_saliency([score_saliency(p / 255, truth) for p, truth in pairs])
    for name, value in {
        "s_alpha": structure["sm"],
        "e_phi_adaptive": alignment["em"]["adp"],
        "e_phi_mean": alignment["em"]["curve"].mean(),
        "e_phi_max": alignment["em"]["curve"].max(),
        "f_beta_adaptive": plain["fm"]["adp"],
        "f_beta_mean": plain["fm"]["curve"].mean(),
        "f_beta_max": plain["fm"]["curve"].max(),
        "weighted_f": weighted["wfm"],
        "mae": error["mae"],
    }.items():
        assert summary[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.slow
@pytest.mark.parametrize("of_each_image", [True, False])
def test_balanced_error_as_pysodmetrics(of_each_image: bool) -> None:
    """On binary maps: the library takes 0.5 of the stretched map as its threshold."""
    library = pytest.importorskip("py_sod_metrics")
    handler = library.BERHandler(False, False, with_binary=True, sample_based=of_each_image)
    measure = library.FmeasureV2({"ber": handler})
    scores = []
    for grey, truth in map(grey_pair, range(4)):
        found = grey > 125
        measure.step(found.astype(np.uint8) * 255, truth.astype(np.uint8) * 255)
        scores.append(score_saliency(found.astype(float), truth))
    expected = 100 * measure.get_results()["ber"]["binary"]
    name = "ber_image_mean" if of_each_image else "ber_dataset"
    assert summarise_saliency(scores)[name] == pytest.approx(expected, abs=1e-9)
