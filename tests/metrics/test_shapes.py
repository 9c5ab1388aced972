"""Aspect ratio and touching share of objects, on paper and against scikit-image."""

import numpy as np
import pytest
from skimage.measure import label, regionprops

from bench.data.items import IGNORE
from bench.metrics.shapes import read_shapes, shapes_row

CLASSES = ("matrix", "particle", "fibre")


def test_worked_example() -> None:
    mask = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], np.uint8)
    instances = np.array([[1, 1, 2, 2, 0, 0], [0, 0, 0, 0, 0, 7], [0, 0, 0, 0, 0, 0]], np.uint16)
    row = shapes_row(read_shapes(mask, mask, 2, instances), CLASSES[:2])
    assert row["aspect_ratio_truth/particle"] == pytest.approx(2)  # 2 by 1, 2 by 1, 1 by 1
    assert row["touching_truth/particle"] == pytest.approx(2 / 3)
    # Components: one of 4 by 1 pixels, one of 1 by 1, and components of a class never touch.
    assert row["aspect_ratio/particle"] == pytest.approx(2.5)
    assert row["touching/particle"] == 0
    assert row["touching_error/particle"] == pytest.approx(-2 / 3)
    assert row["aspect_ratio_relative_error/particle"] == pytest.approx(0.25)


def test_objects_touch_those_of_other_classes_and_predicted_numbers_count() -> None:
    prediction = np.array([[1, 1, 2, 0], [0, 0, 0, 0]], np.uint8)
    numbers = np.array([[5, 8, 8, 0], [0, 0, 0, 0]])  # 8 lies in two classes: two objects
    particle, fibre = read_shapes(prediction, prediction, 3, None, numbers)
    assert (particle.touching.truth, particle.touching.prediction) == (1, 1)
    assert (particle.aspect_ratio.truth, particle.aspect_ratio.prediction) == pytest.approx((2, 1))
    assert (fibre.touching.truth, fibre.touching.prediction) == (1, 1)


def test_pixels_without_a_number_and_ignored_ones_belong_to_no_object() -> None:
    mask = np.array([[1, 1, IGNORE, 1]], np.uint8)
    prediction = np.array([[1, 1, 1, 1]], np.uint8)
    instances = np.array([[0, 4, 4, 9]], np.uint16)
    (shapes,) = read_shapes(prediction, mask, 2, instances)
    assert shapes.touching.truth == 0
    assert shapes.aspect_ratio.truth == pytest.approx(1)
    assert shapes.aspect_ratio.prediction == pytest.approx(1.5)  # 2 by 1 and 1 by 1


def test_a_side_without_objects_has_no_shapes() -> None:
    nothing, some = np.zeros((2, 2), np.uint8), np.eye(2, dtype=np.uint8)
    row = shapes_row(read_shapes(nothing, some, 2), CLASSES[:2])
    assert row["aspect_ratio_truth/particle"] == 1
    assert row["aspect_ratio/particle"] is row["touching_error/particle"] is None
    assert set(shapes_row(read_shapes(some, 255 + nothing, 2), CLASSES[:2]).values()) == {None}


def test_aspect_ratios_as_scikit_image() -> None:
    class_map = np.kron(np.random.default_rng(2).integers(0, 2, (9, 9)), np.ones((3, 5), int))
    # scikit-image takes pixels as points, which matters less the finer they are.
    regions = regionprops(label(np.kron(class_map, np.ones((8, 8), int)), connectivity=1))
    theirs = np.median([one.axis_major_length / one.axis_minor_length for one in regions])
    (shapes,) = read_shapes(class_map, class_map.astype(np.uint8), 2)
    assert shapes.aspect_ratio.truth == pytest.approx(theirs, rel=0.01)
    assert shapes.aspect_ratio.error == 0
