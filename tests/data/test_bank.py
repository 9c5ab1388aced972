import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from banks import make_bank
from scipy import ndimage

from bench.data.bank import KINDS, Bank, Views
from bench.data.fit import resize_image, resize_mask
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


ENDLESS = (
    "standard",
    "reports",
    "zoomed",
    "windows",
    "sliding",
)  # as many different views as asked for
NOISE = [noise(60, 80, 1), noise(50, 50, 2)]


def bank(views: int, kind: str = "standard", seed: int = 0) -> Bank:
    return make_bank(PAIRS, views=views, size=32, kind=kind, seed=seed)


def test_slices_that_do_not_make_whole_stacks_are_refused() -> None:
    with pytest.raises(ValueError, match="3 slices do not make whole stacks of 2"):
        make_bank(PAIRS, views=2, size=32, kind="none", seed=0, depth=2)


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


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_is_lost_in_a_small_bank(kind: str) -> None:
    assert len(bank(1, kind)) >= 3


@pytest.mark.parametrize("kind", ENDLESS)
def test_views_depend_on_the_seed_and_their_number_alone(kind: str) -> None:
    small, large = bank(12, kind), bank(30, kind)
    np.testing.assert_array_equal(small.images, large.images[:12])
    np.testing.assert_array_equal(small.masks, large.masks[:12])


@pytest.mark.parametrize("kind", ENDLESS)
def test_views_invent_no_class_and_stay_aligned(kind: str) -> None:
    made = bank(60, kind)
    assert set(np.unique(made.masks)) == {0, 1, IGNORE}
    for image, mask in zip(made.images, made.masks, strict=True):
        # The rim is interpolated; within, other intensities keep the order of tones.
        disc, ground = (
            image[ndimage.binary_erosion(mask == k, np.ones((3, 3)), 2, border_value=1), 0]
            for k in (1, 0)
        )
        assert disc.min(initial=255) > ground.max(initial=0)


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


def test_freely_turned_windows_lie_inside_the_image() -> None:
    """No pixel is black and none unlabelled, also where the image is long and narrow."""
    shapes = [(50, 50), (40, 90), (150, 30), (1, 7)]
    pairs = [(np.full((*shape, 3), 99, np.uint8), np.full(shape, 2, np.uint8)) for shape in shapes]
    made = make_bank(pairs, views=200, size=24, kind="reports", seed=0)
    assert (made.images == made.images[:, :1, :1]).all()  # one tone in, one tone out
    assert (made.masks == 2).all()


def test_free_rotation_turns_by_angles_between_the_quarters() -> None:
    """The edge between two classes keeps its straightness and takes any direction."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 255
    pairs = [(image, (image[..., 0] > 0).astype(np.uint8))]
    made = make_bank(pairs, views=200, size=32, kind="reports", seed=0)
    angles, agree = [], []
    for view, mask in zip(made.images[1:, ..., 0], made.masks[1:], strict=True):
        if mask.any() and not mask.all():
            bright = view > (float(view.min()) + view.max()) / 2
            agree.append((bright == mask).mean())
        down, right = np.gradient(mask.astype(float))
        if min(mask.mean(), 1 - mask.mean()) > 0.2:
            angles.append(np.degrees(np.arctan2(down.sum(), right.sum())) % 90)
    assert np.mean(agree) > 0.97  # all but the interpolated rim
    aside = np.abs(np.array(angles) - 45) < 40  # not along the axes
    assert 0.3 < aside.mean() < 0.7
    assert np.histogram(np.array(angles)[aside], 4, (5, 85))[0].min() > 0


def test_magnification_goes_up_to_two_and_a_half() -> None:
    ramp = np.arange(200, dtype=np.uint8) + 1
    pairs = [(np.zeros((200, 200, 3), np.uint8), np.tile(ramp, (200, 1)))]
    made = make_bank(pairs, views=120, size=32, kind="reports", seed=0)
    seen = np.ptp(made.masks[1:].astype(float), axis=(1, 2)) / 200  # of the diagonal at most
    assert 1 / 2.5 - 0.03 < seen.min() < 0.45
    assert seen.max() > 0.9


def test_half_of_the_views_are_equalised_with_one_histogram_for_all_channels() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(100, 111, (64, 64), dtype=np.uint8)  # a narrow range
    image = np.stack([levels, levels, levels // 2], axis=-1)
    mask = np.zeros((64, 64), np.uint8)
    made = make_bank([(image, mask)], views=100, size=64, kind="reports", seed=0)
    reds, blues = made.images[1:, ..., 0].astype(int), made.images[1:, ..., 2].astype(int)
    wide = np.ptp(np.concatenate([reds, blues], axis=1), axis=(1, 2)) > 120
    assert 0.35 < wide.mean() < 0.65
    assert (reds.min(axis=(1, 2)) >= blues.max(axis=(1, 2))).all()  # it stays yellow
    np.testing.assert_array_equal(made.images[..., 0], made.images[..., 1])


def places(kind: str, views: int, size: int, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Row and column of the upper left corner of each window, read off the labels."""
    numbers = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    image = np.zeros((*shape, 3), np.uint8)
    masks = make_bank([(image, numbers)], views=views, size=size, kind=kind, seed=0).masks
    corners = []
    for mask in masks:
        row, column = divmod(int(mask.min()), shape[1])
        window = numbers[row : row + size, column : column + size]
        orientations = [np.rot90(part, k) for part in (window, window[:, ::-1]) for k in range(4)]
        assert any(np.array_equal(mask, one) for one in orientations)
        corners.append((row, column))
    return corners


def test_random_windows_keep_every_pixel_and_reach_every_place() -> None:
    corners = places("windows", 300, 16, (20, 24))
    assert {row for row, _ in corners} == set(range(5))
    assert {column for _, column in corners} == set(range(9))


def test_zoomed_views_are_windows_at_the_scale_of_zoom_2() -> None:
    """The mask counts tenths of the width; a window of a share s shows about 10 s of them."""
    mask = np.repeat(np.arange(10, dtype=np.uint8), 20)[None].repeat(200, 0)
    image = np.zeros((200, 200, 3), np.uint8)
    made = make_bank([(image, mask)], views=60, size=100, kind="zoomed", seed=0)
    spans = [int(view.max()) - int(view.min()) + 1 for view in made.masks]
    assert min(spans) in (4, 5)
    assert max(spans) in (7, 8)


def test_sliding_windows_cover_the_image_before_they_come_again() -> None:
    corners = places("sliding", 48, 16, (40, 52))
    grid = [(row, column) for row in (0, 8, 16, 24) for column in (0, 8, 16, 24, 32, 36)]
    assert sorted(corners[:24]) == grid
    assert corners[24:] == corners[:24]
    assert len({row for row, _ in corners[:8]}) > 2  # a few lie all over the image


def test_sliding_windows_come_as_they_are_and_then_varied() -> None:
    image, mask = noise(30, 30, 0)
    made = make_bank([(image, mask)], views=50, size=20, kind="sliding", seed=0)
    other = make_bank([(image, mask)], views=50, size=20, kind="sliding", seed=1)
    np.testing.assert_array_equal(made.images[:4], other.images[:4])
    assert (made.images[4:] != other.images[4:]).any(axis=(1, 2, 3)).all()
    seen = {view.tobytes() for view in made.images[:4]}
    assert seen == {image[y : y + 20, x : x + 20].tobytes() for y in (0, 10) for x in (0, 10)}


@pytest.mark.parametrize("kind", ["windows", "sliding"])
def test_a_small_image_is_mirrored_round_itself_and_trains_where_it_is(kind: str) -> None:
    image, mask = noise(20, 40, 0)
    mask[:] = 1
    made = make_bank([(image, mask)], views=1, size=32, kind="sliding", seed=0)
    np.testing.assert_array_equal(made.images[0, 6:26], image[:, :32])
    np.testing.assert_array_equal(made.images[0, :6], image[6:0:-1, :32])
    views = make_bank([(image, mask)], views=20, size=32, kind=kind, seed=0).masks
    assert ((views == IGNORE).sum(axis=(1, 2)) == 12 * 32).all()
    numbers = make_bank([(image, mask.astype(np.int32))], views=20, size=32, kind=kind, seed=0)
    np.testing.assert_array_equal(numbers.masks, np.where(views == 1, 1, 0))


def test_every_kind_says_what_it_does() -> None:
    assert all(kind.text and "\n" not in kind.text for kind in KINDS.values())


def test_unknown_kind() -> None:
    with pytest.raises(UserError, match=r"no augmentation 'standart'. Did you mean 'standard'"):
        bank(4, kind="standart")


def test_views_that_are_drawn_alone_equal_those_of_the_bank() -> None:
    samples = [(image, mask, 3 * mask.astype(np.int32)) for image, mask in NOISE]
    made = make_bank(samples, views=9, size=32, kind="standard", seed=4)
    views = Views(samples, views=9, size=32, kind="standard", seed=4)
    drawn = views.draw([7, 2, 4])
    np.testing.assert_array_equal(drawn.images, made.images[[7, 2, 4]])
    np.testing.assert_array_equal(drawn.masks, made.masks[[7, 2, 4]])
    assert made.instances is not None
    assert drawn.instances is not None
    np.testing.assert_array_equal(drawn.instances, made.instances[[7, 2, 4]])
    np.testing.assert_array_equal(made.instances, 3 * made.masks.astype(np.int32))


def test_each_image_is_taken_once_for_all_its_views_and_then_given_back() -> None:
    taken: list[int] = []

    class Files(list[tuple[UInt8, UInt8]]):
        def __getitem__(self, number: Any) -> Any:
            taken.append(number)
            return super().__getitem__(number)

    make_bank(Files(PAIRS), views=40, size=16, kind="standard", seed=0)
    assert taken == [0, 1, 2]
