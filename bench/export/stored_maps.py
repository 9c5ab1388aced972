"""The maps that `predict` has stored, read in rows so that their size does not matter."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data.tiff import open_tiff
from bench.errors import UserError
from bench.predict.pictures import Picture
from bench.predict.tiff_rows import DAMAGED

Rows = npt.NDArray[Any]


def stored_slices(folder: Path, picture: Picture) -> Iterator[Iterator[Rows]]:
    """For each slice of a picture, or for the image, the rows (h, W) of a map from top to bottom.

    A slice that is stored in tiles comes in rows of tiles, another one at once. Take all rows of a
    slice before the next slice.

    Args:
        folder: of the map, such as `labels`.
        picture: whose name the file has.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / f"{picture.name}.png"
    tiff = folder / f"{picture.name}.tif"
    try:
        if path.exists():
            with Image.open(path) as image:
                yield iter([np.asarray(image)])
            return
        with open_tiff(tiff) as file:
            for number in range(picture.slices):
                page: Any = file.pages[number]
                yield _rows_of_tiles(page) if page.is_tiled else iter([page.asarray()])
    except DAMAGED as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"cannot read the prediction in {folder} of {picture.path} ({error}): remove its file"
            " and run the command again"
        ) from error


def _rows_of_tiles(page: Any) -> Iterator[Rows]:
    (height, width), tall = page.shape, page.tilelength
    rows = np.zeros((tall, width), page.dtype)
    for tile, (_, _, top, left, _), _ in page.segments(maxworkers=1):
        part = tile[0, : height - top, : width - left, 0]  # tiles at the edges are larger
        rows[: len(part), left : left + part.shape[1]] = part
        if left + part.shape[1] == width:
            yield rows[: len(part)]
            rows = np.zeros((tall, width), page.dtype)
