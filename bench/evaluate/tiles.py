"""Predictions of large images at their own resolution, from overlapping windows.

Logits are averaged where windows overlap. MONAI's `SlidingWindowInferer` (an optional dependency
here) does the same, but needs the image as float and keeps the logits of the whole image and their
weights in memory; a test compares the results.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image as Picture
from torch import Tensor

from bench.data.decode import decode
from bench.data.items import Collection, Item
from bench.errors import UnsupportedError, UserError
from bench.evaluate.scoring import Prediction
from bench.evaluate.whole import decide
from bench.learn.model import Model

Predict = Callable[[Tensor], Tensor]
Image = npt.NDArray[np.uint8]


class ImageRows(Protocol):
    """An image whose rows are read on demand; arrays and memory maps are such images."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3)."""

    def __getitem__(self, rows: slice, /) -> Image:
        """Rows (h, W, 3) uint8, from `rows.start` to `rows.stop`."""


OVERLAP = 0.5  # Hann windows sum to a constant, and each pixel is near the middle of one


def predict_tiled(
    model: Model, items: Sequence[Item], collection: Collection
) -> Iterator[Prediction]:
    """Predict every item at the size of its mask, from windows of the model's side.

    The image is enlarged `model.zoom` times before.

    Args:
        model: as it is when the items are taken; its module is put into evaluation mode.
        items: usually the test part.
        collection: the collection of the items.

    Returns:
        One prediction per item, made when it is taken from the iterator. It raises DivergedError
        then if a logit is not finite, and UserError if a file cannot be read.

    Raises:
        UnsupportedError: the model takes prompts, or several slices at once. An object that windows
            cut would need a prompt in each of them, made from its visible part: other prompts than
            those of the whole image.
    """
    if model.prompt_rule is not None:
        raise UnsupportedError(
            "methods that take prompts are evaluated on whole images only: windows would cut the"
            " objects that the prompts point at"
        )
    if model.task.depth > 1:
        raise UnsupportedError("stacks of slices are evaluated on whole images only")
    return _predict_tiled(model, items, collection)


def _predict_tiled(
    model: Model, items: Sequence[Item], collection: Collection
) -> Iterator[Prediction]:
    def predict(windows: Tensor) -> Tensor:
        return model.predict(windows.to(model.device))

    for item in items:
        image, mask = decode(item, collection)
        bands, distances = [], []
        for _, band in tile_bands(predict, image, model.task.image_size, zoom=model.zoom):
            outputs, shares = model.split(model.in_pixels(band, (1 / model.zoom, 1 / model.zoom)))
            bands.append(decide(outputs))
            if shares is not None:
                distances.append(shares.numpy())
        classes, foreground = (np.concatenate(part) for part in zip(*bands, strict=True))
        merged = np.concatenate(distances, axis=1) if distances else None
        objects = model.object_rule.separate(classes, merged)
        yield Prediction(item, mask, classes, foreground, objects)


def tile_bands(
    predict: Predict,
    image: ImageRows,
    size: int | tuple[int, int],
    overlap: float = OVERLAP,
    batch: int = 8,
    start: int = 0,
    zoom: int = 1,
) -> Iterator[tuple[slice, Tensor]]:
    """Class logits of an image, band by band: rows that no further window covers, from the top.

    Windows form a grid of step (1 - overlap) x size; the last of a row or column ends at the edge
    of the image. Logits are averaged with the weights of `hann`. A side shorter than a window is
    mirrored on both ends, and the logits are cropped back. The memory holds the logits of two rows
    of windows, 8 K size W bytes, and a few weights per row, whatever the height of the image.

    Args:
        predict: windows (B, 3, h, w) uint8 on the CPU to logits (B, K, h, w).
        image: (H, W, 3) uint8; its rows are read from top to bottom, those that several rows of
            windows share several times. If a side is shorter than a window, all is read at once.
        size: height and width of a window in pixels, or one number for both.
        overlap: share of a window that the next one covers too, in [0, 1).
        batch: number of windows per call of `predict`.
        start: first row whose logits are wanted, from 0; windows above it are left out. The logits
            are those of a call without `start`, bit for bit.
        zoom: the image is enlarged so many times, bilinearly, before windows are cut; the logits of
            each zoom x zoom pixels are averaged to those of a pixel of the image. The work grows
            with its square, the memory with the zoom.

    Yields:
        The rows, and their logits (K, rows, W) fp32 on the CPU; nothing if `start` is the height.

    Raises:
        UserError: an overlap outside [0, 1), a size or batch below 1, or an image of another shape
            or without pixels. It is raised when the first band is taken.
    """
    window = (size, size) if isinstance(size, int) else size
    _check(image, min(window), overlap, batch, zoom)
    shown = image if zoom == 1 else _Enlarged(image, zoom)
    bands = _bands(predict, shown, window, overlap, batch, start * zoom)
    if zoom == 1:
        yield from bands
        return
    left: Tensor | None = None  # rows of logits that do not fill a row of pixels yet
    for rows, logits in bands:
        joined = logits if left is None else torch.cat([left, logits], dim=1)
        full = rows.stop // zoom * zoom - (rows.stop - joined.shape[1])
        left = joined[:, full:].clone()
        if full:
            done = rows.stop // zoom
            yield slice(done - full // zoom, done), F.avg_pool2d(joined[:, :full], zoom)


class _Enlarged:
    """An image whose rows are those of another one, enlarged when they are read."""

    def __init__(self, image: ImageRows, zoom: int) -> None:
        self._image, self._zoom = image, zoom

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3)."""
        height, width = self._image.shape[:2]
        return height * self._zoom, width * self._zoom, 3

    def __getitem__(self, rows: slice, /) -> Image:
        """Rows (h, W, 3) uint8, the same ones whichever others are read with them."""
        first, last = rows.start // self._zoom, -(-rows.stop // self._zoom)
        top = max(first - 1, 0)  # a pixel also depends on those above and below
        part = self._image[top : min(last + 1, self._image.shape[0])]
        size = (self.shape[1], len(part) * self._zoom)
        large = Picture.fromarray(part).resize(size, Picture.Resampling.BILINEAR)
        start = rows.start - top * self._zoom
        pixels: Image = np.asarray(large)[start : start + rows.stop - rows.start]
        return pixels


def _bands(
    predict: Predict,
    image: ImageRows,
    window: tuple[int, int],
    overlap: float,
    batch: int,
    start: int,
) -> Iterator[tuple[slice, Tensor]]:
    """As `tile_bands`, without a zoom."""
    (height, width), (tall, wide) = image.shape[:2], window
    above, before = max(tall - height, 0) // 2, max(wide - width, 0) // 2
    padded = _mirrored(image, window)
    tops, lefts = (
        _starts(side, part, overlap) for side, part in zip(padded.shape[:2], window, strict=True)
    )
    down, across = _shares(tops, tall), _shares(lefts, wide)
    ends = [*(top - above for top in tops[1:]), height]  # of the rows that each yields
    first = next((index for index, end in enumerate(ends) if end > start), len(tops))
    carried: Tensor | None = None
    for index, top in enumerate(tops):
        if first == len(tops) or top + tall <= tops[first]:
            continue  # no wanted row is in these windows
        strip = padded[top : top + tall]
        summed = _blend(predict, strip, lefts, across, batch).mul_(down[index][:, None])
        if carried is not None:
            summed[:, : carried.shape[1]] += carried
        done = tops[index + 1] - top if index + 1 < len(tops) else tall
        carried = summed[:, done:].clone()
        if index >= first:
            rows = slice(max(top - above, start), ends[index])
            inside = slice(rows.start + above - top, rows.stop + above - top)
            yield rows, summed[:, inside, before : before + width]
        del summed  # not kept while the next row of windows is predicted


def hann(size: int) -> Tensor:
    """Weights (size,) fp64 of the pixels across a window: sin² at pixel centres, never 0.

    Args:
        size: side of the window in pixels.
    """
    return torch.sin(torch.pi * (torch.arange(size, dtype=torch.float64) + 0.5) / size) ** 2


def _blend(
    predict: Predict, strip: Image, lefts: list[int], shares: list[Tensor], batch: int
) -> Tensor:
    """Logits (K, h, W) of one row of windows, blended from side to side."""
    tall, width = strip.shape[:2]
    wide = len(shares[0])
    summed = torch.empty(0)
    for first in range(0, len(lefts), batch):
        part = lefts[first : first + batch]
        windows = np.stack([strip[:, left : left + wide] for left in part])
        logits = predict(torch.from_numpy(windows).permute(0, 3, 1, 2).contiguous())
        logits = logits.detach().float().cpu()
        if first == 0:
            summed = logits.new_zeros(logits.shape[1], tall, width)
        for offset, left in enumerate(part):
            summed[:, :, left : left + wide] += logits[offset] * shares[first + offset]
    return summed


def _starts(side: int, size: int, overlap: float) -> list[int]:
    step = max(1, int(size * (1 - overlap)))
    last = side - size
    return [*range(0, last, step), last]


def _shares(starts: list[int], size: int) -> list[Tensor]:
    """Share of each window in the pixels that it covers along one axis; the shares sum to 1.

    A grid of windows is a product of two axes, and so are its sums of weights.
    """
    weights = hann(size)
    total = torch.zeros(starts[-1] + size, dtype=torch.float64)
    for start in starts:
        total[start : start + size] += weights
    return [(weights / total[start : start + size]).float() for start in starts]


def _mirrored(image: ImageRows, window: tuple[int, int]) -> ImageRows:
    missing = [max(part - side, 0) for part, side in zip(window, image.shape[:2], strict=True)]
    if not any(missing):
        return image
    ends = [(short // 2, short - short // 2) for short in missing]
    pixels = image[0 : image.shape[0]]  # one side is below that of a window
    mirrored: Image = np.pad(pixels, [*ends, (0, 0)], mode="reflect")
    return mirrored


def _check(image: ImageRows, size: int, overlap: float, batch: int, zoom: int) -> None:
    if not 0 <= overlap < 1:
        raise UserError(f"overlap {overlap} of windows is out of range: give 0 up to below 1")
    if size < 1 or batch < 1 or zoom < 1:
        raise UserError(f"windows of {size} px in batches of {batch}, zoom {zoom}: give 1 or more")
    if len(image.shape) != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UserError(f"an image of shape {image.shape} cannot be tiled: give (H, W, 3)")
