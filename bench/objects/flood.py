"""Regions around the maxima of a height map: the watershed, without its shallow maxima.

Rows come from the top to the bottom, so that the image can have any size. Whether an image comes at
once or in bands makes no difference to the regions. Libraries flood a whole image with a queue.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Classes = npt.NDArray[Any]
Heights = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BAND_PX = 1 << 21  # pixels that are taken in at once
_ALL, _FIRST, _LAST = slice(None), slice(None, -1), slice(1, None)
# Every pair of neighbours once; of those over a corner, the other two pixels at it.
_NEIGHBOURS: tuple[tuple[Any, Any, tuple[Any, ...]], ...] = (
    ((_ALL, _FIRST), (_ALL, _LAST), ()),
    ((_FIRST, _ALL), (_LAST, _ALL), ()),
    ((_FIRST, _FIRST), (_LAST, _LAST), ((_FIRST, _LAST), (_LAST, _FIRST))),
    ((_FIRST, _LAST), (_LAST, _FIRST), ((_FIRST, _FIRST), (_LAST, _LAST))),
)


def flood(heights: Heights, classes: Classes, least_depth: float) -> Numbers:
    """Divide the classes of an image into one region for each maximum that is deep enough.

    As `Flood`, for an image that is in memory.

    Args:
        heights: (H, W) finite values; those of class 0 are not used.
        classes: (H, W) class indices, or a mask.
        least_depth: in the unit of the heights, above 0.

    Returns:
        (H, W) numbers 1..n of the regions, 0 in class 0 and nowhere else.
    """
    rows, tall = Flood(least_depth), max(1, BAND_PX // classes.shape[1])
    starts = range(0, len(classes), tall)
    pieces = [rows.add(classes[top : top + tall], heights[top : top + tall]) for top in starts]
    last, regions = rows.finish()
    return np.asarray(regions[np.concatenate([*pieces, last])])


class Flood:
    """Divides each class into regions, one for each maximum that is deep enough.

    Every pixel belongs to the maximum that it reaches by steps to its highest neighbour
    (4-neighbourhood, in its class); of equal pixels the one that is further down or right counts as
    higher. A maximum is a seed if every way from it to a higher one passes a saddle that is at
    least `least_depth` lower; these are the h-maxima of mathematical morphology. The pixels of a
    maximum that is not a seed go to the neighbour behind its highest saddle. Ways and saddles may
    lead over corners, if the corner has a third pixel of the class. So each connected component
    (4-neighbourhood) of a class has at least one seed, and no region leaves its component.

    A region is put together from pieces: the pixels of a band that reach one maximum, or leave the
    band downwards at one pixel. The memory holds a band, and a few numbers for each piece.

    Args:
        least_depth: in the unit of the heights, above 0.
    """

    def __init__(self, least_depth: float) -> None:
        self._least_depth = least_depth
        self._count = 0  # of pieces, numbered from 1
        self._peaks: list[Floats] = []  # of the maxima in a band, in the order of their pieces
        self._maxima: list[Integers] = []  # their pieces
        self._links: list[Integers] = []  # (2, n): pieces that leave a band, and where they go on
        self._passes: list[tuple[Integers, Floats]] = []  # (2, n) pieces, and height of the saddle
        self._above: tuple[Classes, Heights, Integers] | None = None  # the last row with pieces
        self._waiting: tuple[Classes, Heights] | None = None  # the row after it
        self._leaving: Integers | None = None  # pieces that go on there, by column

    def add(self, classes: Classes, heights: Heights) -> Numbers:
        """Take in the next rows.

        Args:
            classes: (h, W) class indices, or a mask; h at least 1.
            heights: (h, W) finite values; those of class 0 are not used.

        Returns:
            Numbers of pieces, 0 in class 0: (h, W) of the rows from the one that the answer before
            left out to the one before the last; (h - 1, W) in the first answer.
        """
        if self._waiting is not None:
            classes = np.concatenate([self._waiting[0], classes])
            heights = np.concatenate([self._waiting[1], heights])
        self._waiting = classes[-1:].copy(), heights[-1:].copy()
        return self._cut(classes, heights, len(classes) - 1)

    def finish(self) -> tuple[Numbers, Numbers]:
        """End the image, after at least one row.

        Returns:
            Pieces (1, W) of the last row, and (pieces + 1,) the number of the region of each piece,
            from 1 without gaps, in the order of the highest points of the regions.
        """
        if self._waiting is None:
            raise ValueError("an image without rows cannot be flooded")
        return self._cut(*self._waiting, 1), self._regions()

    def _cut(self, classes: Classes, heights: Heights, tall: int) -> Numbers:
        """Pieces of the first `tall` rows; behind them there may be one more row."""
        if not tall:
            return np.zeros((0, classes.shape[1]), np.int32)
        size = tall + 2, classes.shape[1] + 2
        # A frame saves all questions about edges; the rows above and below are in it.
        kinds, high = np.zeros(size, np.uint8), np.zeros(size, np.float32)
        pieces = np.zeros(size, np.int64)
        within = np.s_[1 : len(classes) + 1, 1:-1]
        kinds[within], high[within] = classes, heights
        if self._above is not None:
            kinds[0], high[0], pieces[0] = self._above
        tops = _tops(kinds, high)
        self._number(kinds, high, tops, pieces)
        self._note_passes(kinds[:-1], high[:-1], pieces[:-1])
        self._above = kinds[-2].copy(), high[-2].copy(), pieces[-2].copy()
        return np.asarray(pieces[1:-1, 1:-1], np.int32)

    def _number(self, kinds: Classes, high: Heights, tops: Integers, pieces: Integers) -> None:
        """Write the pieces of the rows within the frame, and note what is known of them."""
        inside = np.flatnonzero(kinds[1:-1]) + kinds.shape[1]
        reached = np.unique(tops.ravel()[inside])
        rows = reached // kinds.shape[1]
        below = len(kinds) - 1
        maxima, leaving = reached[(rows > 0) & (rows < below)], reached[rows == below]
        flat = pieces.ravel()
        numbers = self._count + 1 + np.arange(len(maxima) + len(leaving))
        self._count += len(numbers)
        flat[maxima], going = numbers[: len(maxima)], numbers[len(maxima) :]
        flat[leaving] = going
        flat[inside] = flat[tops.ravel()[inside]]
        if self._leaving is not None:
            columns = np.flatnonzero(self._leaving)
            self._links.append(np.stack([self._leaving[columns], pieces[1, columns]]))
        self._leaving = pieces[-1].copy()
        self._maxima.append(numbers[: len(maxima)])
        self._peaks.append(high.ravel()[maxima].astype(float))

    def _note_passes(self, kinds: Classes, high: Heights, pieces: Integers) -> None:
        """Note the highest saddle between neighbouring pieces of one class."""
        pairs, saddles = [], []
        for here, there, corners in _NEIGHBOURS:
            edge = (pieces[here] != pieces[there]) & (kinds[here] == kinds[there])
            if corners:
                edge &= (kinds[corners[0]] == kinds[here]) | (kinds[corners[1]] == kinds[here])
            pairs.append(np.stack([pieces[here][edge], pieces[there][edge]]))
            saddles.append(np.minimum(high[here][edge], high[there][edge]))
        self._passes.append(_highest(np.concatenate(pairs, 1), np.concatenate(saddles)))

    def _regions(self) -> Numbers:
        """The number of the region of each piece; 0 stays 0."""
        onwards = np.arange(self._count + 1)
        for left, right in self._links:
            onwards[left] = right
        _follow(onwards)
        maxima = np.concatenate([np.zeros(1, np.int64), *self._maxima])
        peaks = np.concatenate([[-np.inf], *self._peaks])
        basins = np.searchsorted(maxima, onwards)  # every way ends in a maximum
        parts = [basins[pairs] for pairs, _ in self._passes]
        pairs, saddles = _highest(
            np.concatenate(parts, 1), np.concatenate([saddles for _, saddles in self._passes])
        )
        return np.asarray(_join(peaks, pairs, saddles, self._least_depth)[basins], np.int32)


def _tops(kinds: Classes, high: Heights) -> Integers:
    """Flat index of the pixel that each pixel within the frame reaches by steps upwards.

    Pixels of the frame, and pixels that are higher than their neighbours, reach themselves.
    """
    height, width = kinds.shape
    places = np.arange(kinds.size).reshape(kinds.shape)
    tops, own = places.copy(), kinds[1:-1, 1:-1]
    best, inside = np.full(own.shape, -np.inf, np.float32), own > 0
    # In the order of the rows, so that the later one of equal pixels counts as higher.
    for down, right in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1)):
        part = np.s_[down : height - 2 + down, right : width - 2 + right]
        higher = inside & (kinds[part] == own) & (high[part] >= best)
        np.copyto(best, high[part], where=higher)
        np.copyto(tops[1:-1, 1:-1], places[part], where=higher)
    _follow(tops.ravel())
    return tops


def _follow(onwards: Integers) -> None:
    """Replace the next place of each place (n,) by the last one of the way."""
    active = np.flatnonzero(onwards != np.arange(len(onwards)))
    while len(active):
        further = onwards[onwards[active]]
        active_again = further != onwards[active]
        onwards[active] = further
        active = active[active_again]


def _highest(pairs: Integers, saddles: npt.NDArray[Any]) -> tuple[Integers, Floats]:
    """Each pair (2, n) of different numbers once, with its highest saddle (n,)."""
    pairs, saddles = np.sort(pairs, 0), np.asarray(saddles, float)
    order = np.lexsort((-saddles, pairs[1], pairs[0]))
    pairs, saddles = pairs[:, order], saddles[order]
    first = np.ones(pairs.shape[1], bool)
    first[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(0)
    first &= pairs[0] != pairs[1]
    return pairs[:, first], saddles[first]


def _join(peaks: Floats, pairs: Integers, saddles: Floats, least_depth: float) -> Integers:
    """New number of each basin, from 1 without gaps; 0 stays 0.

    Args:
        peaks: (n + 1,) heights of the maxima; the first is not used.
        pairs: (2, m) neighbouring basins.
        saddles: (m,) the height of the highest saddle between them.
        least_depth: as of `Flood`.
    """
    # Peaks only rise by joining: what is deep enough now stays so.
    shallow = np.minimum(*peaks[pairs]) - saddles < least_depth
    order = np.flatnonzero(shallow)[np.argsort(-saddles[shallow], kind="stable")]
    parents, tops = list(range(len(peaks))), peaks.tolist()

    def root(basin: int) -> int:
        while parents[basin] != basin:
            parents[basin] = parents[parents[basin]]
            basin = parents[basin]
        return basin

    for one, other, saddle in zip(*pairs[:, order].tolist(), saddles[order].tolist(), strict=True):
        first, second = root(one), root(other)
        if first != second and min(tops[first], tops[second]) - saddle < least_depth:
            higher, lower = (first, second) if tops[first] >= tops[second] else (second, first)
            parents[lower] = higher
    roots = np.array([root(basin) for basin in range(len(peaks))])
    return np.unique(roots, return_inverse=True)[1]
