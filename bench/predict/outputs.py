"""The files of a prediction: label maps, maps of probabilities, and overlay pictures."""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from bench.data.decode import LARGEST_PX
from bench.evaluate.scoring import Map
from bench.files import atomic_path

STRIP_PX = 1 << 23  # larger TIFF images are tiled
TILE_PX = 512  # side of a tile
OVERLAY_PX = 1600  # longest side of an overlay picture
# Okabe and Ito's colours, which colour-blind people can tell apart; the background has none.
COLOURS = np.array(
    [
        *((213, 94, 0), (0, 114, 178), (0, 158, 115), (240, 228, 66)),
        *((204, 121, 167), (86, 180, 233), (230, 159, 0)),
    ],
    np.uint8,
)


class MapFile:
    """A map (H, W), or (D, H, W) of D slices, that is written row by row.

    The rows go to a temporary file in the folder of the output first, which is made if needed. So
    the memory holds one slice, or some rows of one above `STRIP_PX`. The output appears with
    `write`, complete or not at all. It is PNG for one slice of uint8 values with at most
    `LARGEST_PX` pixels, otherwise TIFF.

    Args:
        path: of the output without its ending.
        size: height and width.
        slices: D; 1 for an image.
        dtype: of the values.
        tiff: write TIFF also where PNG could hold the map.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], slices: int, dtype: Any, tiff: bool = False
    ) -> None:
        self._size, self._slices, self._dtype = size, slices, np.dtype(dtype)
        large = size[0] * size[1] > LARGEST_PX
        self._png = self._dtype == np.uint8 and slices == 1 and not large and not tiff
        self.path = path.with_name(path.name + (".png" if self._png else ".tif"))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115

    def __enter__(self) -> "MapFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the temporary file."""
        self._rows.close()

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Append rows (h, W) from top to bottom; those of the slices one after the other."""
        self._rows.write(np.ascontiguousarray(rows, self._dtype).data)

    def write(self) -> Path:
        """Write the output when all rows were added; returns its path. An old file is replaced.

        Raises:
            UserError: the file cannot be written.
        """
        self._rows.seek(0)
        with atomic_path(self.path) as temporary:
            if self._png:
                values = np.frombuffer(self._rows.read(), self._dtype).reshape(self._size)
                Image.fromarray(values).save(temporary, format="PNG")
            else:
                self._write_tiff(temporary)
        return self.path

    def _write_tiff(self, path: Path) -> None:
        """One strip per slice, which every program reads; tiles for slices above `STRIP_PX`."""
        height, width = self._size
        tiled = height * width > STRIP_PX
        shape = (self._slices, height, width) if self._slices > 1 else (height, width)
        tifffile.imwrite(
            path,
            self._tiles() if tiled else self._strips(height),
            shape=shape,
            dtype=self._dtype,
            tile=(TILE_PX, TILE_PX) if tiled else None,
            rowsperstrip=None if tiled else height,
            compression="zlib",
            photometric="minisblack",
            bigtiff=math.prod(shape) * self._dtype.itemsize > 2**32 - 2**25,
            metadata={"axes": "ZYX" if self._slices > 1 else "YX"},
        )

    def _tiles(self) -> Iterator[npt.NDArray[Any]]:
        """Tiles from left to right and from top to bottom, those at the edges filled with 0."""
        for rows in self._strips(TILE_PX):
            for left in range(0, self._size[1], TILE_PX):
                tile = np.zeros((TILE_PX, TILE_PX), self._dtype)
                part = rows[:, left : left + TILE_PX]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile

    def _strips(self, tall: int) -> Iterator[npt.NDArray[Any]]:
        """Rows from top to bottom, `tall` at once; a strip never crosses the end of a slice."""
        height, width = self._size
        for _ in range(self._slices):
            for top in range(0, height, tall):
                rows = min(tall, height - top)
                content = self._rows.read(rows * width * self._dtype.itemsize)
                yield np.frombuffer(content, self._dtype).reshape(rows, width)


class Overlay:
    """A picture of an image with its classes in colour, at most `OVERLAY_PX` on its longer side.

    Args:
        size: height and width of the image.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._step = -(-max(size) // OVERLAY_PX)
        self._rows: list[npt.NDArray[np.uint8]] = []
        self._next = 0  # first row of the image that enters next

    def add(self, image: npt.NDArray[np.uint8], classes: Map, top: int) -> None:
        """Take in the next rows of the image (h, W, 3) and their classes (h, W).

        Args:
            image: rows, which follow those of the call before.
            classes: class indices of these rows.
            top: number of the first of them in the image, from 0.
        """
        start = self._next - top
        if start < len(image):
            parts = (values[start :: self._step, :: self._step] for values in (image, classes))
            self._rows.append(tint(*parts))
            self._next += self._step * len(self._rows[-1])

    def write(self, path: Path) -> Path:
        """Write the picture as PNG; returns its path. UserError if it cannot be written."""
        with atomic_path(path) as temporary:
            Image.fromarray(np.concatenate(self._rows)).save(temporary, format="PNG")
        return path


def tint(image: npt.NDArray[np.uint8], classes: Map) -> npt.NDArray[np.uint8]:
    """Tint the foreground of an image with 45 % of the colour of its class.

    Colours repeat after the last of `COLOURS`.

    Args:
        image: (H, W, 3) uint8.
        classes: (H, W) class indices.

    Returns:
        (H, W, 3) uint8.
    """
    colours = COLOURS[(classes.astype(int) - 1) % len(COLOURS)]
    mixed = (0.55 * image + 0.45 * colours).round().astype(np.uint8)
    return np.where((classes > 0)[..., None], mixed, image)
