"""The measures that each kind of collection is scored by."""

import numpy as np
import numpy.typing as npt
import pytest

from bench.data.items import IGNORE, Collection, Item
from bench.evaluate.scoring import Prediction, Scoring
from bench.metrics.saliency import score_saliency
from bench.metrics.volumes import score_volume

Map = npt.NDArray[np.uint8]
SIDE = 24
RNG = np.random.default_rng(3)
BLANK = np.zeros((SIDE, SIDE), np.uint8)


def square(top: int, value: int = 1) -> Map:
    found = BLANK.copy()
    found[top : top + 8, 6:16] = value
    return found


def collect(
    classes: tuple[str, ...], pairs: list[tuple[Item, Map]], grey: npt.NDArray[np.float32] | None
) -> Scoring:
    """Score the predicted map of each item."""
    scoring = Scoring(Collection("made", classes, tuple(item for item, _ in pairs)))
    for item, predicted in pairs:
        assert isinstance(item.mask, np.ndarray)
        foreground = (predicted > 0).astype(np.float32) if grey is None else grey
        scoring.add(Prediction(item, item.mask, predicted, foreground))
    return scoring


def test_many_phases_have_fractions_and_no_particles() -> None:
    truth = square(4) + square(14, 2)
    scoring = collect(("a", "b", "c"), [(Item("x", BLANK, truth, "g"), square(4))], None)
    summary = scoring.summary()
    assert summary["phase_fraction_truth/b"] == pytest.approx(80 / SIDE**2)
    assert summary["phase_fraction_error/c"] == pytest.approx(-80 / SIDE**2)
    assert summary["dice/b"] == 1
    assert not {"pq_dataset", "s_alpha", "particles/b", "dice_volume_mean"} & summary.keys()
    (row,) = scoring.images
    assert (row["name"], row["group"]) == ("x", "g")
    assert row["dice/b"] == 1


def test_instances_bring_objects_and_sizes() -> None:
    numbers = square(2, 5) + square(14, 9)
    item = Item("x", BLANK, (numbers > 0).astype(np.uint8), "g", instances=numbers)
    scoring = collect(("ground", "particle"), [(item, square(2))], None)
    summary = scoring.summary()
    assert summary["pq_dataset"] == pytest.approx(2 / 3)  # one of two found: 2 x 1 / (2 + 1)
    assert summary["particles_error/particle"] == -1
    assert summary["d50/particle"] == pytest.approx(2 * np.sqrt(80 / np.pi))
    assert "s_alpha" not in summary
    assert scoring.images[0]["objects_truth/particle"] == 2
    assert sum(scoring.images[0]["size_counts_truth/particle"]) == 2
    assert sum(scoring.images[0]["size_counts/particle"]) == 1
    assert "size_counts/particle" not in summary


def test_touching_objects_count_one_by_one() -> None:
    numbers = square(2, 1) + square(10, 2)
    item = Item("x", BLANK, (numbers > 0).astype(np.uint8), "g", instances=numbers)
    row = collect(("ground", "particle"), [(item, (numbers > 0).astype(np.uint8))], None).images[0]
    assert (row["objects_truth/particle"], row["objects_predicted/particle"]) == (2, 1)


def test_one_foreground_without_objects_is_scored_in_grey_levels() -> None:
    grey = RNG.random((SIDE, SIDE)).astype(np.float32)
    truth = square(5)
    scoring = collect(("scene", "shadow"), [(Item("x", BLANK, truth, "g"), square(6))], grey)
    expected = score_saliency(grey, truth > 0)
    assert scoring.summary()["s_alpha"] == pytest.approx(expected.s_alpha)
    assert scoring.summary()["ber_dataset"] == pytest.approx(expected.ber)
    assert scoring.images[0]["mae"] == pytest.approx(expected.mae)


def test_pixels_without_a_label_count_nowhere() -> None:
    truth = square(5)
    truth[:, :6] = IGNORE
    grey = np.where(truth == IGNORE, 1.0, truth > 0).astype(np.float32)
    summary = collect(("scene", "shadow"), [(Item("x", BLANK, truth, "g"), truth)], grey).summary()
    assert summary["mae"] == 0
    assert summary["s_alpha"] == pytest.approx(1)


def test_slices_are_scored_as_the_volume_that_they_make() -> None:
    spacing = (5.0, 0.8, 0.7)
    truths = [square(4), square(5, 2), BLANK, square(9)]
    predicted = [square(5), square(5, 2), square(2), square(9)]
    items = [
        Item(f"v{at}", BLANK, mask, "patient", volume="ab"[at // 2], spacing_mm=spacing)
        for at, mask in enumerate(truths)
    ]
    scoring = collect(("rest", "liver", "spleen"), list(zip(items, predicted, strict=True)), None)
    summary = scoring.summary()
    scores = [
        score_volume(np.stack(predicted[at : at + 2]), np.stack(truths[at : at + 2]), 3, spacing)
        for at in (0, 2)
    ]
    dice = [score[0].dice or 0 for score in scores]
    assert summary["dice_volume_mean/liver"] == pytest.approx(sum(dice) / 2)
    assert [row["name"] for row in scoring.volumes] == ["a", "b"]
    assert scoring.volumes[1]["volume_ml_truth/liver"] == pytest.approx(80 * 5 * 0.56 / 1000)
    assert scoring.summary() == summary  # asked twice, it says the same
    assert len(scoring.volumes) == 2


def test_a_volume_with_missing_slices_is_not_scored_as_if_it_were_whole() -> None:
    items = tuple(Item(f"v{at}", BLANK, square(4), "patient", volume="a") for at in range(2))
    scoring = Scoring(Collection("made", ("rest", "liver"), items))
    scoring.add(Prediction(items[0], square(4), square(4)))
    with pytest.raises(ValueError, match="slices are missing of the volumes a"):
        scoring.summary()


def test_from_class_maps_alone_all_but_grey_levels_and_own_objects_is_scored() -> None:
    plain = Item("x", BLANK, square(4), "g")
    scoring = Scoring(Collection("made", ("scene", "shadow"), (plain,)), only_classes=True)
    scoring.add(Prediction(plain, square(4), square(5)))
    assert "dice" in scoring.images[0]
    assert "mae" not in scoring.images[0]
    numbered = Item("x", BLANK, square(4), "g", instances=square(4))
    made = Collection("made", ("ground", "particle"), (numbered,))
    for own_objects in (False, True):
        scoring = Scoring(made, only_classes=True, own_objects=own_objects)
        scoring.add(Prediction(numbered, square(4), square(5)))
        assert ("pq" in scoring.images[0]) != own_objects
