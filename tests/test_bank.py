import hashlib

import numpy as np
import numpy.typing as npt
import pytest

from bench.data.bank import Bank, make_bank, resize_image, resize_mask
from bench.data.items import IGNORE
from bench.errors import UserError

UInt8 = npt.NDArray[np.uint8]


def pair(height: int, width: int, seed: int = 0) -> tuple[UInt8, UInt8]:
    """A bright disc of class 1 on dark class 0, with an unlabelled strip."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(y - rng.uniform(0.3, 0.7) * height, x - width / 2) < height / 4
    image = np.where(disc, 200, 40).astype(np.uint8)
    mask = disc.astype(np.uint8)
    mask[:3] = IGNORE
    return np.stack([image] * 3, axis=-1), mask


PAIRS = [pair(60, 80, 1), pair(50, 50, 2), pair(90, 64, 3)]


def noise(height: int, width: int, seed: int) -> tuple[UInt8, UInt8]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = rng.integers(0, 3, (height, width), dtype=np.uint8)
    mask[:3] = IGNORE
    return image, mask


NOISE = [noise(60, 80, 1), noise(50, 50, 2)]


def bank(views: int, kind: str = "standard", seed: int = 0) -> Bank:
    return make_bank(PAIRS, views=views, size=32, kind=kind, seed=seed)


@pytest.mark.parametrize(
    ("kind", "views", "shown", "numbered"),
    [
        ("standard", 9, "14dccf80e279c7fd", "68bf7a0e36b14484"),
        ("none", 2, "104b8f224b9fcb96", "05a2e5173a9d3936"),
        ("mirror", 4, "911e0563bffef519", "323d83a2802f6eae"),
        ("turns", 16, "12d463839fd881ed", "0c2365e8dbeafb36"),
    ],
)
def test_views_behind_committed_records_stay_as_they_were(
    kind: str, views: int, shown: str, numbered: str
) -> None:
    made = make_bank(NOISE, views=9, size=32, kind=kind, seed=4)
    assert len(made) == views
    assert _digest(made.images.tobytes() + made.masks.tobytes()) == shown
    instances = [(image, 70_000 * mask.astype(np.int32)) for image, mask in NOISE]
    made = make_bank(instances, views=9, size=32, kind=kind, seed=4)
    assert _digest(made.masks.astype("<i4").tobytes()) == numbered


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def test_first_views_are_the_whole_images() -> None:
    made = bank(10)
    assert made.images.shape == (10, 32, 32, 3)
    assert made.masks.shape == (10, 32, 32)
    assert len(made) == 10
    for view, (image, mask) in enumerate(PAIRS):
        np.testing.assert_array_equal(made.images[view], resize_image(image, 32))
        np.testing.assert_array_equal(made.masks[view], resize_mask(mask, 32))


def test_seed_decides_and_a_larger_bank_begins_with_the_smaller() -> None:
    small, large, other = bank(12), bank(30), bank(12, seed=1)
    np.testing.assert_array_equal(small.images, large.images[:12])
    np.testing.assert_array_equal(small.masks, large.masks[:12])
    assert (small.images[3:] != other.images[3:]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("kind", ["standard", "turns", "mirror"])
def test_instance_numbers_are_seen_in_the_same_views(kind: str) -> None:
    masks = bank(60, kind)
    numbered = [(image, 70_000 * (mask == 1).astype(np.int32)) for image, mask in PAIRS]
    seen = make_bank(numbered, views=60, size=32, kind=kind, seed=0)
    np.testing.assert_array_equal(seen.images, masks.images)
    np.testing.assert_array_equal(seen.masks, 70_000 * (masks.masks == 1).astype(np.int32))


@pytest.mark.parametrize("views", [1, 3, 50])
def test_none_gives_whole_images_only(views: int) -> None:
    made = bank(views, kind="none")
    assert len(made) == 3
    np.testing.assert_array_equal(made.images, bank(3).images)


def test_no_image_is_lost_in_a_small_bank() -> None:
    assert len(bank(1)) == 3


def test_views_invent_no_class_and_stay_aligned() -> None:
    made = bank(60)
    assert set(np.unique(made.masks)) == {0, 1, IGNORE}
    for image, mask in zip(made.images, made.masks, strict=True):
        disc, ground = image[mask == 1, 0], image[mask == 0, 0]
        if disc.size > 20 and ground.size > 20:
            middle = (np.median(disc).astype(float) + np.median(ground)) / 2
            wrong = (disc < middle).mean() + (ground > middle).mean()
            assert wrong < 0.15  # only the interpolated rim


def test_views_differ_in_window_turn_and_intensity() -> None:
    made = bank(63)
    first = made.images[0::3]
    assert len(np.unique(first.reshape(len(first), -1), axis=0)) == len(first)
    brightest = first[..., 0].max(axis=(1, 2))
    assert np.ptp(brightest) > 20
    corner = (made.masks[0::3] == IGNORE).any(axis=(1, 2))
    assert corner.any()
    assert not corner.all()


def test_downscaling_averages_images_but_picks_from_masks() -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2).astype(np.uint8)
    image = resize_image(np.stack([board * 255] * 3, axis=-1), 8)
    assert np.abs(image.astype(int) - 127).max() < 12
    assert set(np.unique(resize_mask(board, 8))) <= {0, 1}


def test_same_size_changes_nothing() -> None:
    image, mask = PAIRS[1]
    np.testing.assert_array_equal(resize_image(image, 50), image)
    np.testing.assert_array_equal(resize_mask(mask, 50), mask)


def test_unknown_kind() -> None:
    with pytest.raises(UserError, match=r"no augmentation 'standart'. Did you mean 'standard'"):
        bank(4, kind="standart")
