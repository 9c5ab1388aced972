"""The procedural collections keep their cards and are no matter of brightness alone."""

import functools
import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu

from bench.data.items import Item
from bench.data.split import split
from bench.draw import texture
from bench.plugins.registry import load_collection

ROOT = Path(__file__).parents[2]
GROUPS = {"particles": 16, "nuclei": 14, "camouflage": 16, "shadow": 16}
COLOUR = {"particles": False, "nuclei": True, "camouflage": True, "shadow": True}
BRIGHTNESS = {"particles": 0.86, "nuclei": 0.8, "camouflage": 0.35, "shadow": 0.8}
Array = npt.NDArray[Any]


@functools.cache
def module(name: str) -> Any:
    return importlib.import_module(f"bench.datasets.{name}")


@functools.cache
def drawn(name: str) -> tuple[Item, ...]:
    """One image of every group, the first and the second in turn."""
    return tuple(module(name).draw_item(number, number % 2) for number in range(GROUPS[name]))


def array(pixels: object) -> Array:
    assert isinstance(pixels, np.ndarray)
    return pixels


def assert_equal(item: Item, again: Item) -> None:
    assert (item.name, item.group) == (again.name, again.group)
    np.testing.assert_array_equal(array(item.image), array(again.image))
    np.testing.assert_array_equal(array(item.mask), array(again.mask))
    assert (item.instances is None) == (again.instances is None)
    if item.instances is not None:
        np.testing.assert_array_equal(array(item.instances), array(again.instances))


@pytest.mark.slow
@pytest.mark.parametrize("name", GROUPS)
def test_the_collection_is_what_its_card_says(name: str) -> None:
    collection = load_collection(name)
    parts = split(collection)
    for part, groups, images in (
        (parts.train, len(module(name).TRAINING), 2),
        (parts.val, 8, 1),
        (parts.test, 24, 1),
    ):
        assert list(Counter(item.group for item in part).values()) == [images] * groups
    assert len({item.name for item in collection.items}) == len(collection.items)
    assert len({array(item.image).tobytes() for item in collection.items}) == len(collection.items)
    for number, item in zip(module(name).TEST, parts.test, strict=True):
        assert_equal(item, module(name).draw_item(number, 0))  # the same whatever was drawn before
    if collection.items[0].instances is not None:
        counts = [array(item.instances).max() for item in collection.items]
        assert f"{min(counts)} to {max(counts)} an image" in str(module(name).__doc__)


@pytest.mark.parametrize("name", GROUPS)
def test_an_image_shows_every_class_and_has_the_size_of_the_card(name: str) -> None:
    shape = (256, 256, 3) if COLOUR[name] else (256, 256)
    for item in drawn(name):
        assert array(item.image).shape == shape
        assert array(item.mask).shape == (256, 256)
        assert array(item.image).dtype == array(item.mask).dtype == np.uint8
        shares = np.bincount(array(item.mask).ravel()) / array(item.mask).size
        assert len(shares) == 2
        assert shares.min() > 0.02
        assert array(item.image).std() > 3


@pytest.mark.parametrize("name", GROUPS)
def test_groups_and_images_differ_and_are_drawn_again_alike(name: str) -> None:
    items = drawn(name)
    assert len({item.group for item in items}) == len(items)
    assert len({array(item.image).tobytes() for item in items}) == len(items)
    assert_equal(items[3], module(name).draw_item(3, 1))
    assert module(name).draw_item(3, 0).group == items[3].group


@pytest.mark.parametrize("name", GROUPS)
def test_brightness_alone_does_not_solve_it(name: str) -> None:
    """Otsu's threshold on the grey image, the better of both sides."""
    scores = []
    for item in drawn(name):
        image, truth = array(item.image), array(item.mask) == 1
        grey = image if image.ndim == 2 else image.mean(2)
        bright = grey > threshold_otsu(grey)
        scores.append(
            max(2 * (g & truth).sum() / (g.sum() + truth.sum()) for g in (bright, ~bright))
        )
    assert np.mean(scores) < BRIGHTNESS[name]


@pytest.mark.parametrize("name", ["particles", "nuclei"])
def test_instances_number_what_the_mask_covers(name: str) -> None:
    for item in drawn(name):
        instances = array(item.instances)
        assert instances.dtype == np.uint16
        np.testing.assert_array_equal(instances > 0, array(item.mask) == 1)
        areas = np.bincount(instances.ravel())[1:]
        assert areas.min() >= 12  # numbered without gaps, none too small to be seen


@pytest.mark.parametrize(("name", "least"), [("particles", 2.5), ("nuclei", 1.2)])
def test_objects_touch(name: str, least: float) -> None:
    """Components of the mask are no count of the objects: that is what makes them hard."""
    ratios = [
        array(item.instances).max() / ndimage.label(array(item.mask))[1] for item in drawn(name)
    ]
    assert np.median(ratios) > least
    assert max(array(item.instances).max() for item in drawn(name)) > 200


def test_animals_have_the_colours_of_their_surroundings() -> None:
    """Mean colours differ by less than the scatter of the surroundings."""
    apart = []
    for item in drawn("camouflage"):
        pixels, animal = array(item.image).astype(float), array(item.mask) == 1
        beside = ndimage.binary_dilation(animal, iterations=12) & ~animal
        gap = np.abs(pixels[animal].mean(0) - pixels[beside].mean(0)).mean()
        apart.append(gap / pixels[beside].std(0).mean())
    assert np.median(apart) < 0.6
    assert max(apart) < 1.5


def test_shadows_dim_the_ground_and_keep_its_texture() -> None:
    for item in drawn("shadow"):
        pixels, dark = array(item.image).astype(float), array(item.mask) == 1
        core = ndimage.binary_erosion(dark, iterations=3)
        ring = ndimage.binary_dilation(dark, iterations=12)
        lit = ring & ~ndimage.binary_dilation(dark, iterations=4)
        assert 0.25 < pixels[core].mean() / pixels[lit].mean() < 0.9
        assert pixels[core].std() / pixels[core].mean() > 0.05
        warmth = pixels[..., 0] / (pixels[..., 2] + 1)
        assert np.median(warmth[core]) < np.median(warmth[lit])  # the sky is bluer than the sun


def test_drawing_does_not_import_torch() -> None:
    code = (
        "import sys; from bench.plugins.registry import load_collection; import importlib\n"
        f"for name in {list(GROUPS)}: importlib.import_module('bench.datasets.' + name)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_a_pile_shows_the_last_on_top_and_drops_what_is_hidden() -> None:
    def disc(y: float, x: float, radius: float) -> tuple[texture.Window, texture.Field]:
        at = texture.window((40, 40), (y, x), radius + 2)
        return at, texture.wavy_ellipse(
            *texture.axis_coordinates(at, (radius, radius), 0), np.zeros((0, 2))
        )

    under, hidden, over, outside = disc(20, 14, 8), disc(20, 22, 3), disc(20, 24, 8), disc(90, 5, 4)
    labels, kept = texture.pile((40, 40), [under, hidden, over, outside], smallest=5, share=0.3)
    assert kept == [0, 2]
    assert (labels[20, 10], labels[20, 20], labels[20, 30], labels[5, 5]) == (1, 2, 2, 0)
    assert np.count_nonzero(labels == 2) == pytest.approx(np.pi * 64, rel=0.05)


def test_the_first_axis_points_where_it_is_turned() -> None:
    at = texture.window((60, 60), (30, 20), 25)
    along, across = texture.axis_coordinates(
        at, (10, 5), np.pi / 2
    )  # the long axis runs down the rows
    inside = np.zeros((60, 60), bool)
    inside[at.place] = texture.wavy_ellipse(along, across, np.zeros((0, 2))) < 1
    rows, columns = np.nonzero(inside)
    assert (int(np.ptp(rows)), int(np.ptp(columns))) == (18, 8)
    assert (float(rows.mean()), float(columns.mean())) == (30, 20)
