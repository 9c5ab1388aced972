"""Rows of a TIFF image of any size, decoded when they are asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from bench.data.decode import STRETCH, Levels, show
from bench.data.raster import UNREADABLE, Raster, UInt8
from bench.data.tiff import open_tiff
from bench.data.traits import kind_of, shown_values
from bench.errors import UserError

DAMAGED = (*UNREADABLE, RuntimeError)  # of a damaged file; the last one is that of imagecodecs
BLOCK_PX = 8_000_000  # pixels of the rows that one scan reads at once


class TiffRows:
    """The first image of a TIFF file as (H, W, 3) uint8, row by row.

    Uncompressed files are read from their place in the file; others strip by strip or tile by tile.
    So a file that is one compressed strip is decoded as a whole. To find the levels, and whether
    the image is grey, rows are read once at the start where needed. The file stays open until
    `close`.

    Args:
        path: a TIFF file of one grey, colour or palette image.
        levels: values that become 0 and 255; None: percentiles 0.1 and 99.9 of the image, which
            are computed from a histogram; 8-bit values stay as they are.

    Attributes:
        kind: type of the stored values, and "grey" or "colour", as in `kind_of`.

    Raises:
        UserError: the values are neither unsigned 8 or 16 bit nor bool and no levels are given, or
            rows cannot be decoded.
        OSError or tifffile.TiffFileError: the file cannot be opened as TIFF.
    """

    def __init__(self, path: Path, levels: Levels | None = None) -> None:
        self._path = path
        self._file = open_tiff(path)
        self._page = self._file.series[0].keyframe
        self._contiguous = self._page.is_memmappable
        self.shape = (self._page.imagelength, self._page.imagewidth, 3)
        self._levels = levels
        self._palette: UInt8 | None = None
        if self._page.colormap is not None:
            self._palette = (self._page.colormap.T >> 8).astype(np.uint8)
        self._inverted = self._page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        self.kind = self._scan()

    def __getitem__(self, rows: slice) -> UInt8:
        """Rows (h, W, 3) from `rows.start` to `rows.stop`, which must be given.

        Raises:
            UserError: the rows cannot be decoded, or hold NaN or infinite values.
        """
        raster = self._raster(rows.start or 0, min(rows.stop, self.shape[0]))
        return show(raster, f"'{self._path}'", self._levels)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _raster(self, start: int, stop: int) -> Raster:
        return Raster(self._stored(start, stop), self._palette, self._inverted)

    def _stored(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Values as stored, (h, W) or (h, W, C)."""
        try:
            return self._mapped(start, stop) if self._contiguous else self._decoded(start, stop)
        except DAMAGED as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"cannot read rows of '{self._path}' ({reason}): replace it if it is damaged, else"
                " save it uncompressed or with zlib compression, in strips or tiles"
            ) from error

    def _mapped(self, start: int, stop: int) -> npt.NDArray[Any]:
        mapped = tifffile.memmap(self._path, series=0, mode="r")
        trailing = mapped.shape[-1:] if self._page.samplesperpixel > 1 else ()
        # A copy, so that the mapped pages do not stay in memory.
        return np.array(mapped.reshape(*self.shape[:2], *trailing)[start:stop])

    def _decoded(self, start: int, stop: int) -> npt.NDArray[Any]:
        page = self._page
        if page.planarconfig != tifffile.PLANARCONFIG.CONTIG and page.samplesperpixel > 1:
            raise ValueError("its channels are stored one after the other")
        tall, wide = page.chunks[:2]
        across = -(-self.shape[1] // wide)
        samples = (page.samplesperpixel,) if page.samplesperpixel > 1 else ()
        values = np.zeros((stop - start, self.shape[1], *samples), page.dtype)
        for down in range(start // tall, -(-stop // tall)):
            for column in range(across):
                index = down * across + column
                part = self._segment(index)
                if part is None:
                    continue  # a segment that is not stored is 0
                top, left = down * tall, column * wide
                first, last = max(start, top), min(stop, top + len(part))
                width = min(part.shape[1], self.shape[1] - left)
                inside = part[first - top : last - top, :width]
                target = values[first - start : last - start, left : left + width]
                target[...] = inside if samples else inside[..., 0]
        return values

    def _segment(self, index: int) -> npt.NDArray[Any] | None:
        """Strip or tile (h, w, C), or None where the file has none."""
        page = self._page
        if not page.databytecounts[index]:
            return None
        handle = self._file.filehandle
        handle.seek(page.dataoffsets[index])
        content = handle.read(page.databytecounts[index])
        part = page.decode(content, index, jpegtables=page.jpegtables)[0]
        return None if part is None else part[0]

    def _scan(self) -> tuple[str, str]:
        """Find out whether the image is grey, and the levels of 16-bit values."""
        if self._levels is None and self._page.dtype not in (np.uint8, np.uint16, np.bool_):
            raise UserError(
                f"'{self._path}' is large and holds values of type {self._page.dtype}: give"
                " --levels LOW,HIGH, the values that become black and white, or save it with 8 or"
                " 16 bits"
            )
        counts = np.zeros(1 << 16, np.int64)
        wide = self._levels is None and self._page.dtype == np.uint16
        colours = set()
        step = max(1, BLOCK_PX // self.shape[1])
        if not wide and self._palette is None and self._page.samplesperpixel < 3:
            return np.dtype(self._page.dtype).name, "grey"
        for start in range(0, self.shape[0], step):
            raster = self._raster(start, min(start + step, self.shape[0]))
            values = shown_values(raster)
            colours.add(kind_of(values)[1])
            if wide:
                values = values[..., :-1] if values.shape[2:] in ((2,), (4,)) else values
                counts += np.bincount(values.ravel(), minlength=1 << 16)
            elif "colour" in colours:
                break
        if wide:
            self._levels = percentiles(counts)
        kind = np.dtype(self._page.dtype).name if self._palette is None else "uint8"
        return kind, max(colours, key=lambda word: word == "colour")


def percentiles(counts: npt.NDArray[np.int64]) -> Levels:
    """The percentiles `STRETCH` of whole numbers, from their histogram, as `numpy.percentile`.

    Args:
        counts: (n,) how often each value 0 to n - 1 occurs; not all are 0.

    Returns:
        Both percentiles; if they are equal, the smallest and the largest value, as in `decode`.
    """
    cumulative = counts.cumsum()
    total = int(cumulative[-1])
    levels = []
    for percent in STRETCH:
        position = percent / 100 * (total - 1)
        below = int(position)
        lower, upper = (
            float(np.searchsorted(cumulative, min(rank, total - 1), side="right"))
            for rank in (below, below + 1)
        )
        share = position - below
        # numpy's interpolation: from the nearer end.
        levels.append(
            lower + (upper - lower) * share
            if share < 0.5
            else upper - (upper - lower) * (1 - share)
        )
    if levels[1] <= levels[0]:
        present = np.flatnonzero(counts)
        levels = [float(present[0]), float(present[-1])]
    return levels[0], levels[1]
