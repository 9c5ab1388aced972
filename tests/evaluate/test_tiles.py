"""Windows over large images, against the whole image, plain sums, and MONAI."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from bench.cost.memory import StorageMeter
from bench.errors import UserError
from bench.evaluate.tiles import hann, tile_bands

Image = npt.NDArray[np.uint8]


def picture(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def pointwise(images: Tensor) -> Tensor:
    """Two logits of every pixel, from that pixel alone."""
    red, green, blue = images.float().unbind(1)
    return torch.stack([red - green, blue / 4 - 20], dim=1)


def at_places(images: Tensor) -> Tensor:
    """A logit that depends on the place within the window, as near edges of a real model."""
    size = images.shape[-1]
    ramp = torch.linspace(-1, 1, size)
    return images.float().mean(1, keepdim=True) / 255 + ramp + ramp[:, None] ** 3


def tile_logits(*arguments: Any, **settings: Any) -> Tensor:
    """All bands as one."""
    return torch.cat([band for _, band in tile_bands(*arguments, **settings)], dim=1)


def whole(image: Image) -> Tensor:
    return pointwise(torch.from_numpy(image).permute(2, 0, 1)[None])[0]


@pytest.mark.parametrize("shape", [(70, 90), (20, 75), (70, 30), (5, 9)])
def test_windows_may_be_oblong(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    tiled = tile_logits(pointwise, image, (24, 40))
    torch.testing.assert_close(tiled, whole(image))


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(130, 40), (97, 20), (9, 5)])
def test_windows_may_start_at_any_row(shape: tuple[int, int], overlap: float) -> None:
    image = picture(*shape)
    whole = tile_logits(at_places, image, 32, overlap)
    for start in range(0, shape[0], 7):
        bands = list(tile_bands(at_places, image, 32, overlap, start=start))
        assert bands[0][0].start == start
        assert torch.equal(torch.cat([band for _, band in bands], dim=1), whole[:, start:])
    assert list(tile_bands(at_places, image, 32, overlap, start=shape[0])) == []


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(64, 64), (100, 75), (33, 131), (20, 75), (9, 5), (1, 40)])
def test_a_model_of_single_pixels_says_the_same_in_windows(
    shape: tuple[int, int], overlap: float
) -> None:
    image = picture(*shape)
    tiled = tile_logits(pointwise, image, 32, overlap, batch=3)
    assert tiled.dtype == torch.float32
    assert tiled.shape == (2, *shape)
    torch.testing.assert_close(tiled, whole(image), rtol=0, atol=2e-4)  # of logits up to 255
    sure = (whole(image)[0] - whole(image)[1]).abs() > 1e-3
    assert torch.equal(tiled.argmax(0)[sure], whole(image).argmax(0)[sure])


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.7])
@pytest.mark.parametrize("shape", [(100, 75), (20, 75)])
def test_equals_monai(shape: tuple[int, int], overlap: float) -> None:
    inferers = pytest.importorskip("monai.inferers")  # half a minute to import
    image = picture(*shape)
    weights = torch.outer(hann(32), hann(32)).float()
    expected = inferers.sliding_window_inference(
        torch.from_numpy(image).permute(2, 0, 1)[None].float(),
        (32, 32),
        4,
        at_places,
        overlap=overlap,
        roi_weight_map=weights,
        padding_mode="reflect",
    )
    tiled = tile_logits(at_places, image, 32, overlap)
    torch.testing.assert_close(tiled, expected[0], rtol=0, atol=1e-5)


def test_bands_follow_each_other_and_are_the_whole() -> None:
    image = picture(100, 75)
    bands = list(tile_bands(at_places, image, 32, 0.7))
    assert bands[0][0].start == 0
    assert bands[-1][0].stop == 100
    assert all(upper.stop == lower.start for (upper, _), (lower, _) in pairwise(bands))
    joined = torch.cat([band for _, band in bands], dim=1)
    assert joined.shape == (1, 100, 75)
    torch.testing.assert_close(joined, tile_logits(at_places, image, 32, 0.7, batch=1))


def test_the_middle_of_a_window_counts_most() -> None:
    """Two windows of 4 px, 2 px apart: sin² of 22.5° and 67.5° where they share."""
    counter = iter([0.0, 1.0])

    def numbered(images: Tensor) -> Tensor:
        values = torch.tensor([next(counter) for _ in images])
        return values[:, None, None, None].expand(-1, 1, 4, 4)

    tiled = tile_logits(numbered, picture(4, 6), 4)
    expected = torch.tensor([0, 0, 0.1464466, 0.8535534, 1, 1]).expand(4, 6)
    torch.testing.assert_close(tiled[0], expected)


def test_weights_are_never_zero() -> None:
    assert hann(1024).min() > 0
    assert hann(1).tolist() == [1.0]


def test_memory_is_that_of_a_band() -> None:
    size, width = 64, 256
    strip = 4 * 2 * size * width  # bytes of fp32 logits of a row of windows, two classes
    windows = 2 * 3 * 4 * size * size * 4  # two windows at once, channels, bytes, copies of them

    def peak(height: int) -> int:
        with StorageMeter("cpu") as meter:
            rows = sum(
                band.shape[1] for _, band in tile_bands(pointwise, tall(height), size, 0.5, 2)
            )
        assert rows == height
        return meter.peak

    def tall(height: int) -> Image:
        return np.broadcast_to(picture(1, width), (height, width, 3))

    assert peak(512) < 3 * strip + windows
    assert peak(4096) - peak(512) <= 8 * (4096 - 512)  # two weights a row


def test_never_more_windows_at_once_than_asked() -> None:
    seen: list[int] = []

    def counting(images: Tensor) -> Tensor:
        seen.append(len(images))
        return pointwise(images)

    tile_logits(counting, picture(40, 200), 32, 0.5, batch=5)
    assert max(seen) == 5
    assert sum(seen) == 2 * 12  # rows at 0 and 8; columns at 0, 16 .. 160 and 168


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"overlap": 1.0}, "overlap 1.0 of windows is out of range: give 0 up to below 1"),
        ({"overlap": -0.1}, "overlap -0.1 of windows"),
        ({"size": 0}, "windows of 0 px in batches of 8"),
        ({"batch": 0}, "windows of 8 px in batches of 0"),
        ({"image": np.zeros((5, 5), np.uint8)}, r"shape \(5, 5\) cannot be tiled"),
        ({"image": np.zeros((0, 5, 3), np.uint8)}, r"shape \(0, 5, 3\) cannot be tiled"),
    ],
)
def test_refuses_what_cannot_be_tiled(asked: dict[str, Any], sentence: str) -> None:
    settings: dict[str, Any] = {"image": picture(9, 9), "size": 8, **asked}
    with pytest.raises(UserError, match=sentence):
        tile_logits(pointwise, **settings)
