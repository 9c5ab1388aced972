"""The files of a prediction: label maps, maps of probabilities, and overlay pictures."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from bench.data.raster import LARGEST_PX
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


def write_map(
    path: Path,
    rows: IO[bytes],
    shape: tuple[int, int, int],
    dtype: npt.DTypeLike,
    tiff: bool = False,
) -> Path:
    """Write a map (H, W), or (D, H, W) of D slices, from the file of its rows.

    The memory holds one slice, or some rows of one above `STRIP_PX`. The output appears complete or
    not at all, and replaces an old file, also one of the other format. It is PNG for one slice of
    uint8 values with at most `LARGEST_PX` pixels, otherwise TIFF: one strip per slice, which every
    program reads, or tiles for slices above `STRIP_PX`.

    Args:
        path: of the output without its ending.
        rows: the values as they are in memory, of the slices one after the other; at its start.
        shape: D, H, W; D is 1 for an image.
        dtype: of the values.
        tiff: write TIFF also where PNG could hold the map.

    Returns:
        The path of the output, with its ending.

    Raises:
        WriteError: it cannot be written.
    """
    slices, height, width = shape
    kind = np.dtype(dtype)
    png = kind == np.uint8 and slices == 1 and height * width <= LARGEST_PX and not tiff
    endings = (".png", ".tif") if png else (".tif", ".png")
    path, other = (path.with_name(path.name + ending) for ending in endings)
    with atomic_path(path) as temporary:
        if png:
            values = np.frombuffer(rows.read(), kind).reshape(height, width)
            Image.fromarray(values).save(temporary, format="PNG")
        else:
            write_tiff(temporary, _strips(rows, shape, kind), shape, kind)
    other.unlink(missing_ok=True)  # of an earlier run
    return path


def write_tiff(
    path: Path,
    strips: Callable[[int], Iterator[npt.NDArray[Any]]],
    shape: tuple[int, int, int],
    kind: np.dtype[Any],
    **settings: Any,
) -> None:
    """Write a TIFF file as in `write_map`.

    Args:
        path: of the file.
        strips: from a number of rows to the rows from top to bottom, so many at once, of which none
            crosses the end of a slice.
        shape: D, H, W.
        kind: type of the values.
        settings: further ones of `tifffile.imwrite`.
    """
    slices, height, width = shape
    tiled = height * width > STRIP_PX
    tifffile.imwrite(
        path,
        _tiles(strips(TILE_PX), width) if tiled else strips(height),
        shape=shape if slices > 1 else shape[1:],
        dtype=kind,
        tile=(TILE_PX, TILE_PX) if tiled else None,
        rowsperstrip=None if tiled else height,
        compression="zlib",
        photometric="minisblack",
        bigtiff=math.prod(shape) * kind.itemsize > 2**32 - 2**25,
        **{"metadata": {"axes": "ZYX" if slices > 1 else "YX"}, **settings},
    )


def _tiles(strips: Iterator[npt.NDArray[Any]], width: int) -> Iterator[npt.NDArray[Any]]:
    """Tiles from left to right and from top to bottom, those at the edges filled with 0."""
    for rows in strips:
        for left in range(0, width, TILE_PX):
            tile = np.zeros((TILE_PX, TILE_PX), rows.dtype)
            part = rows[:, left : left + TILE_PX]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def _strips(
    file: IO[bytes], shape: tuple[int, int, int], kind: np.dtype[Any]
) -> Callable[[int], Iterator[npt.NDArray[Any]]]:
    """The argument `strips` of `write_tiff`, from a file of rows."""
    slices, height, width = shape

    def read(tall: int) -> Iterator[npt.NDArray[Any]]:
        for _ in range(slices):
            for top in range(0, height, tall):
                rows = min(tall, height - top)
                content = file.read(rows * width * kind.itemsize)
                yield np.frombuffer(content, kind).reshape(rows, width)

    return read


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
        """Write the picture as PNG; returns its path. WriteError if it cannot be written."""
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
