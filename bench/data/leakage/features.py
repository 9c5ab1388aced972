"""Features by which images are compared: hashes of whole images, windows at distinct points."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, ndimage

from bench.data.decode import read_image
from bench.data.items import Item

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]

SQUARE = 96  # px, side of the thumbnail that confirms a whole image
GRID = np.arange(-9, 10, 3)  # px from the centre of a window to its 7 x 7 samples
BANDS_BYTES = 128 << 20  # of band-passed images that are kept


class Features(NamedTuple):
    """Features of an image; H, W are its reduced sides, K the number of windows.

    Attributes:
        digest: hash of size and grey values; None for an image of one value, which is never
            reported as a duplicate.
        small: (SQUARE, SQUARE) uint8 thumbnail.
        hashes: (8, 63) of -1, 0, 1, int8, for each of `ORIENTATIONS`.
        shape: (H, W).
        places: (K, 2) row and column of the centres of the windows.
        windows: (K, 49) samples with mean 0 and length 1; zeros if there are fewer points.
        orientations: (K,) from each window to its canonical orientation.
    """

    digest: bytes | None
    small: npt.NDArray[np.uint8]
    hashes: npt.NDArray[np.int8]
    shape: tuple[int, ...]
    places: Ints
    windows: Floats
    orientations: Ints


class Bands:
    """Band-passed images (H, W) of items, computed again where they are not kept.

    Args:
        items: the images.
        factor: reduction of their sides, an integer.
    """

    def __init__(self, items: Sequence[Item], factor: int) -> None:
        self._items, self._factor = items, factor
        self._kept: OrderedDict[int, Floats] = OrderedDict()  # the one used last is last
        self._bytes = 0
        self._lock = Lock()

    def __getitem__(self, number: int) -> Floats:
        """The image of that number; it is read from its file if it is not kept.

        Raises:
            UserError: the image cannot be read.
        """
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        band = band_pass(grey(self._items[number]).reduce(self._factor))
        self.put(number, band)
        return band

    def grain(self, number: int) -> Floats:
        """Noise and texture below about 3 px (H, W) of an image, read again from its file.

        Raises:
            UserError: the image cannot be read.
        """
        pixels = np.asarray(grey(self._items[number]).reduce(self._factor), np.float32)
        return np.asarray(pixels - ndimage.gaussian_filter(pixels, 1.5, truncate=3), np.float32)

    def put(self, number: int, band: Floats) -> None:
        """Keep a band-passed image; those used longest ago go, where they need too much room."""
        with self._lock:
            if number in self._kept:
                return
            self._kept[number] = band
            self._bytes += band.nbytes
            while self._bytes > BANDS_BYTES and len(self._kept) > 2:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


def grey(item: Item) -> Image.Image:
    """The grey values of an image.

    Raises:
        UserError: the image cannot be read.
    """
    return Image.fromarray(read_image(item.image, item.selection)).convert("L")


def extract(picture: Image.Image, factor: int, points: int) -> tuple[Features, Floats]:
    """Compute the features of an image, and its band-passed pixels (H, W).

    Args:
        picture: of `grey`.
        factor: reduction of its sides, an integer, the same for all images.
        points: K, its number of windows, the same for all images.
    """
    values = np.asarray(picture)
    digest = hashlib.sha256(repr(values.shape).encode() + values.tobytes()).digest()
    band = band_pass(picture.reduce(factor))
    places = _distinct_points(band, points)
    windows, orientations = _windows(band, places)
    spare = points - len(places)
    features = Features(
        digest=digest if values.min() < values.max() else None,
        small=np.asarray(picture.resize((SQUARE, SQUARE), Image.Resampling.BOX)),
        hashes=_hashes(picture),
        shape=band.shape,
        places=np.pad(places, ((0, spare), (0, 0))),
        windows=np.pad(windows, ((0, spare), (0, 0))),
        orientations=np.pad(orientations, (0, spare)),
    )
    return features, band


def band_pass(picture: Image.Image | npt.NDArray[np.uint8]) -> Floats:
    """Structure of about 3 to 15 px: neither noise nor shading.

    Args:
        picture: (H, W) grey values.
    """
    fine = ndimage.gaussian_filter(np.asarray(picture, np.float32), 1.5, truncate=3)
    return np.asarray(fine - ndimage.uniform_filter(fine, 15), np.float32)


def _hashes(picture: Image.Image) -> npt.NDArray[np.int8]:
    """Hash (8, 63) of an image in each orientation: mirroring negates the odd frequencies."""
    small = picture.resize((32, 32), Image.Resampling.BOX)
    signs = np.sign(fft.dctn(np.asarray(small, np.float32))[:8, :8])
    odd = np.resize([1, -1], 8).astype(np.float32)
    turned = [signs.T if o & 4 else signs for o in range(8)]
    turned = [s * odd[:, None] if o & 2 else s for o, s in enumerate(turned)]
    turned = [s * odd if o & 1 else s for o, s in enumerate(turned)]
    return np.stack(turned).reshape(8, 64)[:, 1:].astype(np.int8)


def _distinct_points(band: Floats, count: int) -> Ints:
    """Row and column (K, 2) of the strongest local extrema whose windows are inside the image."""
    strength = np.abs(band)
    peak = (strength == ndimage.maximum_filter(strength, 7)) & (strength > 1)
    edge = GRID[-1]
    peak[:edge], peak[-edge:], peak[:, :edge], peak[:, -edge:] = False, False, False, False
    places = np.argwhere(peak)
    order = np.argsort(-strength[*places.T], kind="stable")
    return places[order[:count]]


def _windows(band: Floats, places: Ints) -> tuple[Floats, Ints]:
    """Windows (K, 49) in a canonical orientation, which does not depend on turns and flips."""
    rows, columns = (places[:, :, None] + GRID).transpose(1, 0, 2)
    window = band[rows[:, :, None], columns[:, None, :]]
    down, right = (window * GRID[:, None]).sum((1, 2)), (window * GRID).sum((1, 2))
    steep = np.abs(down) > np.abs(right)
    window = np.where(steep[:, None, None], window.transpose(0, 2, 1), window)
    down, right = np.where(steep, right, down), np.where(steep, down, right)
    window = np.where((down < 0)[:, None, None], window[:, ::-1], window)
    window = np.where((right < 0)[:, None, None], window[:, :, ::-1], window)
    flat = window.reshape(len(places), GRID.size**2)
    flat = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    orientations = 4 * steep + 2 * (down < 0) + (right < 0)
    return flat / np.maximum(length, 1e-6), orientations.astype(np.intp)
