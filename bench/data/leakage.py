"""Leakage gate: does a test image, or a part of it, stand in the training part too?

Hashes make a short list, then a correlation of the pixels decides.

- Whole images: the signs of the lowest cosine frequencies (pHash: Zauner, 2010, "Implementation and
  benchmarking of perceptual image hash functions"), in all eight orientations.
- Shared regions: windows round the most distinct points, each brought into one of the eight
  orientations by its own gradient. Alike windows vote for the orientation and offset of their
  images.
- Correlation of the band-passed pixels in that orientation and at that offset, without the
  quarter of the shared region that speaks most for it: one bright object or a scale bar that two
  images have in common is no leak.

Regions are compared at one scale for the whole collection, so a magnified part or a free rotation
is not found; a resized copy of a whole image is. How much is found, and what is taken for a leak
that is none, stands in docs/protocol.md.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from math import ceil, sqrt
from statistics import median
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, ndimage

from bench.data.decode import read_image
from bench.data.items import Item
from bench.data.split import SHARES, Split
from bench.errors import UserError

Kind = Literal["group", "identical", "copy", "overlap"]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]
Shift = tuple[int, int]

SIDE = 400  # px; images are reduced by a whole number until the typical one is no longer than this
SQUARE = 96  # px, side of the thumbnail that confirms a whole image
SAME_HASH = 12  # of the 63 bits of a hash may differ
POINTS, FEWEST = 200, 20  # windows an image; fewer where COMPARISONS would be exceeded
COMPARISONS = 8e9  # of windows, about 20 s on one core
GRID = np.arange(-9, 10, 3)  # px from the middle of a window, where its 7 x 7 values are taken
ALIKE = 0.85  # correlation of two windows
VOTES, BIN, SLACK = 3, 6, 2  # windows that agree; px that they may differ by; px of refinement
FAR = 1 << 16  # bins; no offset is as long
BLOCKS = 4  # along each side of the shared region
LEAST_SHARED, ALL_SHARED = 0.1, 0.95  # of the smaller image's area
CONFIRMED = 0.7  # correlation of the shared region
HOPELESS = 0.2  # correlation before refinement; a few px off, what is confirmed later has 0.3
NAMED = 5  # leaks in an error

# Bits of an orientation, in the order of use: 4 transposes, 2 turns rows round, 1 columns.
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


@dataclass(frozen=True)
class Leak:
    """Two items of different parts that are not independent.

    Attributes:
        kind: "group" (one specimen), "identical" (equal grey values), "copy" (the whole image with
            other brightness, contrast, compression, size or orientation), "overlap" (a part).
        first: name of the item in the earlier part.
        first_part: "train" or "val".
        second: name of the item in the later part.
        second_part: "val" or "test".
        score: correlation of what both show, -1..1; None for a group.
        shared: share of the smaller image's area that both show, 0..1; None for a group.
        orientation: what was done to the first image; "" if nothing.
        group: the specimen, for the kind "group".
    """

    kind: Kind
    first: str
    first_part: str
    second: str
    second_part: str
    score: float | None = None
    shared: float | None = None
    orientation: str = ""
    group: str = ""

    def __str__(self) -> str:
        one = f"'{self.second}' ({self.second_part})"
        other = f"'{self.first}' ({self.first_part})"
        how = ", ".join(filter(None, (self.orientation, f"correlation {self.score or 0:.2f}")))
        if self.kind == "group":
            return f"{one} and {other} belong to one group, '{self.group}'"
        if self.kind == "identical":
            return f"{one} has the same pixels as {other}"
        if self.kind == "copy":
            return f"{one} is a copy of {other} ({how})"
        return f"{one} and {other} share {self.shared or 0:.0%} of the smaller one's area ({how})"


class _Look(NamedTuple):
    """What an image is compared by; H, W are its reduced sides, K the number of windows.

    digest is None for an image of one value, which is evidence of nothing.
    """

    digest: bytes | None
    square: Floats  # (SQUARE, SQUARE), band-passed
    hashes: Floats  # (8, 63) of -1, 0, 1
    band: Floats  # (H, W), band-passed
    places: Ints  # (K, 2), row and column of the windows' middles
    windows: Floats  # (K, 49), mean 0 and length 1; zeros where there are fewer points
    orientations: Ints  # (K,), what brought each window into its own orientation


class _Match(NamedTuple):
    kind: Kind
    score: float
    shared: float
    orientation: int


def find_leaks(parts: Split) -> list[Leak]:
    """Every pair of items across two parts that share a group or pixels; groups come first.

    Raises:
        UserError: an image cannot be read.
    """
    sides: dict[str, tuple[Item, ...]] = {name: getattr(parts, name) for name in SHARES}
    leaks = [leak for pair in combinations(sides, 2) for leak in _shared_groups(sides, *pair)]
    items = [item for side in sides.values() for item in side]
    factor = _reduction(items)
    pairs = sum(len(sides[a]) * len(sides[b]) for a, b in combinations(sides, 2))
    points = min(POINTS, max(FEWEST, int(sqrt(COMPARISONS / max(pairs, 1)))))
    with ThreadPoolExecutor() as pool:
        looks = iter(list(pool.map(lambda item: _look(item, factor, points), items)))
    seen = {part: [next(looks) for _ in side] for part, side in sides.items()}
    for a, b in combinations(sides, 2):
        if not sides[b]:
            continue
        against = _Side(seen[b])
        for item, look in zip(sides[a], seen[a], strict=True):
            for number, (kind, score, shared, orientation) in against.matches(look):
                other, how = sides[b][number].name, ORIENTATIONS[orientation]
                leaks.append(Leak(kind, item.name, a, other, b, score, shared, how))
    return leaks


def refusal(leaks: Sequence[Leak]) -> UserError:
    """The error that stops a run, with the first pairs and what to do about them."""
    named = "; ".join(map(str, leaks[:NAMED]))
    more = f"; and {len(leaks) - NAMED} more" if len(leaks) > NAMED else ""
    return UserError(
        f"the parts of the split are not independent: {named}{more}; put what belongs together "
        "into one part (one group in groups.csv), remove the copies, or pass --allow-leakage to "
        "train all the same with this on record"
    )


def _shared_groups(sides: dict[str, tuple[Item, ...]], a: str, b: str) -> Iterator[Leak]:
    """One leak for each group that lies in both parts, with its first item in each."""
    first = {item.group: item.name for item in reversed(sides[a])}
    second = {item.group: item.name for item in reversed(sides[b])}
    for group in sorted(first.keys() & second.keys()):
        yield Leak("group", first[group], a, second[group], b, group=group)


def _reduction(items: Sequence[Item]) -> int:
    """The whole number that the sides of all images are divided by; a few tell the usual size."""
    some = items[:: ceil(len(items) / 15)] if items else []
    return ceil(median(max(read_image(item.image).shape) for item in some) / SIDE) if some else 1


def _look(item: Item, factor: int, points: int) -> _Look:
    picture = Image.fromarray(read_image(item.image)).convert("L")
    grey = np.asarray(picture)
    digest = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).digest()
    band = _band(picture.reduce(factor))
    places = _distinct_points(band, points)
    windows, orientations = _windows(band, places)
    spare = points - len(places)
    return _Look(
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
    """Row and column (K, 2) of the strongest local extrema whose windows lie in the image."""
    strength = np.abs(band)
    peak = (strength == ndimage.maximum_filter(strength, 7)) & (strength > 1)
    edge = GRID[-1]
    peak[:edge], peak[-edge:], peak[:, :edge], peak[:, -edge:] = False, False, False, False
    places = np.argwhere(peak)
    order = np.argsort(-strength[*places.T], kind="stable")
    return places[order[:count]]


def _windows(band: Floats, places: Ints) -> tuple[Floats, Ints]:
    """Windows (K, 49), each in an orientation of its own that turns and flips do not change."""
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
    """Where points (K, 2) of an image of this shape (H, W) come to lie."""
    (y, x), (height, width) = places.T, shape
    if orientation & 4:
        y, x, height, width = x, y, width, height
    y = height - 1 - y if orientation & 2 else y
    x = width - 1 - x if orientation & 1 else x
    return np.stack([y, x], 1)


def _relative() -> Ints:
    """Orientation (8, 8) that takes an image to another, from what brought both to a third."""
    mark = np.arange(4, dtype=np.float32).reshape(2, 2)
    seen = [_orient(mark, o).tobytes() for o in range(8)]
    undone = [seen.index(_orient(mark, o).tobytes()) for o in (0, 1, 2, 3, 4, 6, 5, 7)]
    chain = [[_orient(_orient(mark, a), undone[b]).tobytes() for b in range(8)] for a in range(8)]
    return np.array([[seen.index(end) for end in row] for row in chain], np.intp)


RELATIVE = _relative()


class _Side:
    """The images of one part, stacked so that an image is compared with all of them at once."""

    def __init__(self, looks: Sequence[_Look]) -> None:
        self.looks = looks
        self.same: defaultdict[bytes | None, list[int]] = defaultdict(list)
        for number, look in enumerate(looks):
            self.same[look.digest].append(number)
        self.hashes = np.stack([look.hashes[0] for look in looks])
        self.windows = np.concatenate([look.windows for look in looks])
        self.places = np.stack([look.places for look in looks])
        self.orientations = np.stack([look.orientations for look in looks])

    def matches(self, look: _Look) -> list[tuple[int, _Match]]:
        """Number of each image that shares pixels, with the best match."""
        found: dict[int, _Match] = {}
        if look.digest is None:
            return []
        for number, match in self._confirmed(look):
            known = found.get(number, match)
            found[number] = max(known, match, key=lambda m: (m.kind == "copy", m.score))
        found |= dict.fromkeys(self.same[look.digest], _Match("identical", 1.0, 1.0, 0))
        return sorted(found.items())

    def _confirmed(self, look: _Look) -> Iterator[tuple[int, _Match]]:
        for number, orientation in self._same_hash(look):
            square = _orient(look.square, orientation)
            score, shared = _correlate(square, self.looks[number].square, (0, 0), slack=0)
            if score >= CONFIRMED:
                yield number, _Match("copy", score, shared, orientation)
        for number, orientation, shift in self._voted(look):
            band, other = _orient(look.band, orientation), self.looks[number].band
            score, shared = _correlate(band, other, shift, slack=SLACK)
            if score >= CONFIRMED and shared >= LEAST_SHARED:
                whole = band.shape == other.shape and shared >= ALL_SHARED
                yield number, _Match("copy" if whole else "overlap", score, shared, orientation)

    def _same_hash(self, look: _Look) -> Iterator[tuple[int, int]]:
        """Number and orientation of images whose hash is nearly the same."""
        differing = (look.hashes.shape[1] - look.hashes @ self.hashes.T) / 2
        for orientation, number in np.argwhere(differing <= SAME_HASH).tolist():
            yield number, orientation

    def _voted(self, look: _Look) -> Iterator[tuple[int, int, Shift]]:
        """Number, orientation and offset of images in which several windows recur."""
        alike = (look.windows @ self.windows.T).reshape(len(look.windows), len(self.looks), -1)
        nearest = alike.argmax(2)
        likeness = np.take_along_axis(alike, nearest[..., None], 2)[..., 0]
        window, image = np.nonzero(likeness > ALIKE)
        there = nearest[window, image]
        orientation = RELATIVE[look.orientations[window], self.orientations[image, there]]
        moved = np.stack([_follow(look.places, look.band.shape, o) for o in range(8)])
        shift = self.places[image, there] - moved[orientation, window]
        proposals: dict[tuple[int, int, Shift], None] = {}
        for start in (0, BIN // 2):  # two grids, as agreeing votes may straddle a border of one
            row, column = (shift + start).T // BIN + FAR
            ballots = ((image * 8 + orientation) * 2 * FAR + row) * 2 * FAR + column
            _, chosen, votes = np.unique(ballots, return_inverse=True, return_counts=True)
            for option in np.flatnonzero(votes >= VOTES):
                voters = np.flatnonzero(chosen == option)
                y, x = np.median(shift[voters], 0).astype(int).tolist()
                proposals[int(image[voters[0]]), int(orientation[voters[0]]), (y, x)] = None
        return iter(proposals)


def _correlate(a: Floats, b: Floats, shift: Shift, *, slack: int) -> tuple[float, float]:
    """Correlation of what two images share, and its share of the smaller one's area.

    Args:
        a: (H, W), its point (0, 0) lies at `shift` in b.
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
    """The pixels of each image that the other shows too."""
    (top, end), (left, right) = (
        (max(0, by), min(there, here + by))
        for by, here, there in zip(shift, a.shape, b.shape, strict=True)
    )
    y, x = shift
    if end <= top or right <= left:
        return a[:0, :0], b[:0, :0]
    return a[top - y : end - y, left - x : right - x], b[top:end, left:right]


def _correlation(a: Floats, b: Floats) -> float:
    """Of band-passed pixels, whose mean is 0 already; 0 where one side is flat."""
    energy = float(np.vdot(a, a)) * float(np.vdot(b, b))
    return float(np.vdot(a, b)) / sqrt(energy) if energy > 0 else 0.0


def _without_strongest(a: Floats, b: Floats) -> float:
    """Correlation without the quarter of the blocks that speak most for it."""
    if not a.size:
        return 0.0
    sums = np.array([_block_sums(x) for x in (a * b, a * a, b * b)], np.float64)
    kept = np.argsort(sums[0], kind="stable")[: ceil(0.75 * BLOCKS**2)]
    product, first, second = sums[:, kept].sum(1).tolist()
    return product / sqrt(first * second) if first * second > 0 else 0.0


def _block_sums(values: Floats) -> list[float]:
    rows = np.array_split(values, BLOCKS)
    return [float(block.sum()) for row in rows for block in np.array_split(row, BLOCKS, axis=1)]
