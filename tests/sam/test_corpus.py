"""The corpus keeps its contract and its variety."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from bench.sam.nano.corpus import MIN_AREA, MIN_RANGE, make_scene
from bench.sam.nano.domains import (
    STYLES,
    lamellae,
    make_domain_scene,
    packed_cells,
    walled_cells,
)
from bench.sam.nano.outlines import KINDS

Layout = Callable[[np.random.Generator, int], npt.NDArray[np.int32]]
Style = Callable[[np.random.Generator, npt.NDArray[np.int32]], npt.NDArray[np.float32]]
Scene = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = np.random.default_rng(0)
    return [make_scene(rng) for _ in range(200)]


def test_scene_is_determined_by_the_seed() -> None:
    first, again, other = (make_scene(np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_every_object_is_numbered_and_large_enough(scenes: list[Scene]) -> None:
    for image, instances in scenes:
        assert image.shape == (256, 256, 3)
        assert image.dtype == np.uint8
        assert instances.shape == (256, 256)
        assert instances.dtype == np.uint16
        areas = np.bincount(instances.ravel())
        assert len(areas) > 1
        assert areas[1:].min() >= MIN_AREA


def test_counts_span_one_to_over_a_hundred(scenes: list[Scene]) -> None:
    counts = np.array([instances.max() for _, instances in scenes])
    assert counts.min() == 1
    assert counts.max() > 100
    assert 4 < np.median(counts) < 60


def test_grey_and_colour_both_occur(scenes: list[Scene]) -> None:
    grey = np.mean([(image[..., :1] == image).all() for image, _ in scenes])
    assert 0.3 < grey < 0.7


def test_no_scene_is_blank(scenes: list[Scene]) -> None:
    assert min(int(np.ptp(image)) for image, _ in scenes) >= MIN_RANGE


def test_most_objects_differ_from_their_surroundings(scenes: list[Scene]) -> None:
    steps = []
    for image, instances in scenes:
        inside = instances > 0
        if not inside.all():
            steps.append(np.abs(image[inside].mean(0) - image[~inside].mean(0)).max())
    assert np.mean(np.array(steps) > 6) > 0.9


def test_other_sizes_are_drawn_too() -> None:
    image, instances = make_scene(np.random.default_rng(1), size=128)
    assert image.shape == (128, 128, 3)
    assert instances.shape == (128, 128)


@pytest.mark.parametrize("kind", KINDS)
def test_outline_fits_the_unit_circle(kind: object) -> None:
    assert callable(kind)
    for seed in range(20):
        corners = kind(np.random.default_rng(seed))
        assert corners.ndim == 2
        assert corners.shape[1] == 2
        assert 0.3 < np.abs(corners).max() < 1.6


def test_scenes_like_micrographs_keep_the_same_contract() -> None:
    counts = []
    for seed in range(60):
        image, instances = make_domain_scene(np.random.default_rng(seed), 128)
        assert image.shape == (128, 128, 3)
        assert image.dtype == np.uint8
        assert instances.dtype == np.uint16
        areas = np.bincount(instances.ravel(), minlength=2)
        assert areas[1:].min() >= MIN_AREA
        assert np.ptp(image) >= MIN_RANGE
        counts.append(len(areas) - 1)
    assert np.median(counts) > 15
    again = make_domain_scene(np.random.default_rng(59), 128)
    np.testing.assert_array_equal(again[0], image)


@pytest.mark.parametrize("layout", [packed_cells, walled_cells, lamellae])
def test_objects_of_each_layout_lie_close(layout: Layout) -> None:
    shares = [(layout(np.random.default_rng(seed), 128) > 0).mean() for seed in range(20)]
    assert 0.3 < np.mean(shares) < 0.98


@pytest.mark.parametrize("style", STYLES)
def test_each_style_shows_its_objects(style: Style) -> None:
    instances = np.zeros((64, 64), np.int32)
    instances[10:30, 10:30], instances[34:54, 30:50] = 1, 2
    for seed in range(10):
        canvas = style(np.random.default_rng(seed), instances)
        assert canvas.shape[:2] == (64, 64)
        assert np.isfinite(canvas).all()
        assert np.ptp(canvas) > 0.02
