"""Find near duplicates: copies of images and images that share a region.

Hashes and local windows propose pairs, then the correlation of their pixels decides.

- Whole images: the signs of the lowest cosine frequencies (pHash: Zauner, 2010, "Implementation and
  benchmarking of perceptual image hash functions"), in all eight orientations.
- Shared regions: windows at the most distinct points, each turned into a canonical orientation by
  its own gradient. Similar windows vote for the relative orientation and offset of their images.
- Correlation of the band-passed pixels in that orientation and at that offset, without the
  quarter of the shared region that correlates most: one bright object or a scale bar in both images
  is not a leak.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import ceil, sqrt
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, ndimage

from bench.data.decode import read_image
from bench.data.items import Item

Kind = Literal["identical", "copy", "overlap"]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]
Shift = tuple[int, int]

SQUARE = 96  # px, side of the thumbnail that confirms a whole image
SAME_HASH = 12  # of the 63 bits of a hash may differ
GRID = np.arange(-9, 10, 3)  # px from the centre of a window to its 7 x 7 samples
ALIKE = 0.85  # correlation above which two windows are similar
VOTES, BIN, SLACK = 3, 6, 2  # windows that must agree; their tolerance in px; px of refinement
FAR = 1 << 16  # bins, more than any offset
BLOCKS = 4  # along each side of the shared region
LEAST_SHARED, ALL_SHARED = 0.1, 0.95  # of the smaller image's area
CONFIRMED = 0.7  # correlation of the shared region
HOPELESS = 0.2  # correlation before refinement; confirmed pairs have 0.3 even a few px off

# Bits of an orientation, in the order of use: 4 transposes, 2 reverses rows, 1 columns.
ORIENTATIONS = (
    "",
    "mirrored left to right",
    "mirrored top to bottom",
    "turned by 180 degrees",
    "mirrored along its diagonal",
    "turned by 90 degrees clockwise",
    "turned by 90 degrees anticlockwise",
    "mirrored along its other diagonal",
)


class Features(NamedTuple):
    """Features of an image; H, W are its reduced sides, K the number of windows.

    Attributes:
        digest: hash of size and grey values; None for an image of one value, which is never
            reported as a duplicate.
        square: (SQUARE, SQUARE) band-passed thumbnail.
        hashes: (8, 63) of -1, 0, 1, for each of `ORIENTATIONS`.
        band: (H, W) band-passed image.
        places: (K, 2) row and column of the centres of the windows.
        windows: (K, 49) samples with mean 0 and length 1; zeros if there are fewer points.
        orientations: (K,) from each window to its canonical orientation.
    """

    digest: bytes | None
    square: Floats
    hashes: Floats
    band: Floats
    places: Ints
    windows: Floats
    orientations: Ints


class Match(NamedTuple):
    """How two images match.

    Attributes:
        kind: as of a leak.
        score: correlation of the shared region without the quarter that correlates most, at least
            `CONFIRMED`; 1 if identical.
        shared: shared region as a share of the smaller image, 0..1.
        orientation: of the query relative to the image of the index, in `ORIENTATIONS`.
    """

    kind: Kind
    score: float
    shared: float
    orientation: int


def extract(item: Item, factor: int, points: int) -> Features:
    """Compute the features of an image.

    Args:
        item: the image.
        factor: reduction of its sides, an integer, the same for all images.
        points: K, its number of windows, the same for all images.

    Raises:
        UserError: the image cannot be read.
    """
    picture = Image.fromarray(read_image(item.image, item.selection)).convert("L")
    grey = np.asarray(picture)
    digest = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).digest()
    band = _band(picture.reduce(factor))
    places = _distinct_points(band, points)
    windows, orientations = _windows(band, places)
    spare = points - len(places)
    return Features(
        digest=digest if grey.min() < grey.max() else None,
        square=_band(picture.resize((SQUARE, SQUARE), Image.Resampling.BOX)),
        hashes=_hashes(picture),
        band=band,
        places=np.pad(places, ((0, spare), (0, 0))),
        windows=np.pad(windows, ((0, spare), (0, 0))),
        orientations=np.pad(orientations, (0, spare)),
    )


def _band(picture: Image.Image) -> Floats:
    """Structure of about 3 to 15 px: neither noise nor shading."""
    fine = ndimage.gaussian_filter(np.asarray(picture, np.float32), 1.5, truncate=3)
    return np.asarray(fine - ndimage.uniform_filter(fine, 15), np.float32)


def _hashes(picture: Image.Image) -> Floats:
    """Hash (8, 63) of an image in each orientation: mirroring negates the odd frequencies."""
    small = picture.resize((32, 32), Image.Resampling.BOX)
    signs = np.sign(fft.dctn(np.asarray(small, np.float32))[:8, :8])
    odd = np.resize([1, -1], 8).astype(np.float32)
    turned = [signs.T if o & 4 else signs for o in range(8)]
    turned = [s * odd[:, None] if o & 2 else s for o, s in enumerate(turned)]
    turned = [s * odd if o & 1 else s for o, s in enumerate(turned)]
    return np.stack(turned).reshape(8, 64)[:, 1:]


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


def _orient(image: Floats, orientation: int) -> Floats:
    image = image.T if orientation & 4 else image
    image = image[::-1] if orientation & 2 else image
    return image[:, ::-1] if orientation & 1 else image


def _follow(places: Ints, shape: tuple[int, ...], orientation: int) -> Ints:
    """Positions of points (K, 2) of an image (H, W) after it is turned into an orientation."""
    (y, x), (height, width) = places.T, shape
    if orientation & 4:
        y, x, height, width = x, y, width, height
    y = height - 1 - y if orientation & 2 else y
    x = width - 1 - x if orientation & 1 else x
    return np.stack([y, x], 1)


def _relative() -> Ints:
    """Orientation (8, 8) from one image to another, given the orientation of each to a third."""
    mark = np.arange(4, dtype=np.float32).reshape(2, 2)
    codes = [_orient(mark, o).tobytes() for o in range(8)]
    inverse = [codes.index(_orient(mark, o).tobytes()) for o in (0, 1, 2, 3, 4, 6, 5, 7)]
    chain = [[_orient(_orient(mark, a), inverse[b]).tobytes() for b in range(8)] for a in range(8)]
    return np.array([[codes.index(end) for end in row] for row in chain], np.intp)


RELATIVE = _relative()


class Index:
    """Features of the images of one part, stacked to compare an image with all of them at once.

    Args:
        features: of each image, at least one, all with the same number of windows.
    """

    def __init__(self, features: Sequence[Features]) -> None:
        self.features = features
        self.same: defaultdict[bytes | None, list[int]] = defaultdict(list)
        for number, one in enumerate(features):
            self.same[one.digest].append(number)
        self.hashes = np.stack([one.hashes[0] for one in features])
        self.windows = np.concatenate([one.windows for one in features])
        self.places = np.stack([one.places for one in features])
        self.orientations = np.stack([one.orientations for one in features])

    def matches(self, query: Features) -> list[tuple[int, Match]]:
        """Numbers of the images that share pixels with the query, each with its best match.

        They are sorted and count from 0. "identical" is the best, then "copy", then the highest
        score. A query of one value has none.
        """
        matches: dict[int, Match] = {}
        if query.digest is None:
            return []
        identical = self.same[query.digest]
        for number, match in self._confirmed(query, identical):
            known = matches.get(number, match)
            matches[number] = max(known, match, key=lambda m: (m.kind == "copy", m.score))
        matches |= dict.fromkeys(identical, Match("identical", 1.0, 1.0, 0))
        return sorted(matches.items())

    def _confirmed(self, query: Features, identical: list[int]) -> Iterator[tuple[int, Match]]:
        """Matches with other images than the identical ones, which need no confirmation."""
        for number, orientation in self._same_hash(query, identical):
            square = _orient(query.square, orientation)
            score, shared = _correlate(square, self.features[number].square, (0, 0), slack=0)
            if score >= CONFIRMED:
                yield number, Match("copy", score, shared, orientation)
        for number, orientation, shift in self._voted(query, identical):
            band, other = _orient(query.band, orientation), self.features[number].band
            score, shared = _correlate(band, other, shift, slack=SLACK)
            if score >= CONFIRMED and shared >= LEAST_SHARED:
                whole = band.shape == other.shape and shared >= ALL_SHARED
                yield number, Match("copy" if whole else "overlap", score, shared, orientation)

    def _same_hash(self, query: Features, identical: list[int]) -> Iterator[tuple[int, int]]:
        """Number and orientation of the other images whose hash is nearly the same."""
        differing = (query.hashes.shape[1] - query.hashes @ self.hashes.T) / 2
        differing[:, identical] = np.inf
        for orientation, number in np.argwhere(differing <= SAME_HASH).tolist():
            yield number, orientation

    def _voted(self, query: Features, identical: list[int]) -> Iterator[tuple[int, int, Shift]]:
        """Number, orientation and offset of the other images that share several windows."""
        alike = (query.windows @ self.windows.T).reshape(len(query.windows), len(self.features), -1)
        nearest = alike.argmax(2)
        similarity = np.take_along_axis(alike, nearest[..., None], 2)[..., 0]
        similarity[:, identical] = 0
        window, image = np.nonzero(similarity > ALIKE)
        there = nearest[window, image]
        orientation = RELATIVE[query.orientations[window], self.orientations[image, there]]
        moved = np.stack([_follow(query.places, query.band.shape, o) for o in range(8)])
        shift = self.places[image, there] - moved[orientation, window]
        proposals: dict[tuple[int, int, Shift], None] = {}
        # Two grids, as equal votes may be on both sides of a border of one.
        for start in (0, BIN // 2):
            row, column = (shift + start).T // BIN + FAR
            ballots = ((image * 8 + orientation) * 2 * FAR + row) * 2 * FAR + column
            _, chosen, votes = np.unique(ballots, return_inverse=True, return_counts=True)
            for option in np.flatnonzero(votes >= VOTES):
                voters = np.flatnonzero(chosen == option)
                y, x = np.median(shift[voters], 0).astype(int).tolist()
                proposals[int(image[voters[0]]), int(orientation[voters[0]]), (y, x)] = None
        return iter(proposals)


def _correlate(a: Floats, b: Floats, shift: Shift, *, slack: int) -> tuple[float, float]:
    """Correlation of the shared region of two images, and its share of the smaller image.

    Args:
        a: (H, W), its point (0, 0) is at `shift` in b.
        b: (H', W').
        shift: rows and columns.
        slack: px around `shift` to search for the best correlation.
    """
    if _correlation(*_region(a, b, shift)) < HOPELESS:
        return 0.0, 0.0
    steps = range(-slack, slack + 1)
    regions = [_region(a, b, (shift[0] + y, shift[1] + x)) for y in steps for x in steps]
    left, right = max(regions, key=lambda pair: _correlation(*pair))
    return _without_strongest(left, right), left.size / min(a.size, b.size)


def _region(a: Floats, b: Floats, shift: Shift) -> tuple[Floats, Floats]:
    """The shared region of two images, in each of them."""
    (top, end), (left, right) = (
        (max(0, by), min(there, here + by))
        for by, here, there in zip(shift, a.shape, b.shape, strict=True)
    )
    y, x = shift
    if end <= top or right <= left:
        return a[:0, :0], b[:0, :0]
    return a[top - y : end - y, left - x : right - x], b[top:end, left:right]


def _correlation(a: Floats, b: Floats) -> float:
    """Correlation of band-passed pixels, whose mean is 0; 0 where one image is constant."""
    energy = float(np.vdot(a, a)) * float(np.vdot(b, b))
    return float(np.vdot(a, b)) / sqrt(energy) if energy > 0 else 0.0


def _without_strongest(a: Floats, b: Floats) -> float:
    """Correlation without the quarter of the blocks that correlates most."""
    if not a.size:
        return 0.0
    sums = np.array([_block_sums(x) for x in (a * b, a * a, b * b)], np.float64)
    kept = np.argsort(sums[0], kind="stable")[: ceil(0.75 * BLOCKS**2)]
    product, first, second = sums[:, kept].sum(1).tolist()
    return product / sqrt(first * second) if first * second > 0 else 0.0


def _block_sums(values: Floats) -> list[float]:
    rows = np.array_split(values, BLOCKS)
    return [float(block.sum()) for row in rows for block in np.array_split(row, BLOCKS, axis=1)]
