"""Rays to the border of an object, and the polygons that they draw, by worked examples."""

import warnings

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

from bench.ask.request import Request
from bench.errors import UserError
from bench.evaluate.whole import resize_logits
from bench.learn.rays import scale_rays
from bench.metrics.objects import score_objects
from bench.objects.rays import polygon_objects, ray_shares
from bench.objects.rules import OCTAVES, RAYS, RULES

RULE = RULES["rays"]


def disc(
    radius: float, side: int = 64, row: float = 31.5, column: float = 31.5
) -> npt.NDArray[np.int32]:
    rows, columns = np.mgrid[:side, :side]
    return ((rows - row) ** 2 + (columns - column) ** 2 <= radius**2).astype(np.int32)


def lengths(shares: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.exp2(OCTAVES * shares.astype(float)) - 1


@pytest.mark.parametrize("radius", [5.0, 12.0, 25.0])
def test_the_rays_of_a_disc_equal_its_radius(radius: float) -> None:
    numbers = disc(radius, row=32, column=32)
    rays = lengths(ray_shares(numbers)[:, 32, 32])
    assert rays.shape == (RAYS,)
    assert np.abs(rays - radius).max() < 1
    assert not ray_shares(numbers)[:, 0, 0].any()


def test_directions_go_from_columns_to_rows() -> None:
    numbers = np.zeros((40, 60), np.int32)
    numbers[10:31, 5:56] = 1
    rays = lengths(ray_shares(numbers)[:, 20, 10])
    assert rays[[0, 8, 16, 24]].tolist() == pytest.approx([45.5, 10.5, 5.5, 10.5], abs=0.02)
    assert rays[4] == pytest.approx(10.5 * np.sqrt(2), abs=0.8)  # down to the right


def test_true_maps_are_border_and_rays_of_each_piece() -> None:
    numbers = disc(9, column=20) + 2 * disc(9, column=39)
    mask = (numbers > 0).astype(np.uint8)
    maps, inside = RULE.true_maps(mask, numbers)
    assert maps.shape == (RULE.channels, 64, 64)
    assert (inside == (mask > 0)).all()
    border, _ = RULES["distances"].true_maps(mask, numbers)[0]
    assert (maps[0] == border).all()
    # The middle of the left disc reaches its own border, not that of the right one.
    assert lengths(maps[1:, 31, 20]).max() < 10.5
    with pytest.raises(ValueError, match="no maps to learn"):
        RULES["watershed"].true_maps(mask, numbers)


def crowd(seed: int, side: int = 128) -> npt.NDArray[np.int32]:
    """Discs that touch and overlap; a later one covers an earlier one."""
    rng = np.random.default_rng(seed)
    numbers = np.zeros((side, side), np.int32)
    for number in range(1, 41):
        radius, (row, column) = rng.uniform(4, 9), rng.uniform(0, side, 2)
        numbers[disc(radius, side, row, column) > 0] = number
    return numbers


@pytest.mark.parametrize("seed", range(3))
def test_true_rays_give_back_the_objects(seed: int) -> None:
    truth = crowd(seed)
    mask = (truth > 0).astype(np.uint8)
    maps, _ = RULE.true_maps(mask, truth)
    stored = np.rint(255 * maps) / np.float32(255)  # as training stores them
    numbers = RULE.separate(mask, stored.astype(np.float32))
    assert numbers is not None
    assert ((numbers > 0) == (mask > 0)).all()
    score = score_objects(numbers, truth)
    assert score.pq is not None
    assert score.pq > 0.85


@pytest.mark.parametrize("scale", [(3.0, 3.0), (2.0, 4.0)])
def test_rays_of_an_enlarged_image_are_in_its_pixels(scale: tuple[float, float]) -> None:
    numbers = disc(12, column=20) + 2 * disc(12, column=44)
    mask = (numbers > 0).astype(np.uint8)
    maps, _ = RULE.true_maps(mask, numbers)
    logits = torch.from_numpy(maps.clip(1e-4, 1 - 1e-4)).logit()
    size = (int(64 * scale[0]), int(64 * scale[1]))
    large = resize_logits(logits[None], size)[0]
    rays = scale_rays(large[1:], scale).sigmoid().numpy()
    middle = (int(31.5 * scale[0]), int(20.5 * scale[1]))
    found = lengths(rays[:, middle[0], middle[1]])
    # An ellipse: the distance from its middle to its border in each direction.
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    expected = 12 / np.hypot(np.cos(angles) / scale[1], np.sin(angles) / scale[0])
    assert np.abs(found / expected - 1).max() < 0.12
    both = np.concatenate([large[:1].sigmoid().numpy(), rays])
    classes = ndimage.zoom(mask, scale, order=0)
    objects = RULE.separate(classes, both.astype(np.float32))
    assert objects is not None
    assert objects.max() == 2


def test_scaling_by_one_keeps_rays() -> None:
    shares = torch.rand(RAYS, 3, 4) * 0.8 + 0.1
    torch.testing.assert_close(scale_rays(shares.logit(), (1.0, 1.0)).sigmoid(), shares)
    stacked = torch.stack([shares, shares]).logit()
    torch.testing.assert_close(
        scale_rays(stacked, (2.0, 3.0))[1], scale_rays(stacked[1], (2.0, 3.0))
    )


def test_pixels_that_no_polygon_covers_and_components_without_one() -> None:
    numbers = disc(12)
    mask = numbers > 0
    mask[31, 43:60] = True  # a tail
    mask[2:5, 2:5] = True  # a component that no pixel proposes
    maps = RULE.true_maps(numbers.astype(np.uint8), numbers)[0]
    objects = polygon_objects(mask, maps)
    assert sorted(np.unique(objects)) == [0, 1, 2]
    assert objects[31, 58] == objects[31, 31] != objects[3, 3]
    whole = polygon_objects(np.ones((5, 5), bool), np.zeros((RULE.channels, 5, 5), np.float32))
    assert np.unique(whole).tolist() == [1]
    assert not polygon_objects(np.zeros((5, 5), bool), maps[:, :5, :5]).any()


def test_two_classes_have_their_own_numbers() -> None:
    numbers = disc(9, column=20) + 2 * disc(9, column=44)
    mask = np.array([0, 1, 2], np.uint8)[numbers]
    objects = RULE.separate(mask, RULE.true_maps(mask, numbers)[0])
    assert objects is not None
    assert [len(np.unique(mask[objects == number])) for number in (1, 2)] == [1, 1]
    with pytest.raises(ValueError, match="needs the 33 maps"):
        RULE.separate(mask)


def test_the_library_leaves_warnings_alone_and_a_missing_one_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = warnings.formatwarning
    ray_shares(disc(3))
    assert warnings.formatwarning is before
    monkeypatch.setattr("bench.objects.rules.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the library stardist: pip install"):
        Request("lora", "nuclei", objects="rays").check()
