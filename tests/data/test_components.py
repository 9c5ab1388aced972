"""Connected components: against scikit-image, and a worked example."""

import numpy as np
import pytest
from skimage import measure

from bench.data.components import label_components


def test_a_corner_connects_only_if_asked() -> None:
    mask = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [2, 0, 0]])
    assert label_components(mask).tolist() == [[1, 0, 0], [0, 2, 2], [0, 0, 0], [3, 0, 0]]
    diagonal = label_components(mask, diagonal=True)
    assert diagonal.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0], [2, 0, 0]]


@pytest.mark.parametrize("diagonal", [False, True])
def test_components_are_those_of_scikit_image(diagonal: bool) -> None:
    mask = np.random.default_rng(0).random((60, 80)) < 0.5
    expected = measure.label(mask, connectivity=2 if diagonal else 1)
    assert np.array_equal(label_components(mask, diagonal=diagonal), expected)
