"""Distance maps of labelled objects, against loops over objects."""

import numpy as np
import numpy.typing as npt
import pytest
from crowds import discs
from scipy import ndimage
from skimage.measure import label

from bench.data.items import IGNORE
from bench.objects.rules import RULES
from bench.objects.targets import distance_maps


def test_a_rod_by_hand() -> None:
    mask = np.zeros((5, 9), np.uint8)
    mask[1:4, 1:8] = 1
    maps, inside = distance_maps(mask, mask.astype(np.int32))
    assert inside.tolist() == (mask > 0).tolist()
    border, centre = maps
    assert border[2, 1:8].tolist() == [0.5, 1, 1, 1, 1, 1, 0.5]  # 1 px at the edge, 2 inside
    np.testing.assert_allclose(centre[2, 1:8] * np.sqrt(10), [3, 2, 1, 0, 1, 2, 3], rtol=1e-6)
    assert border[0, 0] == 0
    assert centre[0, 0] == 1  # outside is as far as can be


def test_touching_objects_have_a_border_between_them() -> None:
    numbers = np.zeros((7, 14), np.int32)
    numbers[:, :7], numbers[:, 7:] = 3, 5
    maps, _ = distance_maps((numbers > 0).astype(np.uint8), numbers)
    border = maps[0][3]
    assert border.argmin() in (6, 7)
    assert border[0] == border[13] == 1  # the edge of the image is not a border


def test_shares_against_a_loop_over_objects() -> None:
    rng = np.random.default_rng(0)
    numbers: npt.NDArray[np.int32] = np.zeros((60, 60), np.int32)
    for number in range(1, 9):
        row, column = rng.integers(5, 45, 2)
        numbers[row : row + 10, column : column + 7] = number
    maps, inside = distance_maps((numbers > 0).astype(np.uint8), numbers)
    assert maps.min() >= 0
    assert maps.max() <= 1
    for number in np.unique(numbers[numbers > 0]):
        own = numbers == number
        depth = ndimage.distance_transform_edt(own)  # no object is at the edge
        assert np.abs(maps[0][own] - depth[own] / depth.max()).max() < 0.2
        rows, columns = np.nonzero(own)
        middle = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
        far = np.hypot(rows - rows[middle], columns - columns[middle])
        np.testing.assert_allclose(maps[1][own], far / far.max(), atol=1e-6)
    assert inside.sum() == (numbers > 0).sum()


def test_classes_and_ignored_pixels() -> None:
    mask = np.zeros((4, 12), np.uint8)
    mask[:, :3], mask[:, 3:6], mask[:, 9:] = 1, 2, 1
    mask[0] = IGNORE
    numbers = np.where(mask > 0, 7, 0)  # one number for both classes: two objects
    maps, inside = distance_maps(mask, numbers)
    assert not inside[0].any()
    assert ((maps[1] == 0) & inside).sum() == 2  # one centre each


def test_the_pieces_of_an_object_share_centre_and_largest_distances() -> None:
    numbers = np.zeros((11, 21), np.int32)
    numbers[1:10, 1:19] = 1
    numbers[:, 10:16] = 2  # covers the first one; a strip of 3 px is seen behind it
    maps, _ = distance_maps((numbers > 0).astype(np.uint8), numbers)
    border, centre = maps
    assert ((centre == 0) & (numbers == 1)).sum() == 1
    assert border[:, :10].max() == 1
    assert border[:, 16:].max() == pytest.approx(2 / 5)  # pixels of the edge are 1 px deep
    assert centre[:, 16:].min() > 0.7  # as far as they are from the centre on the other side


@pytest.mark.parametrize("seed", range(3))
def test_perfect_maps_of_covered_discs_give_their_number(seed: int) -> None:
    """A disc of which a few pixels are seen behind another one is not a further object."""
    truth = discs(seed, 192, 160)
    classes = (truth > 0).astype(np.uint8)
    pieces, objects = label(truth, connectivity=1).max(), len(np.unique(truth[truth > 0]))
    assert pieces > 1.1 * objects
    found = RULES["distances"].separate(classes, distance_maps(classes, truth)[0])
    assert found is not None
    assert found.max() == pytest.approx(objects, rel=0.07)


def test_components_where_no_object_is_labelled() -> None:
    mask = np.zeros((5, 9), np.uint8)
    mask[1:4, 1:4] = mask[1:4, 5:8] = 1
    maps, inside = distance_maps(mask, np.zeros((5, 9), np.int32))
    assert inside.sum() == 18
    assert np.argwhere(maps[1] == 0).tolist() == [[2, 2], [2, 6]]


def test_an_image_without_objects() -> None:
    maps, inside = distance_maps(np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.int32))
    assert not inside.any()
    assert maps[0].max() == 0
