"""Transforms from an image and its labels to one view of both.

Images are interpolated bilinearly, antialiased where they shrink; labels by nearest neighbour,
which adds no class and no object.

A `Transform` takes an RGB image, its class map or instance numbers of the same size, the height and
width of the view in pixels, and the source of randomness. It returns the view, (h, w, 3) uint8 and
(h, w); a view that it turned by a quarter has the two exchanged.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

from bench.data.fit import Labels, UInt8, resize
from bench.data.items import IGNORE

View = tuple[UInt8, Labels]  # (h, w, 3) and (h, w)
Size = tuple[int, int]  # height and width
Transform = Callable[[Image.Image, Image.Image, Size, np.random.Generator], View]

_WINDOW = (0.5, 1.0)  # window side over image side: up to twofold magnification
_ZOOMED = (0.4, 0.65)  # likewise: a magnification of 1.5 to 2.5, around that of `--zoom 2`
_GAMMA = (0.7, 1.4)
_CONTRAST = (0.75, 1.25)
_BRIGHTNESS = (-0.1, 0.1)  # of full scale
_MAGNIFICATION = 2.5  # the largest, as in the steel report
_SHARE = 0.5  # of the views that are rotated freely, and of those that are equalised


def whole(image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator) -> View:
    """The whole image, resized; `rng` is not used."""
    return (
        resize(image, size, Image.Resampling.BILINEAR),
        resize(mask, size, Image.Resampling.NEAREST),
    )


def mirrored(image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator) -> View:
    """The whole image, resized and mirrored left to right; `rng` is not used."""
    return _turn(whole(image, mask, size, rng), 0, True)


def flipped(image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator) -> View:
    """The whole image, resized and reflected in one of four ways at random.

    These are all results of a quarter turn that is followed by a flip.
    """
    return _turn(whole(image, mask, size, rng), int(rng.integers(4)), True)


def rotated(image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator) -> View:
    """The whole image, turned by a random number of whole degrees in [-20, 19], then resized.

    Both are turned by nearest neighbour at their own size; the corners become black and class 0.
    """
    degrees = int(rng.integers(-20, 20))
    return whole(image.rotate(degrees), mask.rotate(degrees), size, rng)


def random_window(
    image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator
) -> View:
    """A window of 50 to 100 % of both sides (one share for both) at a random place, resized.

    It has one of the eight orientations of a rectangle, and random gamma, contrast and brightness.
    """
    return _window(image, mask, size, rng, rng.uniform(*_WINDOW))


def zoomed_window(
    image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator
) -> View:
    """As `random_window`, with 40 to 65 % of both sides: the scale at which `--zoom 2` predicts."""
    return _window(image, mask, size, rng, rng.uniform(*_ZOOMED))


def _window(
    image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator, scale: float
) -> View:
    """A window of this share of both sides at a random place, resized and varied."""
    width, height = scale * image.width, scale * image.height
    left, upper = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    box = (left, upper, left + width, upper + height)
    view = (
        resize(image, size, Image.Resampling.BILINEAR, box),
        resize(mask, size, Image.Resampling.NEAREST, box),
    )
    return _varied(view, rng)


def turned_window(
    image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator
) -> View:
    """A window magnified up to 2.5 times, half of them turned by any angle, half equalised.

    The window never leaves the image, so that no pixel is invented and every label counts. A turned
    window is therefore magnified at least until it fits: 1.4 times at 45 degrees of a square, and
    more than 2.5 times where a long image needs it. Intensities and orientation vary as in
    `random_window`.
    """
    angle = rng.uniform(0, math.pi / 2) if rng.random() < _SHARE else 0.0
    pixels, labels = _turned(image, mask, size, angle, rng)
    if rng.random() < _SHARE:
        pixels = _equalised(pixels)
    return _varied((pixels, labels), rng)


def native_window(
    image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator
) -> View:
    """A window of `size`, a square, at a random place, at the resolution of the image.

    It has one of the eight orientations of a rectangle, and random gamma, contrast and brightness.
    A smaller image is mirrored at its edges; the labels there are `IGNORE`, or instance number 0.
    """
    side = size[0]
    left = int(rng.integers(max(image.width - side, 0) + 1))
    upper = int(rng.integers(max(image.height - side, 0) + 1))
    return _varied(_cut(image, mask, side, left, upper), rng)


def sliding_window(lap: int) -> Transform:
    """Return a transform that cuts one window of a grid, at the image's own resolution.

    Neighbouring windows of the grid overlap by half. Their order is shuffled, always in the same
    way, so that the first few are spread over the image. In the first pass over the grid they are
    unchanged; later they have a random orientation and random intensities. A smaller image is
    enlarged as in `native_window`.

    Args:
        lap: number of the window, from 0; after the last window of the grid the first comes again.
    """

    def cut(image: Image.Image, mask: Image.Image, size: Size, rng: np.random.Generator) -> View:
        uppers, lefts = (_starts(side, size[0]) for side in (image.height, image.width))
        count = len(uppers) * len(lefts)
        place = int(np.random.default_rng(0).permutation(count)[lap % count])
        row, column = divmod(place, len(lefts))
        view = _cut(image, mask, size[0], lefts[column], uppers[row])
        return view if lap < count else _varied(view, rng)

    return cut


def _turned(
    image: Image.Image, mask: Image.Image, size: Size, angle: float, rng: np.random.Generator
) -> View:
    """A window turned by `angle` in [0, pi / 2] radians, of random size and place inside the image.

    A window of 1/m of the sides fits, turned, into the image from a certain magnification m on.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    fits = cos + sin * max(image.width / image.height, image.height / image.width)
    magnification = rng.uniform(fits, max(fits, _MAGNIFICATION))
    width, height = image.width / magnification, image.height / magnification
    wide, tall = width * cos + height * sin, width * sin + height * cos  # the box around it
    x = wide / 2 + rng.random() * (image.width - wide)
    y = tall / 2 + rng.random() * (image.height - tall)

    def sample(source: Image.Image, across: int, down: int, how: Image.Resampling) -> Image.Image:
        right, below = width / across, height / down  # steps in pixels of the image
        matrix = (
            *(cos * right, sin * below, x - (width * cos + height * sin) / 2),
            *(-sin * right, cos * below, y - (height * cos - width * sin) / 2),
        )
        return source.transform((across, down), Image.Transform.AFFINE, matrix, how)

    # Sampled as finely as the image is, and only then made smaller: sampling does not antialias.
    fine = max(size[1], math.ceil(width)), max(size[0], math.ceil(height))
    return (
        resize(sample(image, *fine, Image.Resampling.BILINEAR), size, Image.Resampling.BILINEAR),
        np.array(sample(mask, size[1], size[0], Image.Resampling.NEAREST)),
    )


def _cut(image: Image.Image, mask: Image.Image, size: int, left: int, upper: int) -> View:
    """A window at the image's own resolution; an image with a shorter side is padded by mirroring.

    Padding does not train: it is `IGNORE` in class maps and 0 in instance numbers, where one object
    would otherwise be in two places.
    """
    box = (left, upper, min(left + size, image.width), min(upper + size, image.height))
    pixels, labels = np.array(image.crop(box)), np.array(mask.crop(box))
    room = [((size - side) // 2, (size - side + 1) // 2) for side in labels.shape]
    unlabelled = IGNORE if labels.dtype == np.uint8 else 0
    return (
        np.pad(pixels, [*room, (0, 0)], "reflect"),
        np.pad(labels, room, constant_values=unlabelled),
    )


def _starts(side: int, size: int) -> list[int]:
    """Starts of the windows along one side: half a window apart, the last at the edge."""
    last = max(side - size, 0)
    return [*range(0, last, max(1, size // 2)), last]


def _varied(view: View, rng: np.random.Generator) -> View:
    """The view in one of the eight orientations of a rectangle, with random intensities."""
    turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
    levels = _intensity(rng)
    pixels, labels = _turn(view, turns, mirror)
    return levels[pixels], labels


def _intensity(rng: np.random.Generator) -> UInt8:
    """New value (256) of each grey level: gamma, then contrast about mid-grey, then brightness."""
    level = np.linspace(0, 1, 256) ** np.exp(rng.uniform(*np.log(_GAMMA)))
    level = (level - 0.5) * rng.uniform(*_CONTRAST) + 0.5 + rng.uniform(*_BRIGHTNESS)
    return (level.clip(0, 1) * 255).round().astype(np.uint8)


def _equalised(pixels: UInt8) -> UInt8:
    """Histogram equalisation with one histogram for the three channels, which keeps hues."""
    flat = Image.fromarray(pixels.reshape(len(pixels), -1))
    return np.asarray(ImageOps.equalize(flat)).reshape(pixels.shape)


def _turn(view: View, turns: int, mirror: bool) -> View:
    pixels, labels = (np.rot90(part, turns) for part in view)
    return (pixels[:, ::-1], labels[:, ::-1]) if mirror else (pixels, labels)
