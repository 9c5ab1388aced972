"""Find near duplicates: copies of images and images that share a region.

Hashes and local windows propose pairs, then the correlation of their pixels decides.

- Whole images: the signs of the lowest cosine frequencies (pHash: Zauner, 2010, "Implementation and
  benchmarking of perceptual image hash functions"), in all eight orientations.
- Shared regions: windows at the most distinct points, each turned into a canonical orientation by
  its own gradient. Similar windows vote for the relative orientation and offset of their images.
- Correlation of the band-passed pixels in that orientation and at that offset, without the
  quarter of the shared region that correlates most: one bright object or a scale bar in both images
  is not a leak. What is left must have structure in several places, or the same noise and texture.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import ceil, sqrt
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.data.leakage.features import Bands, Features, Floats, Ints, band_pass

Kind = Literal["identical", "copy", "overlap"]
Shift = tuple[int, int]

SAME_HASH = 12  # of the 63 bits of a hash may differ
ALIKE = 0.85  # correlation above which two windows are similar
AT_ONCE = 64  # images whose windows are compared with those of one image
VOTES, BIN, SLACK = 3, 6, 2  # windows that must agree; their tolerance in px; px of refinement
FAR = 1 << 16  # bins, more than any offset
BLOCKS = 4  # along each side of the shared region
LEAST_SHARED, ALL_SHARED = 0.1, 0.95  # of the smaller image's area
CONFIRMED = 0.7  # correlation of the shared region
FEWEST_BLOCKS = 4.0  # of the 12 that are left, which must hold structure
IN_FULL, FEWEST_IN_FULL = 0.95, 3.0  # correlation and number of all 16 blocks, for whole images
SAME_GRAIN = 0.4  # correlation of noise and fine texture where fewer blocks hold structure
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
INVERSE = (0, 1, 2, 3, 4, 6, 5, 7)  # orientation of B relative to A, from that of A to B


class Match(NamedTuple):
    """How two images match.

    Attributes:
        kind: as of a leak.
        score: correlation of the shared region without the quarter that correlates most, at least
            `CONFIRMED`; 1 if identical.
        shared: shared region as a share of the smaller image, 0..1.
        orientation: of the first image relative to the second, in `ORIENTATIONS`.
    """

    kind: Kind
    score: float
    shared: float
    orientation: int


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
    inverse = [codes.index(_orient(mark, o).tobytes()) for o in INVERSE]
    chain = [[_orient(_orient(mark, a), inverse[b]).tobytes() for b in range(8)] for a in range(8)]
    return np.array([[codes.index(end) for end in row] for row in chain], np.intp)


RELATIVE = _relative()


class Index:
    """Features of some images, stacked to compare an image with all of them at once.

    Args:
        features: of each image, at least one, all with the same number of windows.
        bands: the band-passed images.
    """

    def __init__(self, features: Sequence[Features], bands: Bands) -> None:
        self.features, self.bands = features, bands
        self.same: defaultdict[bytes | None, list[int]] = defaultdict(list)
        for number, one in enumerate(features):
            self.same[one.digest].append(number)
        self.hashes = np.stack([one.hashes[0] for one in features]).astype(np.float32)
        self.windows = np.concatenate([one.windows for one in features])
        self.places = np.stack([one.places for one in features])
        self.orientations = np.stack([one.orientations for one in features])

    def matches(self, number: int, start: int) -> list[tuple[int, Match]]:
        """Numbers of the images that share pixels with an image, each with its best match.

        They are sorted. "identical" is the best, then "copy", then the highest score. An image of
        one value has none.

        Args:
            number: of the image, from 0.
            start: number of the first image that it is compared with, above `number`.

        Raises:
            UserError: an image cannot be read again.
        """
        matches: dict[int, Match] = {}
        query = self.features[number]
        if query.digest is None or start >= len(self.features):
            return []
        identical = [other for other in self.same[query.digest] if other >= start]
        for other, match in self._confirmed(number, identical, start):
            known = matches.get(other, match)
            matches[other] = max(known, match, key=lambda m: (m.kind == "copy", m.score))
        matches |= dict.fromkeys(identical, Match("identical", 1.0, 1.0, 0))
        return sorted(matches.items())

    def _confirmed(
        self, query_number: int, identical: list[int], start: int
    ) -> Iterator[tuple[int, Match]]:
        """Matches with other images than the identical ones, which need no confirmation."""
        query = self.features[query_number]
        for number, orientation in self._same_hash(query, identical, start):
            square = _orient(band_pass(query.small), orientation)
            other = band_pass(self.features[number].small)
            match = _correlate(square, other, (0, 0), slack=0)
            if match.score >= CONFIRMED and (match.spread or match.in_full):
                yield number, Match("copy", match.score, match.shared, orientation)
        for number, orientation, shift in self._voted(query, identical, start):
            turned, other = _orient(self.bands[query_number], orientation), self.bands[number]
            match = _correlate(turned, other, shift, slack=SLACK)
            if match.score < CONFIRMED or match.shared < LEAST_SHARED:
                continue
            if match.spread or self._same_grain(query_number, number, orientation, match.shift):
                whole = turned.shape == other.shape and match.shared >= ALL_SHARED
                kind: Kind = "copy" if whole else "overlap"
                yield number, Match(kind, match.score, match.shared, orientation)

    def _same_grain(self, query: int, number: int, orientation: int, shift: Shift) -> bool:
        """Whether the noise and fine texture of the shared region agree, not only a few objects."""
        one, other = _orient(self.bands.grain(query), orientation), self.bands.grain(number)
        left, right = (_clipped(part) for part in _region(one, other, shift))
        sums = _sums(left, right)
        return _quotient(sums) >= SAME_GRAIN and _blocks_that_count(sums) >= FEWEST_BLOCKS

    def _same_hash(
        self, query: Features, identical: list[int], start: int
    ) -> Iterator[tuple[int, int]]:
        """Number and orientation of the other images whose hash is nearly the same."""
        hashes = query.hashes.astype(np.float32)
        differing = (hashes.shape[1] - hashes @ self.hashes[start:].T) / 2
        differing[:, np.array(identical, np.intp) - start] = np.inf
        for orientation, number in np.argwhere(differing <= SAME_HASH).tolist():
            yield start + number, orientation

    def _similar(
        self, query: Features, identical: list[int], start: int
    ) -> tuple[Ints, Ints, Ints]:
        """Similar windows: number in the query, number of the image, and number in the image.

        Of each image only the most similar window counts. Blocks of images fit into the cache of
        the processor, and most have no similar window.
        """
        points, hits = len(query.windows), []
        for first in range(start, len(self.features), AT_ONCE):
            others = self.windows[first * points : (first + AT_ONCE) * points]
            alike = query.windows @ others.T
            if alike.max(initial=0) <= ALIKE:
                continue
            alike = alike.reshape(points, -1, points)
            nearest = alike.argmax(2)
            window, image = np.nonzero(alike.max(2) > ALIKE)
            kept = ~np.isin(image + first, identical)
            window, image = window[kept], image[kept]
            hits.append((window, image + first, nearest[window, image]))
        if not hits:
            empty = np.empty(0, np.intp)
            return empty, empty, empty
        window, image, there = (np.concatenate(part) for part in zip(*hits, strict=True))
        order = np.lexsort((image, window))  # as without blocks
        return window[order], image[order], there[order]

    def _voted(
        self, query: Features, identical: list[int], start: int
    ) -> Iterator[tuple[int, int, Shift]]:
        """Number, orientation and offset of the other images that share several windows."""
        window, image, there = self._similar(query, identical, start)
        orientation = RELATIVE[query.orientations[window], self.orientations[image, there]]
        moved = np.stack([_follow(query.places, query.shape, o) for o in range(8)])
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


class _Agreement(NamedTuple):
    """How well the shared region of two images agrees.

    Attributes:
        score: correlation without the quarter of the blocks that correlates most, -1..1.
        shared: the region as a share of the smaller image.
        shift: of the first image in the second, after refinement.
        spread: whether the blocks that are left have structure in several places. On a plain
            background one or two blobs decide instead, which are alike in many images.
        in_full: whether nearly all structure of the region agrees, in at least a few blocks.
    """

    score: float
    shared: float
    shift: Shift = (0, 0)
    spread: bool = False
    in_full: bool = False


def _correlate(a: Floats, b: Floats, shift: Shift, *, slack: int) -> _Agreement:
    """Compare the shared region of two images.

    Args:
        a: (H, W), its point (0, 0) is at `shift` in b.
        b: (H', W').
        shift: rows and columns.
        slack: px around `shift` to search for the best correlation.
    """
    if _correlation(*_region(a, b, shift)) < HOPELESS:
        return _Agreement(0.0, 0.0)
    steps = range(-slack, slack + 1)
    shifts = [(shift[0] + y, shift[1] + x) for y in steps for x in steps]
    best = max(shifts, key=lambda one: _correlation(*_region(a, b, one)))
    left, right = _region(a, b, best)
    sums = _sums(left, right)
    kept = sums[:, np.argsort(sums[0], kind="stable")[: ceil(0.75 * BLOCKS**2)]]
    return _Agreement(
        score=_quotient(kept),
        shared=left.size / min(a.size, b.size),
        shift=best,
        spread=_blocks_that_count(kept) >= FEWEST_BLOCKS,
        in_full=_quotient(sums) >= IN_FULL and _blocks_that_count(sums) >= FEWEST_IN_FULL,
    )


def _clipped(grain: Floats) -> Floats:
    """Fine structure with strong values cut off, so that noise counts and not the outlines."""
    size = np.abs(grain[grain != 0])
    most = 3 * float(np.median(size)) if size.size else 0.0
    return grain.clip(-most, most)


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


def _quotient(sums: npt.NDArray[np.float64]) -> float:
    """Correlation from the sums (3, blocks) of a b, a a and b b."""
    product, first, second = sums.sum(1).tolist()
    return product / sqrt(first * second) if first * second > 0 else 0.0


def _blocks_that_count(sums: npt.NDArray[np.float64]) -> float:
    """(sum of e)^2 / sum of e^2 of the energies e of the blocks: from 0 to their number."""
    energy = np.sqrt(sums[1] * sums[2])
    squares = float((energy**2).sum())
    return float(energy.sum()) ** 2 / squares if squares > 0 else 0.0


def _sums(a: Floats, b: Floats) -> npt.NDArray[np.float64]:
    """Sums (3, blocks) of a b, a a and b b."""
    return np.array([_block_sums(x) for x in (a * b, a * a, b * b)], np.float64)


def _block_sums(values: Floats) -> list[float]:
    rows = np.array_split(values, BLOCKS)
    return [float(block.sum()) for row in rows for block in np.array_split(row, BLOCKS, axis=1)]
