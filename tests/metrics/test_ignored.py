"""Only labelled pixels count: half of an image unlabelled, and all of it.

An image whose right part is unlabelled must have the scores of its left part alone. These come from
independent definitions (`metric_definitions.py`, `object_definitions.py`) or, for grey-level maps,
from pysodmetrics.
"""

from collections.abc import Callable, Sequence
from typing import Any

import metric_definitions as definitions
import numpy as np
import numpy.typing as npt
import object_definitions
import pytest
from metric_cases import CLASSES, KINDS, SPACING_MM, Pair, Scores, blobs

from bench.data.items import IGNORE
from bench.metrics.cases import read_case
from bench.metrics.conventions import CONVENTIONS
from bench.metrics.foreground import stretch
from bench.metrics.objects import objects_row, score_objects_by_class, summarise_objects
from bench.metrics.readings import read_image, summarise_readings
from bench.metrics.saliency import score_saliency, summarise_saliency
from bench.metrics.scores import score_image
from bench.metrics.volumes import score_volume, summarise_volumes

Array = npt.NDArray[Any]
PYSODMETRICS = {  # 1.6.2, of `disc`
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


def disc() -> tuple[Array, Array]:
    """A disc in two ramps of grey: prediction (48, 64) in 0..1, truth."""
    y, x = np.mgrid[:48, :64]
    truth = (y - 20) ** 2 + (x - 40) ** 2 < 150
    grey = np.where(truth, (y * 7 + x * 5) % 200 + 40, (y * 3 + x * 11) % 120 + 20)
    return grey / 255, truth


def hide_right(pair: Pair) -> Pair:
    """The right half unlabelled, with predictions there that are not even classes."""
    prediction, truth = pair[0].copy(), pair[1].copy()
    half = truth.shape[-1] // 2
    truth[..., half:], prediction[..., half:] = IGNORE, 77
    return prediction, truth


def left(pair: Pair) -> Pair:
    half = pair[0].shape[-1] // 2
    return pair[0][..., :half], pair[1][..., :half]


# At these sizes the band of boundary IoU is 2 pixels wide in the whole image and in its half.
MAPS = [blobs(seed, (64, 96)) for seed in range(3)]
VOLUMES = [blobs(seed, (7, 24, 32)) for seed in range(2)]


@pytest.mark.parametrize(
    ("kind", "pairs", "independent"),
    [
        ("class maps", MAPS, definitions.class_maps),
        ("readings", MAPS, object_definitions.readings),
        ("volumes", VOLUMES, definitions.volumes),
    ],
)
def test_half_unlabelled_scores_as_the_other_half(
    kind: str, pairs: list[Pair], independent: Callable[[Sequence[Pair]], Scores]
) -> None:
    scores = KINDS[kind][1]([hide_right(pair) for pair in pairs])
    expected = independent([left(pair) for pair in pairs])
    assert len(expected) > 10
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_objects_of_the_labelled_half() -> None:
    (_, discs_case, *_), _ = KINDS["objects"]
    ((predicted, true),) = discs_case.pairs
    classes, mask = hide_right(((predicted > 0).astype(np.uint8), (true > 0).astype(np.uint8)))
    scores = score_objects_by_class(classes, mask, 2, true, predicted_instances=predicted)
    expected = object_definitions.objects([left((predicted, true))])
    summary = summarise_objects([scores], ("matrix", "particle"))
    assert {name: summary[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("filler", [0.0, 0.35, 1.0])
@pytest.mark.parametrize(("before", "after"), [(0, 64), (20, 0), (6, 30)])
def test_grey_maps_as_pysodmetrics_on_the_labelled_part(
    filler: float, before: int, after: int
) -> None:
    grey, truth = disc()
    pad = ((2, 0), (before, after))
    labelled = np.pad(np.ones_like(truth), pad)
    hidden = np.pad(grey, pad, constant_values=filler)
    row = score_saliency(hidden, np.pad(truth, pad, constant_values=True), labelled).to_row()
    assert {name: row[name] for name in PYSODMETRICS} == pytest.approx(PYSODMETRICS, abs=1e-9)
    assert row["mae_unstretched"] == pytest.approx(np.abs(grey - truth).mean())
    rates = (grey[truth] <= 125 / 255).mean(), (grey[~truth] > 125 / 255).mean()
    assert row["ber"] == pytest.approx(50 * sum(rates))


def test_everything_predicted_foreground_on_a_half_labelled_image() -> None:
    truth = np.zeros((40, 40), bool)
    truth[5:15, 5:15] = True
    labelled = np.zeros((40, 40), bool)
    labelled[:, :20] = True
    summary = summarise_saliency([score_saliency(np.ones((40, 40)), truth, labelled)])
    assert summary["ber_dataset"] == summary["ber_image_mean"] == 50  # 100 of 100, 0 of 700
    assert summary["mae_unstretched"] == 700 / 800


def test_the_stretch_follows_labelled_values() -> None:
    grey = np.array([[0.2, 0.4, 0.6, 0.9]])
    labelled = np.array([[True, True, True, False]])
    assert stretch(grey, labelled).tolist() == [[0, pytest.approx(0.5), 1, 1]]


def test_labelled_pixels_of_another_shape_or_type_are_refused() -> None:
    grey, truth = disc()
    wrong: tuple[Array, ...] = np.ones((48, 63), bool), np.ones((48, 64), np.uint8)
    for labelled in wrong:
        with pytest.raises(ValueError, match=r"labelled pixels must be bool \(48, 64\)"):
            score_saliency(grey, truth, labelled)


def test_an_image_without_labels_has_no_scores() -> None:
    grey, truth = disc()
    nothing = score_saliency(grey, truth, np.zeros_like(truth))
    assert set(nothing.to_row().values()) == {None}
    some = score_saliency(grey, truth)
    alone, both = summarise_saliency([some]), summarise_saliency([nothing, some])
    assert both == alone
    assert set((summarise_saliency([nothing]) | {"ber_defined": None}).values()) == {None}


def test_class_maps_without_labels_have_no_scores() -> None:
    prediction, mask = MAPS[0][0], np.full((64, 96), IGNORE, np.uint8)
    row = score_image(prediction, mask, 3).to_row(CLASSES)
    assert {value for name, value in row.items() if "_px/" not in name} == {None}
    assert {value for name, value in row.items() if "_px/" in name} == {0}
    readings = read_image(prediction, mask, 3)
    assert set(readings.to_row(CLASSES).values()) == {None}
    labelled = read_image(*MAPS[1], 3)
    both = summarise_readings([readings, labelled], CLASSES)
    assert both == summarise_readings([labelled], CLASSES)
    row = objects_row(score_objects_by_class(prediction, mask, 3), CLASSES)
    assert {value for name, value in row.items() if not name.startswith("objects_")} == {None}


def test_volumes_without_labels_have_no_scores() -> None:
    prediction, mask = VOLUMES[0][0], np.full((7, 24, 32), IGNORE, np.uint8)
    hidden = score_volume(prediction, mask, 3, SPACING_MM)
    known = score_volume(*VOLUMES[1], 3, SPACING_MM)
    assert summarise_volumes([hidden, known], CLASSES) == summarise_volumes([known], CLASSES)
    scores = summarise_volumes([hidden], CLASSES)
    assert {value for name, value in scores.items() if name != "distance_one_empty"} == {None}


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda one: one.name)
def test_conventions_use_labelled_pixels_only(convention: Any) -> None:
    for pairs in (MAPS, VOLUMES):
        hidden = convention.score([read_case(*hide_right(pair), 3) for pair in pairs])
        assert hidden == pytest.approx(
            convention.score([read_case(*left(pair), 3) for pair in pairs]), abs=1e-12
        )
    prediction, mask = (np.concatenate([part, part[:1]]) for part in VOLUMES[0])
    mask[-1] = IGNORE
    expected = convention.score([read_case(*VOLUMES[0], 3)])
    nothing = read_case(prediction[-1:], mask[-1:], 3)
    assert convention.score([read_case(prediction, mask, 3), nothing]) == pytest.approx(expected)
    assert set(convention.score([nothing]).values()) == {None}
