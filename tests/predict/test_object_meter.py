"""Objects and readings of class maps that come band by band."""

import numpy as np
import pytest
from skimage.measure import regionprops

from bench.metrics.object_meter import ObjectMeter, Objects
from bench.metrics.objects import label_objects
from bench.metrics.readings import read_image
from bench.predict.table import readings_row


def blobs(seed: int, height: int = 60, width: int = 50) -> np.ndarray:
    """A class map with three classes in crowded blobs of all shapes."""
    coarse = np.random.default_rng(seed).integers(0, 3, (height // 4 + 1, width // 3 + 1))
    return np.kron(coarse, np.ones((4, 3)))[:height, :width].astype(np.uint8)


def measured(classes: np.ndarray, heights: list[int], min_area: int = 1) -> Objects:
    meter = ObjectMeter(3)
    for rows in np.split(classes, np.cumsum(heights)[:-1]):
        meter.add(rows)
    return meter.finish(min_area)


@pytest.mark.parametrize("heights", [[60], [1] * 60, [7, 1, 20, 32], [30, 30]])
@pytest.mark.parametrize("seed", [0, 1])
def test_bands_give_the_objects_of_the_whole_map(heights: list[int], seed: int) -> None:
    classes = blobs(seed)
    objects = measured(classes, heights)
    for index in (1, 2):
        numbers = label_objects(classes, index)
        areas = np.bincount(numbers.ravel())[1:]
        ours = objects.areas[objects.classes == index]
        assert sorted(ours.tolist()) == sorted(areas[areas > 0].tolist())


def test_a_u_whose_arms_meet_in_the_last_band_is_one_object() -> None:
    classes = np.zeros((5, 5), np.uint8)
    classes[:, [0, 4]] = 1
    classes[4] = 1
    objects = measured(classes, [1, 1, 1, 1, 1])
    assert objects.areas.tolist() == [13]
    assert objects.columns.tolist() == [2.0]
    assert objects.rows[0] == pytest.approx((2 * (0 + 1 + 2 + 3) + 5 * 4) / 13)


def test_small_objects_are_left_out() -> None:
    classes = np.zeros((4, 8), np.uint8)
    classes[0, 0] = 1
    classes[2:, 4:] = 2
    assert measured(classes, [4], 2).areas.tolist() == [8]
    assert len(measured(np.zeros_like(classes), [2, 2])) == 0


@pytest.mark.parametrize("heights", [[60], [7, 1, 20, 32]])
def test_aspect_ratios_are_those_of_scikit_image_on_finer_pixels(heights: list[int]) -> None:
    # scikit-image takes pixels as points, which matters less the finer they are.
    classes = blobs(4)
    objects = measured(classes, heights)
    for index in (1, 2):
        regions = regionprops(np.kron(label_objects(classes, index), np.ones((8, 8), int)))
        theirs = [one.axis_major_length / one.axis_minor_length for one in regions]
        ours = objects.aspects[objects.classes == index]
        assert sorted(ours) == pytest.approx(sorted(theirs), rel=0.01)


def test_a_straight_line_of_many_pixels_is_as_long_as_its_pixels() -> None:
    classes = np.zeros((3, 20_000), np.uint8)
    classes[1] = 1
    assert measured(classes, [3]).aspects == pytest.approx([20_000])


@pytest.mark.parametrize("heights", [[4], [1, 1, 1, 1], [2, 2]])
def test_objects_touch_others_across_bands_and_classes(heights: list[int]) -> None:
    classes = np.array([[1, 1, 0, 1], [1, 1, 0, 0], [2, 2, 0, 1], [0, 0, 2, 0]], np.uint8)
    objects = measured(classes, heights)
    assert objects.areas.tolist() == [1, 4, 1, 2, 1]
    assert objects.touching.tolist() == [False, True, False, True, False]


def test_numbers_of_a_model_that_separates_objects_are_kept_apart() -> None:
    classes = np.ones((2, 4), np.uint8)
    numbers = np.array([[3, 3, 9, 9], [3, 3, 9, 9]])
    meter = ObjectMeter(2)
    meter.add(classes, numbers)
    objects = meter.finish()
    assert objects.areas.tolist() == [4, 4]
    assert objects.touching.tolist() == [True, True]


def test_readings_are_those_of_the_metrics() -> None:
    classes = blobs(3)
    counts = np.bincount(classes.ravel(), minlength=3).tolist()
    row = readings_row(counts, measured(classes, [13, 47]), ("a", "b", "c"), 0.5)
    theirs = read_image(classes, classes, 3, pixel_size=0.5).to_row(("a", "b", "c"))
    for name, value in row.items():
        if not name.startswith(("aspect_ratio", "touching")):
            assert value == pytest.approx(theirs[name]), name
