import numpy as np
import pytest
from banks import make_bank
from PIL import Image
from segment_anything.utils.transforms import ResizeLongestSide

from bench.data.bank import KINDS
from bench.data.fit import FITS, PADDING, fitted_size, resize_image, resize_mask
from bench.data.items import IGNORE
from bench.errors import UserError
from bench.sam.prompts import nearest

SIZES = [(60, 100), (100, 60), (50, 50), (7, 300), (333, 1000)]


@pytest.mark.parametrize("size", SIZES)
def test_a_padded_image_is_resized_as_by_sam(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    theirs = ResizeLongestSide(64).apply_image(image)
    ours = resize_image(image, 64, "pad")
    height, width = fitted_size(size, 64, "pad")
    assert theirs.shape == (height, width, 3)
    np.testing.assert_array_equal(ours[:height, :width], theirs)
    assert ours.shape == (64, 64, 3)
    assert (ours[height:] == PADDING).all()
    assert (ours[:, width:] == PADDING).all()
    assert fitted_size(size, 64, "square") == (64, 64)


@pytest.mark.parametrize("size", SIZES)
def test_labels_are_padded_with_none(size: tuple[int, int]) -> None:
    height, width = fitted_size(size, 64, "pad")
    mask = resize_mask(np.ones(size, np.uint8), 64, "pad")
    assert (mask[:height, :width] == 1).all()
    assert (mask == IGNORE).sum() == 64 * 64 - height * width
    numbers = nearest(np.full(size, 7, np.int32), 64, "pad")
    assert (numbers[:height, :width] == 7).all()
    assert (numbers == 0).sum() == 64 * 64 - height * width


def test_padding_is_zero_after_the_normalisation_of_sam() -> None:
    mean, sd = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    assert np.abs((np.array(PADDING) - mean) / sd).max() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_views_of_a_wide_image_keep_its_aspect(kind: str) -> None:
    """A disc stays a disc in every view, and the padding has the labels of no class."""
    y, x = np.mgrid[:80, :160]
    disc = np.hypot(y - 40, x - 80) < 30
    image = np.stack([np.where(disc, 200, 40).astype(np.uint8)] * 3, -1)
    sample = (image, disc.astype(np.uint8), disc.astype(np.int32))
    bank = make_bank([sample], views=24, size=64, kind=kind, seed=0, fit="pad")
    assert bank.instances is not None
    assert set(np.unique(bank.masks)) <= {0, 1, IGNORE}
    whole = 0
    for view, mask, numbers in zip(bank.images, bank.masks, bank.instances, strict=True):
        ignored = mask == IGNORE
        np.testing.assert_array_equal(numbers == 1, mask == 1)
        if KINDS[kind].native:
            assert not ignored.any()
            continue
        assert 0.4 < ignored.mean() < 0.6
        assert (view[ignored] == PADDING).all()
        rows, columns = (np.flatnonzero((mask == 1).any(axis)) for axis in (1, 0))
        inside = np.argwhere(~ignored).max(0)
        if rows[0] > 0 and columns[0] > 0 and rows[-1] < inside[0] and columns[-1] < inside[1]:
            whole += 1
            assert abs(np.ptp(rows) - np.ptp(columns)) <= 2
    assert whole or KINDS[kind].native or kind == "zoomed"  # whose windows cut the disc


def test_square_images_are_the_same_in_both_fits() -> None:
    image = np.asarray(Image.effect_noise((50, 50), 60))
    rgb = np.stack([image] * 3, -1)
    banks = [
        make_bank([(rgb, image // 128)], views=9, size=32, kind="standard", seed=0, fit=fit)
        for fit in FITS
    ]
    np.testing.assert_array_equal(banks[0].images, banks[1].images)
    np.testing.assert_array_equal(banks[0].masks, banks[1].masks)


def test_an_unknown_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"no fit 'padd'\. Did you mean 'pad'"):
        make_bank([], views=1, size=8, kind="none", seed=0, fit="padd")
