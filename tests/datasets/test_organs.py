"""The procedural CT volumes keep their card; neither brightness nor place alone solves them."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from bench.data.items import Collection, Item
from bench.data.split import split
from bench.plugins.registry import list_datasets, load_collection

AORTA, GALLBLADDER, LEFT_KIDNEY, RIGHT_KIDNEY, LIVER, PANCREAS, SPLEEN, STOMACH = range(1, 9)
MILLILITRES = {  # of adults; of the aorta, what the scan covers
    AORTA: (25, 120),
    GALLBLADDER: (10, 70),
    LEFT_KIDNEY: (80, 250),
    RIGHT_KIDNEY: (80, 250),
    LIVER: (700, 2200),
    PANCREAS: (30, 130),
    SPLEEN: (80, 400),
    STOMACH: (100, 700),
}
LEVELS = {  # median Hounsfield units over native, arterial and portal venous phase
    AORTA: (20, 350),
    GALLBLADDER: (-10, 40),
    LEFT_KIDNEY: (15, 210),
    RIGHT_KIDNEY: (15, 210),
    LIVER: (30, 130),
    PANCREAS: (5, 125),
    SPLEEN: (30, 145),
}
Array = npt.NDArray[Any]
Volume = tuple[str, tuple[Item, ...], Array, Array]


def array(pixels: object) -> Array:
    assert isinstance(pixels, np.ndarray)
    return pixels


@pytest.fixture(scope="module")
def organs() -> Any:
    return importlib.import_module("bench.datasets.organs")


@pytest.fixture(scope="module")
def collection() -> Collection:
    return load_collection("organs")


@pytest.fixture(scope="module")
def items(organs: Any) -> tuple[Item, ...]:
    """All slices of the first eight patients, which differ in phase and disease."""
    return tuple(item for number in range(8) for item in organs.draw_patient(number))


@pytest.fixture(scope="module")
def volumes(items: tuple[Item, ...]) -> list[Volume]:
    """Name, items, grey levels (D, H, W) and classes (D, H, W) of every scan."""
    scans = []
    for name in dict.fromkeys(item.volume for item in items):
        slices = tuple(item for item in items if item.volume == name)
        image, mask = (np.stack([array(getattr(s, k)) for s in slices]) for k in ("image", "mask"))
        scans.append((name, slices, image, mask))
    return scans


def dice(guess: Array, truth: Array) -> float:
    return float(2 * (guess & truth).sum() / (guess.sum() + truth.sum()))


def test_the_collection_is_what_its_card_says(organs: Any, collection: Collection) -> None:
    card, items, train = str(organs.__doc__), collection.items, split(collection).train
    counts = [len(slices) for _, slices in _scans(train)]
    assert sorted(name for name, _ in _scans(items)) == [f"patient{n:02}" for n in range(33)]
    assert f"{len(items)} axial slices of 33 volumes" in card
    assert f"all slices ({min(counts)} to {max(counts)})" in card
    assert f"{len(items)} slices of 33 volumes" in str(organs.organs.__doc__)
    background = np.mean([np.mean(array(item.mask) == 0) for item in items])
    assert f"{background:.0%}".replace("%", " % of the pixels are background") in card
    steps = [item.spacing_mm[0] for item in train if item.spacing_mm]
    heights = [item.spacing_mm[1] for item in items if item.spacing_mm]
    assert f"{min(steps):.1f} to {max(steps):.1f} mm from slice to slice" in card
    assert f"pixels of {min(heights):.1f} to {max(heights):.1f} mm" in card
    for item in items:
        assert array(item.image).shape == array(item.mask).shape == (192, 192)
        assert array(item.image).dtype == array(item.mask).dtype == np.uint8


def _scans(items: Sequence[Item]) -> list[tuple[str, list[Item]]]:
    names = dict.fromkeys(item.volume for item in items)
    return [(name, [item for item in items if item.volume == name]) for name in names]


def test_classes_are_those_of_synapse() -> None:
    known = {dataset.name: dataset for dataset in list_datasets()}
    assert known["organs"].classes == known["synapse"].classes
    assert known["organs"].images_may_be_shown
    assert not known["organs"].in_files


def test_a_scan_is_complete_ordered_and_of_one_patient(items: tuple[Item, ...]) -> None:
    at = 0
    for name, slices in _scans(items):
        assert items[at : at + len(slices)] == tuple(slices)  # side by side
        at += len(slices)
        assert [s.name for s in slices] == [f"{name}_slice{k:02}" for k in range(len(slices))]
        assert {s.group for s in slices} == {name}
        assert len({s.spacing_mm for s in slices}) == 1


def test_spacings_are_anisotropic_and_differ(items: tuple[Item, ...]) -> None:
    spacings = {slices[0].spacing_mm for _, slices in _scans(items)}
    assert len(spacings) == 8
    for spacing in spacings:
        assert spacing is not None
        distance, height, width = spacing
        assert height == width
        assert 3.5 < distance / height < 8


def centres(mask: Array) -> dict[int, Array]:
    """Slice, row and column of the middle of every organ that is there."""
    found = [organ for organ in MILLILITRES if (mask == organ).any()]
    middles = ndimage.center_of_mass(np.ones_like(mask), mask, found)
    return dict(zip(found, np.array(middles), strict=True))


def test_slices_run_from_the_feet_to_the_head(volumes: list[Volume]) -> None:
    """Organs lie in the order of the body, and neighbours look more alike than distant slices."""
    for _, _, image, mask in volumes:
        height = {organ: middle[0] for organ, middle in centres(mask).items()}
        assert height[RIGHT_KIDNEY] < height[LEFT_KIDNEY] < height[LIVER]
        steps, jumps = (np.abs(image[by:].astype(np.float32) - image[:-by]).mean() for by in (1, 4))
        assert steps < 0.8 * jumps


def test_right_lies_on_the_left_and_the_front_on_top(volumes: list[Volume]) -> None:
    for _, _, _, mask in volumes:
        middle = centres(mask)
        row = {organ: at[1] for organ, at in middle.items()}
        column = {organ: at[2] for organ, at in middle.items()}
        assert column[RIGHT_KIDNEY] < 90 < 102 < column[LEFT_KIDNEY]
        assert column[LIVER] < 90 < 102 < min(column[SPLEEN], column[STOMACH])
        assert column.get(GALLBLADDER, 0) < 90
        assert row[STOMACH] < row[AORTA] < min(row[LEFT_KIDNEY], row[RIGHT_KIDNEY])


def test_slices_and_patients_miss_organs(volumes: list[Volume]) -> None:
    without = [name for name, _, _, mask in volumes if not (mask == GALLBLADDER).any()]
    assert without == ["patient02", "patient06"]
    for name, _, _, mask in volumes:
        shown = [set(np.unique(layer)) - {0} for layer in mask]
        assert set().union(*shown) == set(range(1, 9)) - (
            {GALLBLADDER} if name in without else set()
        )
        assert sum(len(organs) < 8 for organs in shown) > len(shown) / 2
        assert max(map(len, shown)) >= 6


def test_organs_have_the_volumes_of_adults(volumes: list[Volume]) -> None:
    for name, slices, _, mask in volumes:
        voxel = np.prod(slices[0].spacing_mm or ()) / 1000
        for organ in set(np.unique(mask)) - {0}:
            low, high = MILLILITRES[organ]
            assert low < np.count_nonzero(mask == organ) * voxel < high, (name, organ)


def test_organs_have_the_hounsfield_units_of_their_phase(
    organs: Any, volumes: list[Volume]
) -> None:
    aortas: dict[str, list[float]] = {}
    for (name, _, image, mask), phase in zip(volumes, organs.PHASES, strict=True):
        median = {
            k: np.median(image[mask == k]) / 255 * 400 - 125 for k in LEVELS if (mask == k).any()
        }
        for organ, value in median.items():
            assert LEVELS[organ][0] < value < LEVELS[organ][1], (name, organ)
        aortas.setdefault(phase, []).append(median[AORTA])
        if phase == "arterial":  # the cortex is first
            assert median[AORTA] > median[SPLEEN] > median[LIVER]
    assert max(aortas["native"]) < 70 < min(aortas["portal"])
    assert max(aortas["portal"]) < 200 < min(aortas["arterial"])


def test_grey_levels_are_the_window_of_synapse(organs: Any, items: tuple[Item, ...]) -> None:
    _, hu, _ = organs.draw_volume(0)
    image = np.stack([array(item.image) for item in items if item.group == "patient00"])
    assert hu.min() < -900
    assert hu.max() > 400
    np.testing.assert_array_equal(image[hu <= -125], 0)
    np.testing.assert_array_equal(image[hu >= 275], 255)
    inside = (hu > -125) & (hu < 275)
    np.testing.assert_allclose(image[inside], (hu[inside] + 125) / 400 * 255, atol=0.51)


def test_brightness_alone_does_not_find_the_organs(volumes: list[Volume]) -> None:
    """Even the band of grey levels that holds 90 % of an organ, taken from the truth."""
    scores: dict[int, list[float]] = {organ: [] for organ in MILLILITRES}
    for _, _, image, mask in volumes:
        for organ in set(np.unique(mask)) - {0}:
            low, high = np.quantile(image[mask == organ], [0.05, 0.95])
            scores[organ].append(dice((image >= low) & (image <= high), mask == organ))
    means = {organ: np.mean(values) for organ, values in scores.items()}
    assert means.pop(LIVER) < 0.6
    assert max(means.values()) < 0.15


def test_place_alone_does_not_find_the_organs(volumes: list[Volume]) -> None:
    """The commonest class at each place of the other patients, scans brought to one height."""
    masks = [mask[np.linspace(0, len(mask) - 1, 13).round().astype(int)] for *_, mask in volumes]
    shown = [mask[..., None] == np.arange(9) for mask in masks]
    counts = np.sum(shown, axis=0, dtype=np.int8)
    means = []
    for mask, own in zip(masks, shown, strict=True):
        guess = (counts - own).argmax(-1)
        means.append(
            np.mean([dice(guess == k, mask == k) for k in range(1, 9) if own[..., k].any()])
        )
    assert 0.2 < np.mean(means) < 0.6


def test_liver_spleen_and_stomach_wall_are_no_further_apart_than_the_noise(
    organs: Any,
) -> None:
    gaps = []
    for number in range(8):
        patient = organs.draw_anatomy(np.random.default_rng((organs.SEED, number)), number)
        levels = patient.levels
        gaps.append(np.ptp([levels.liver, levels.spleen, levels.pancreas]) / patient.noise)
    assert np.median(gaps) < 3


@pytest.mark.parametrize("slope", [0, 1, 3])
def test_a_border_is_smeared_as_far_as_it_runs_within_the_slice(organs: Any, slope: int) -> None:
    """A slanting plane goes `slope` times the thickness to the right from bottom to top."""
    rng = np.random.default_rng(1)
    scan = organs.Scan(rng, organs.draw_anatomy(rng, 0))
    z, _, x = np.ix_(*scan.axes)
    away = np.broadcast_to((x - slope * (z + 20)) / np.hypot(1, slope), scan.shape)
    scan.levels[:] = 0
    scan.paint(scan.everywhere(away), 100.0, LIVER)
    np.testing.assert_array_equal(scan.labels == LIVER, scan.levels > 50)
    middle = scan.shape[0] // 2
    partly = np.count_nonzero((scan.levels[middle, 0] > 1) & (scan.levels[middle, 0] < 99))
    thickness, _, pixel = scan.patient.spacing
    blur = np.hypot(1, slope)  # a pixel's share, along the border
    assert partly == pytest.approx(slope * thickness / pixel + blur, abs=2)


def test_two_calls_draw_the_same(organs: Any, items: tuple[Item, ...]) -> None:
    """Whatever was drawn before."""
    first = [item for item in items if item.group == "patient05"]
    for item, again in zip(first, organs.draw_patient(5), strict=True):
        assert (item.name, item.group, item.volume) == (again.name, again.group, again.volume)
        assert item.spacing_mm == again.spacing_mm
        np.testing.assert_array_equal(array(item.image), array(again.image))
        np.testing.assert_array_equal(array(item.mask), array(again.mask))
    assert len({array(item.image).tobytes() for item in items}) == len(items)


def test_no_patient_is_on_both_sides_of_a_split(collection: Collection) -> None:
    parts = split(collection)
    sides = [{item.volume for item in part} for part in (parts.train, parts.val, parts.test)]
    assert len(set().union(*sides)) == sum(map(len, sides))
    assert list(map(len, sides)) == [5, 4, 24]


def test_every_second_slice_of_a_patient_is_that_of_the_whole_scan(
    organs: Any, collection: Collection
) -> None:
    kept = [item for item in collection.items if item.group == "patient07"]
    whole = organs.draw_patient(7)
    for item, full in zip(kept, whole[::2], strict=True):
        assert item.name == full.name
        np.testing.assert_array_equal(array(item.image), array(full.image))
        assert item.spacing_mm == (2 * full.spacing_mm[0], *full.spacing_mm[1:])
