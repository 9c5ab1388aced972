"""The procedural steel micrographs keep their card and are no matter of brightness alone."""

import itertools
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from skimage.filters import threshold_multiotsu

from bench.data.items import Collection, Item
from bench.data.split import split
from bench.plugins.drawn import forget_drawn
from bench.plugins.registry import load_collection

Array = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def steel() -> Collection:
    return load_collection("steel")


def arrays(item: Item) -> tuple[Array, Array]:
    assert isinstance(item.image, np.ndarray)
    assert isinstance(item.mask, np.ndarray)
    return item.image, item.mask


def dice(guess: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    return float(2 * (guess & truth).sum() / (guess.sum() + truth.sum()))


def test_counts_groups_and_sizes_are_those_of_the_card(steel: Collection) -> None:
    assert len({item.name for item in steel.items}) == 47
    assert steel.classes == ("matrix", "carbide network", "spheroidite")
    parts = split(steel)
    for part, groups, fields in ((parts.train, 5, 3), (parts.val, 8, 1), (parts.test, 24, 1)):
        assert [*Counter(item.group for item in part).values()] == [fields] * groups
    for image, mask in map(arrays, steel.items):
        assert image.shape == mask.shape == (384, 512)
        assert image.dtype == mask.dtype == np.uint8


def test_every_image_shows_every_class(steel: Collection) -> None:
    for _, mask in map(arrays, steel.items):
        shares = np.bincount(mask.ravel()) / mask.size
        assert len(shares) == 3
        assert shares.min() > 0.03


def test_two_calls_draw_the_same(steel: Collection) -> None:
    forget_drawn("steel")
    for first, again in zip(
        map(arrays, steel.items), map(arrays, load_collection("steel").items), strict=True
    ):
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])


def test_images_differ(steel: Collection) -> None:
    assert len({arrays(item)[0].tobytes() for item in steel.items}) == 47


def test_brightness_alone_does_not_tell_the_carbides_apart(steel: Collection) -> None:
    """Three levels by Otsu, named in the way that suits the truth best, stay below 0.6."""
    scores = []
    for image, mask in map(arrays, steel.items):
        levels = np.digitize(image, threshold_multiotsu(image))
        named = [
            [dice(levels == level, mask == k) for k, level in enumerate(order)]
            for order in itertools.permutations(range(3))
        ]
        scores.append(max(named, key=sum))
    assert np.mean(scores, 0)[1:].max() < 0.6


def test_the_network_lies_free_of_particles(steel: Collection) -> None:
    """Beside the network is a denuded zone: its neighbours are mostly matrix."""
    for _, mask in map(arrays, steel.items):
        beside = mask[:, 1:][(mask[:, :-1] == 1) & (mask[:, 1:] != 1)]
        assert np.mean(beside == 0) > 0.8
