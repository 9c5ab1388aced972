"""The rules of `--objects`, against scikit-image's h-maxima, torchmetrics and worked examples."""

import time

import numpy as np
import numpy.typing as npt
import pytest
import torch
from crowds import discs
from object_definitions import Comparison
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import local_maxima, reconstruction
from torchmetrics.detection import PanopticQuality

from bench.errors import UserError
from bench.metrics.objects import score_objects
from bench.objects.flood import flood
from bench.objects.rules import LOG_DEPTH, RULES, get_rule
from bench.objects.targets import distance_maps
from bench.spec import Task


def seeds_by_reconstruction(heights: npt.NDArray[np.float32], depth: float) -> int:
    """Number of h-maxima as books define it: regional maxima of the reconstruction of f - h."""
    filled = reconstruction(heights - np.float32(depth), heights, footprint=np.ones((3, 3)))
    return int(label(local_maxima(filled), connectivity=2).max())


def test_two_discs_that_touch_are_two_objects() -> None:
    rows, columns = np.mgrid[:40, :60]
    one = (rows - 20) ** 2 + (columns - 20) ** 2 < 100
    other = (rows - 20) ** 2 + (columns - 38) ** 2 < 100
    classes = (one | other).astype(np.uint8)
    assert ndimage.label(classes)[1] == 1
    numbers = RULES["watershed"].separate(classes)
    assert numbers is not None
    assert numbers.max() == 2
    assert (numbers > 0).tolist() == (classes > 0).tolist()
    assert numbers[20, 15] != numbers[20, 43]
    assert RULES["components"].separate(classes) is None


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_seeds_do_not_depend_on_the_size_of_the_objects(scale: int) -> None:
    rows, columns = np.mgrid[: 60 * scale, : 90 * scale] / scale
    one = (rows - 30) ** 2 + (columns - 25) ** 2 < 20**2
    other = (rows - 30) ** 2 + (columns - 60) ** 2 < 20**2
    ellipse = ((rows - 30) / 8) ** 2 + ((columns - 45) / 30) ** 2 < 1
    for shape, count in ((one | other, 2), (ellipse, 1)):
        numbers = RULES["watershed"].separate(shape.astype(np.uint8))
        assert numbers is not None
        assert numbers.max() == count


@pytest.mark.parametrize("seed", range(4))
def test_as_many_seeds_as_h_maxima_by_reconstruction(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heights = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 3).astype(np.float32)
    inside = np.ones((64, 64), bool)
    depth = 0.5 * float(heights.std())
    regions = flood(heights, inside, depth)
    assert regions.max() > 3
    assert regions.max() == seeds_by_reconstruction(heights, depth)


def test_every_component_has_a_seed_and_no_region_leaves_it() -> None:
    classes = np.zeros((12, 12), np.uint8)
    classes[1:4, 1:4] = 1
    classes[4:7, 4:7] = 1  # meets the first at a corner
    classes[9, 9] = 1
    classes[1:4, 7:10] = 2
    classes[3, 4] = 2  # meets the first along an edge, but is of another class
    for rule in ("watershed", "distances"):
        numbers = RULES[rule].separate(classes, np.zeros((2, 12, 12), np.float32))
        assert numbers is not None
        assert numbers.max() == 5
        for number in range(1, 6):
            assert ndimage.label(numbers == number)[1] == 1
            assert len(np.unique(classes[numbers == number])) == 1


@pytest.mark.parametrize("seed", range(3))
def test_true_distances_give_back_the_objects(seed: int) -> None:
    truth = discs(seed)
    pieces = distance_maps((truth > 0).astype(np.uint8), truth)[0]
    numbers = RULES["distances"].separate((truth > 0).astype(np.uint8), pieces)
    assert numbers is not None
    distances = score_objects(numbers, truth)
    components = score_objects(ndimage.label(truth > 0)[0], truth)
    assert distances.pq is not None
    assert components.pq is not None
    assert distances.pq > 0.8
    assert distances.pq > components.pq + 0.3


@pytest.mark.parametrize("rule", ["watershed", "distances"])
def test_pq_of_separated_objects_is_that_of_torchmetrics(rule: str) -> None:
    metric = PanopticQuality(things={1}, stuffs={0}, return_per_class=True)
    total = None
    for seed in range(3):
        truth = discs(seed)
        shifted = np.roll(truth, 1, 0)  # a prediction that is not perfect
        classes = (shifted > 0).astype(np.uint8)
        numbers = RULES[rule].separate(classes, distance_maps(classes, shifted)[0])
        assert numbers is not None
        score = score_objects(numbers, truth)
        total = score if total is None else total + score
        maps = [np.stack([one > 0, one], -1).astype(np.int64) for one in (numbers, truth)]
        metric.update(*(torch.from_numpy(one)[None] for one in maps))
    assert total is not None
    assert total.pq == pytest.approx(float(metric.compute().flatten()[0]), abs=1e-6)


@pytest.mark.parametrize("rule", ["watershed", "distances"])
def test_ap_of_separated_objects_is_that_of_plain_loops(rule: str) -> None:
    truth = discs(5, 64, 12)
    shifted = np.roll(truth, 1, 0)
    classes = (shifted > 0).astype(np.uint8)
    numbers = RULES[rule].separate(classes, distance_maps(classes, shifted)[0])
    assert numbers is not None
    score, plain = score_objects(numbers, truth), Comparison(numbers, truth)
    above, below = plain.ap()
    assert score.precisions == pytest.approx(tuple((above / below).tolist()))
    assert score.ap == pytest.approx(float((above / below).mean()))
    matched, objects = plain.dq()
    assert score.dq == pytest.approx(matched / objects)


def test_one_object_fills_the_image() -> None:
    classes = np.ones((9, 7), np.uint8)
    for rule in ("watershed", "distances"):
        maps, _ = distance_maps(classes, classes)
        numbers = RULES[rule].separate(classes, maps)
        assert numbers is not None
        assert np.unique(numbers).tolist() == [1]


def test_an_empty_map_has_no_objects() -> None:
    numbers = RULES["watershed"].separate(np.zeros((5, 6), np.uint8))
    assert numbers is not None
    assert not numbers.any()


def test_distances_are_needed_by_their_rule_only() -> None:
    with pytest.raises(ValueError, match="needs the two maps"):
        RULES["distances"].separate(np.ones((3, 3), np.uint8))


def test_built_task_has_an_output_for_each_map() -> None:
    task = Task(num_classes=3)
    outputs = {name: rule.built_task(task).num_classes for name, rule in RULES.items()}
    assert outputs == {"components": 3, "watershed": 3, "distances": 5, "rays": 36}


def test_unknown_rule() -> None:
    with pytest.raises(
        UserError, match=r"no rule for objects 'watersheds'.*Did you mean 'watershed'"
    ):
        get_rule("watersheds")


def test_time_of_a_crowded_image() -> None:
    truth = discs(0, 256, 200)
    classes = (truth > 0).astype(np.uint8)
    times = []
    for _ in range(5):
        began = time.process_time()
        RULES["watershed"].separate(classes)
        times.append(time.process_time() - began)
    assert min(times) < 0.1  # 0.015 to 0.02 s on one core of 2020


def test_the_depth_of_a_waist_is_relative() -> None:
    """A waist of 95 % of the width does not divide a rod, one of 60 % does."""
    columns = np.arange(120)
    for waist, count in ((0.95, 1), (0.6, 2)):
        half = 20 * (1 - (1 - waist) * np.exp(-(((columns - 60) / 10) ** 2)))
        ends = np.sqrt(np.clip(1 - ((np.abs(columns - 60) - 35) / 20).clip(0) ** 2, 0, None))
        rod = np.abs(np.arange(61)[:, None] - 30) < half * ends
        heights = np.log(np.maximum(ndimage.distance_transform_edt(rod), 1)).astype(np.float32)
        assert flood(heights, rod, LOG_DEPTH).max() == count
