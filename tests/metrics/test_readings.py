"""Readings of phases and particles against values computed on paper, and scikit-image."""

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from skimage import measure

from bench.data.items import IGNORE
from bench.metrics.readings import (
    Reading,
    Sizes,
    equivalent_diameters,
    phase_fractions,
    read_image,
    size_counts,
    size_counts_row,
    summarise_readings,
)
from bench.record_values import BINS_PER_OCTAVE

Labels = npt.NDArray[Any]
CLASSES = ("matrix", "particle")
PIXEL = 2 / math.sqrt(math.pi)  # equivalent diameter of one pixel


def labels(*rows: str) -> Labels:
    """Draw a class map: one digit per pixel, `x` for ignored."""
    return np.array([[IGNORE if c == "x" else int(c) for c in row] for row in rows], np.uint8)


def test_worked_example() -> None:
    mask = labels("1100", "1100", "0001")  # particles of 4 and of 1 pixels
    prediction = labels("1100", "1100", "0000")
    row = read_image(prediction, mask, 2).to_row(CLASSES)
    assert row["phase_fraction/particle"] == pytest.approx(4 / 12)
    assert row["phase_fraction_truth/particle"] == pytest.approx(5 / 12)
    assert row["phase_fraction_error/particle"] == pytest.approx(-1 / 12)
    assert row["phase_fraction_relative_error/particle"] == pytest.approx(-1 / 5)
    assert row["phase_fraction_error/matrix"] == pytest.approx(1 / 12)
    assert (row["particles/particle"], row["particles_truth/particle"]) == (1, 2)
    assert (row["particles_error/particle"], row["particles_relative_error/particle"]) == (-1, -0.5)
    # Diameters 1 and 2 in units of PIXEL: percentiles by linear interpolation
    assert row["d10_truth/particle"] == pytest.approx(1.1 * PIXEL)
    assert row["d50_truth/particle"] == pytest.approx(1.5 * PIXEL)
    assert row["d90_truth/particle"] == pytest.approx(1.9 * PIXEL)
    assert row["d10/particle"] == row["d90/particle"] == pytest.approx(2 * PIXEL)
    assert row["d50_error/particle"] == pytest.approx(0.5 * PIXEL)
    # Half of the true particles lie 1 away from the only size predicted
    assert row["size_distance/particle"] == pytest.approx(0.5 * PIXEL)
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_diameters_take_the_size_of_a_pixel() -> None:
    mask = labels("1100", "1100", "0001")
    plain, scaled = (read_image(mask, mask, 2, pixel_size=size).sizes[0] for size in (1.0, 0.25))
    assert sorted(plain.truth) == pytest.approx([PIXEL, 2 * PIXEL])
    assert scaled.truth == pytest.approx(plain.truth / 4)
    assert scaled.distance == 0.0


def test_no_particles_on_one_side_or_both() -> None:
    nothing, some = labels("000"), labels("010")
    missed = read_image(nothing, some, 2).to_row(CLASSES)
    assert missed["particles_error/particle"] == -1
    assert missed["d50/particle"] is missed["d50_error/particle"] is None
    assert missed["size_distance/particle"] is None
    assert missed["d50_truth/particle"] == pytest.approx(PIXEL)
    invented = read_image(some, nothing, 2).to_row(CLASSES)
    assert invented["particles_error/particle"] == 1
    assert invented["particles_relative_error/particle"] is None  # nothing to relate it to
    assert invented["size_distance/particle"] is None
    empty = read_image(nothing, nothing, 2).to_row(CLASSES)
    assert empty["particles_error/particle"] == empty["phase_fraction_error/particle"] == 0
    assert empty["d90/particle"] is None


def test_ignored_pixels_belong_to_nothing() -> None:
    row = read_image(labels("11111"), labels("11x10"), 2).to_row(CLASSES)
    assert row["phase_fraction_truth/particle"] == 3 / 4
    assert row["phase_fraction/particle"] == 1.0
    assert (row["particles_truth/particle"], row["particles/particle"]) == (2, 2)  # both are cut
    assert phase_fractions(np.zeros((2, 2), np.int64)) == (Reading(None, None),) * 2


def test_instances_and_smallest_area() -> None:
    mask, prediction = labels("1111", "0000"), labels("1101", "0000")
    instances = np.array([[3, 3, 9, 9], [0, 0, 0, 0]], np.uint16)
    assert read_image(prediction, mask, 2, instances).sizes[0].count == Reading(2, 2)
    assert read_image(prediction, mask, 2).sizes[0].count == Reading(1, 2)
    assert read_image(prediction, mask, 2, min_area_px=2).sizes[0].count == Reading(1, 1)


def test_set_is_pooled_and_errors_are_averaged_over_images() -> None:
    more = read_image(labels("1010"), labels("1000"), 2)  # one particle too many
    fewer = read_image(labels("0000"), labels("1000"), 2)  # one too few
    summary = summarise_readings([more, fewer], CLASSES)
    assert summary["particles_error/particle"] == 0  # 2 of 2
    assert summary["particles_abs_error_image_mean/particle"] == 1.0
    assert summary["phase_fraction/particle"] == 2 / 8
    assert summary["phase_fraction_error/particle"] == 0.0
    assert summary["phase_fraction_abs_error_image_mean/particle"] == 0.25
    assert summary["size_distance/particle"] == 0.0
    assert summary["size_distance_image_mean/particle"] == 0.0  # of the first image alone
    assert summary["d50_abs_error_image_mean/particle"] == 0.0
    with pytest.raises(ValueError, match="no images"):
        summarise_readings([], CLASSES)


def test_distance_of_equal_counts_is_the_mean_step_between_sorted_sizes() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.uniform(1, 9, (2, 40))
    expected = np.abs(np.sort(truth) - np.sort(prediction)).mean()
    assert Sizes(truth, prediction).distance == pytest.approx(expected, abs=1e-12)
    assert Sizes(truth, np.tile(truth, 3)).distance == pytest.approx(0, abs=1e-12)  # not the count


def test_diameters_as_scikit_image() -> None:
    class_map = np.random.default_rng(1).random((40, 50)) < 0.4
    objects = measure.label(class_map, connectivity=1)
    expected = [region.equivalent_diameter_area for region in measure.regionprops(objects)]
    found = read_image(class_map.astype(np.uint8), class_map.astype(np.uint8), 2).sizes[0]
    assert sorted(found.truth) == pytest.approx(sorted(expected), abs=1e-9)
    assert sorted(equivalent_diameters(objects * 3)) == pytest.approx(sorted(expected), abs=1e-9)


def test_size_counts_of_images_can_be_added() -> None:
    """Against numpy's histogram on the edges of all images."""
    rng = np.random.default_rng(0)
    diameters = np.exp(rng.normal(2, 0.6, 500)).clip(1.2)
    counts = size_counts(diameters)
    edges = np.exp2(np.arange(len(counts) + 1) / BINS_PER_OCTAVE)
    assert counts == np.histogram(diameters, edges)[0].tolist()
    assert counts[-1] > 0
    parts = [size_counts(part) for part in (diameters[:200], diameters[200:])]
    total = np.zeros(len(counts), int)
    for part in parts:
        total[: len(part)] += part
    assert total.tolist() == counts
    assert size_counts(np.zeros(0)) == []


def test_size_counts_of_classes_without_objects_are_empty() -> None:
    mask = np.zeros((6, 6), np.uint8)
    mask[:2, :2] = 1  # 4 px: a diameter of 2.26 px, at least 2**(9 / 8)
    row = size_counts_row(read_image(np.zeros_like(mask), mask, 3), ("a", "b", "c"))
    assert row == {
        "size_counts/b": [],
        "size_counts_truth/b": [0] * 9 + [1],
        "size_counts/c": [],
        "size_counts_truth/c": [],
    }
