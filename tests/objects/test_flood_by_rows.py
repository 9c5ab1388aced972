"""Objects of images that come in bands: those of the whole image, in the memory of a few rows."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from crowds import Stored, discs
from object_definitions import Comparison
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed
from torchmetrics.detection import PanopticQuality

from bench.metrics.objects import score_objects
from bench.objects.depths import depths, depths_of_rows
from bench.objects.flood import Flood, flood
from bench.objects.rules import RULES
from bench.objects.targets import distance_maps

FLOODED = ("watershed", "distances")


def hills(
    seed: int, shape: tuple[int, int] = (70, 60), width: float = 2
) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(ndimage.gaussian_filter(noise, width), np.float32)


def in_bands(
    heights: npt.NDArray[np.float32], classes: npt.NDArray[np.uint8], depth: float, cuts: list[int]
) -> npt.NDArray[np.int32]:
    rows = Flood(depth)
    parts = zip(np.split(classes, cuts), np.split(heights, cuts), strict=True)
    pieces = [rows.add(*part) for part in parts]
    last, regions = rows.finish()
    return np.asarray(regions[np.concatenate([*pieces, last])])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", [1000, 12])
def test_cuts_make_no_difference(seed: int, steps: int) -> None:
    """With 12 steps there are plateaus, on which only the order of the pixels decides."""
    heights = hills(seed)
    heights = np.asarray(np.round(heights / heights.max() * steps) / steps, np.float32)
    classes = (hills(seed + 50) > 0).astype(np.uint8) + (hills(seed + 90) > 0)
    expected = flood(heights, classes, 0.2)
    assert expected.max() > 20
    rng = np.random.default_rng(seed)
    for cuts in (list(range(1, 70)), [35], sorted(rng.choice(np.arange(1, 70), 9, replace=False))):
        np.testing.assert_array_equal(in_bands(heights, classes, 0.2, cuts), expected)


@pytest.mark.parametrize("seed", range(4))
def test_regions_are_basins_of_scikit_image_joined_to_h_maxima(seed: int) -> None:
    """Each region has one h-maximum of the reconstruction, and consists of whole basins."""
    heights = hills(seed)
    depth = 0.4 * float(heights.std())
    regions = flood(heights, np.ones(heights.shape, np.uint8), depth)
    basins = watershed(-heights, label(local_maxima(heights, connectivity=1), connectivity=1))
    pairs = np.unique(np.stack([basins.ravel(), regions.ravel()]), axis=1)
    assert pairs.shape[1] == basins.max() > regions.max()
    filled = reconstruction(heights - np.float32(depth), heights, footprint=np.ones((3, 3)))
    seeds = label(local_maxima(filled), connectivity=2)
    pairs = np.unique(np.stack([seeds[seeds > 0], regions[seeds > 0]]), axis=1)
    assert pairs.shape[1] == seeds.max() == regions.max() == len(np.unique(pairs[1]))


@pytest.mark.parametrize("rule", FLOODED)
def test_an_object_longer_than_many_bands_is_one(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.objects.stored.BAND_PX", 60 * 3)
    monkeypatch.setattr("bench.objects.depths.AROUND_PX", 2)
    truth = np.zeros((300, 60), np.int32)
    truth[10:290, 5:25] = 1
    truth[10:290, 25:45] = 2  # touches the first over 280 rows
    classes = (truth > 0).astype(np.uint8)
    maps, _ = distance_maps(classes, truth)
    stored = Stored(classes, maps)
    RULES[rule].separate_stored(stored, stored)
    whole = RULES[rule].separate(classes, maps)
    np.testing.assert_array_equal(stored.numbers, whole)
    assert stored.numbers.max() == (2 if rule == "distances" else 1)  # no waist in between


@pytest.mark.parametrize("rule", FLOODED)
@pytest.mark.parametrize("seed", range(3))
def test_stitched_objects_are_those_of_the_whole_image(
    rule: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.objects.stored.BAND_PX", 160 * 7)
    monkeypatch.setattr("bench.objects.depths.AROUND_PX", 4)
    truth = discs(seed, 160, 90)
    classes = np.where(truth > 0, 1 + truth % 2, 0).astype(np.uint8)
    maps, _ = distance_maps(classes, truth)
    maps = np.asarray(ndimage.gaussian_filter(maps, (0, 1, 1)))  # as a model blurs them
    stored = Stored(classes, maps)
    RULES[rule].separate_stored(stored, stored)
    np.testing.assert_array_equal(stored.numbers, RULES[rule].separate(classes, maps))
    assert stored.numbers.max() > 50
    assert stored.most_rows < 60


def test_distances_of_rows_read_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.objects.depths.AROUND_PX", 2)
    classes = np.zeros((200, 60), np.uint8)
    classes[20:180, 5:35] = 1
    classes[60:100, 15:25] = 2
    whole = depths(classes)
    assert whole.max() == 15  # half of the width of the first class
    for start in range(0, 200, 20):
        stored = Stored(classes)
        rows = depths_of_rows(stored.classes, start, start + 20, 200)
        np.testing.assert_array_equal(rows, whole[start : start + 20])
        assert stored.most_rows <= 20 + 2 * 32
    np.testing.assert_array_equal(depths(np.ones((5, 4), np.uint8)), np.full((5, 4), 2048))


def test_distances_above_the_limit_are_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.objects.depths.AROUND_PX", 1)
    monkeypatch.setattr("bench.objects.depths.MOST_PX", 6)
    classes = np.ones((100, 30), np.uint8)
    classes[50, 15] = 0
    stored = Stored(classes)
    rows = [depths_of_rows(stored.classes, top, top + 10, 100) for top in range(0, 100, 10)]
    np.testing.assert_array_equal(np.concatenate(rows), depths(classes))
    assert stored.most_rows <= 10 + 2 * 16
    assert depths(classes).max() == 6


@pytest.mark.parametrize("rule", FLOODED)
def test_pq_and_ap_of_stitched_objects(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against torchmetrics (PQ), and plain loops with scipy's assignment (AP, DQ, AJI+)."""
    monkeypatch.setattr("bench.objects.stored.BAND_PX", 96 * 5)
    truth = discs(3, 96, 26)
    shifted = np.roll(truth, 1, 0)  # a prediction that is not perfect
    classes = (shifted > 0).astype(np.uint8)
    stored = Stored(classes, distance_maps(classes, shifted)[0])
    RULES[rule].separate_stored(stored, stored)
    score, plain = score_objects(stored.numbers, truth), Comparison(stored.numbers, truth)
    metric = PanopticQuality(things={1}, stuffs={0}, return_per_class=True)
    maps = [np.stack([one > 0, one], -1).astype(np.int64) for one in (stored.numbers, truth)]
    metric.update(*(torch.from_numpy(one)[None] for one in maps))
    assert score.pq == pytest.approx(float(metric.compute().flatten()[0]), abs=1e-6)
    above, below = plain.ap()
    assert score.ap == pytest.approx(float((above / below).mean()))
    matched, objects = plain.dq()
    assert score.dq == pytest.approx(matched / objects)
    above, below = plain.aji_plus()
    assert score.aji_plus == pytest.approx(above / below)
    assert score.pq is not None
    assert 0.3 < score.pq < 1
