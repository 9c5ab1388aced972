"""The finite bank of augmented views that a cell trains on, made once.

A finite bank lets frozen parts of a model be computed once per view and reused in all epochs.
The transforms of "standard" are those of the reports that this suite reproduces: sliding windows,
magnification, flips, 90 degree rotation, intensity, contrast and gamma. The others are those of
published recipes: where an original draws a transform with probability p for each image, here a
share p of the views of each image has it.

Images become squares by plain resizing, aspect not kept, as in SAMed, MedSAM and SAM-Adapter.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.errors import no_such

UInt8 = npt.NDArray[np.uint8]
Labels = npt.NDArray[Any]
Box = tuple[float, float, float, float]  # left, upper, right, lower in pixels
View = tuple[UInt8, Labels]
Transform = Callable[[Image.Image, Image.Image, int, np.random.Generator], View]

_WINDOW = (0.5, 1.0)  # window side over image side: up to twofold magnification
_GAMMA = (0.7, 1.4)
_CONTRAST = (0.75, 1.25)
_BRIGHTNESS = (-0.1, 0.1)  # of full scale


@dataclass(frozen=True, eq=False)
class Bank:
    """Training views: images (N, S, S, 3) uint8 and labels (N, S, S) of the type given."""

    images: UInt8
    masks: Labels

    def __len__(self) -> int:
        return len(self.images)


def make_bank(
    pairs: Sequence[tuple[UInt8, Labels]], *, views: int, size: int, kind: str, seed: int
) -> Bank:
    """Make the views of some images and masks, spread evenly over the images.

    View v shows image v modulo the number of images; the first view of each is the whole image, the
    next go through the transforms of the kind in turn.
    A view depends on `seed` and v only, so that a larger bank begins with the smaller one, and that
    a second bank with other labels of the same images shows the same views.

    Args:
        pairs: image (H, W, 3) and labels (H, W): class indices as uint8, or instance numbers as
            int32; sizes may differ between pairs.
        views: N; never fewer than there are images, so that none is lost.
        size: side S in pixels.
        kind: "none" for the whole images alone (N is then their number), "mirror" for each image
            and its mirror image (SAM-Adapter), "turns" for as many whole images as small rotations,
            and twice as many flipped quarter turns (SAMed), or "standard".
        seed: of the random windows, turns and intensities.

    Raises:
        UserError: there is no such kind.
    """
    if kind not in KINDS:
        raise no_such("augmentation", kind, KINDS)
    sources = [(Image.fromarray(image), Image.fromarray(mask)) for image, mask in pairs]
    count = _count(kind, views, len(sources))
    images = np.empty((count, size, size, 3), np.uint8)
    masks = np.empty((count, size, size), pairs[0][1].dtype)
    for view in range(count):
        image, mask = sources[view % len(sources)]
        transform = _transform(kind, view // len(sources))
        rng = np.random.default_rng([seed, view])
        images[view], masks[view] = transform(image, mask, size, rng)
    return Bank(images, masks)


def _count(kind: str, views: int, sources: int) -> int:
    """The number of views: at least one of each image, and whole cycles where shares must hold."""
    if kind == "standard":
        return max(views, sources)
    cycle = sources * len(_CYCLES[kind])
    return cycle * (max(1, math.ceil(views / cycle)) if kind == "turns" else 1)


def _transform(kind: str, lap: int) -> Transform:
    """What is done to an image when its turn comes for the `lap`-th time, from 0 on."""
    if kind == "standard":
        return _random_view if lap else _whole
    return _CYCLES[kind][lap % len(_CYCLES[kind])]


def resize_image(image: UInt8, size: int) -> UInt8:
    """Image (H, W, 3) as a square (size, size, 3), by antialiased bilinear interpolation."""
    return _resize(Image.fromarray(image), size, Image.Resampling.BILINEAR)


def resize_mask(mask: UInt8, size: int) -> UInt8:
    """Mask (H, W) as a square (size, size), by nearest neighbour: no class is invented."""
    return _resize(Image.fromarray(mask), size, Image.Resampling.NEAREST)


def _whole(image: Image.Image, mask: Image.Image, size: int, rng: np.random.Generator) -> View:
    return (
        _resize(image, size, Image.Resampling.BILINEAR),
        _resize(mask, size, Image.Resampling.NEAREST),
    )


def _random_view(
    image: Image.Image, mask: Image.Image, size: int, rng: np.random.Generator
) -> View:
    scale = rng.uniform(*_WINDOW)
    width, height = scale * image.width, scale * image.height
    left, upper = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    box = (left, upper, left + width, upper + height)
    turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
    levels = _intensity(rng)
    return (
        levels[_turn(_resize(image, size, Image.Resampling.BILINEAR, box), turns, mirror)],
        _turn(_resize(mask, size, Image.Resampling.NEAREST, box), turns, mirror),
    )


def _mirrored(image: Image.Image, mask: Image.Image, size: int, rng: np.random.Generator) -> View:
    first, second = _whole(image, mask, size, rng)
    return _turn(first, 0, True), _turn(second, 0, True)


def _flipped(image: Image.Image, mask: Image.Image, size: int, rng: np.random.Generator) -> View:
    """One of the four reflections of a square, as any quarter turn followed by any flip is."""
    first, second = _whole(image, mask, size, rng)
    turns = int(rng.integers(4))
    return _turn(first, turns, True), _turn(second, turns, True)


def _rotated(image: Image.Image, mask: Image.Image, size: int, rng: np.random.Generator) -> View:
    """Turned by whole degrees in [-20, 19], nearest neighbour; corners are black and class 0."""
    degrees = int(rng.integers(-20, 20))
    return _whole(image.rotate(degrees), mask.rotate(degrees), size, rng)


def _intensity(rng: np.random.Generator) -> UInt8:
    """New value (256) of each grey level: gamma, then contrast about mid-grey, then brightness."""
    level = np.linspace(0, 1, 256) ** np.exp(rng.uniform(*np.log(_GAMMA)))
    level = (level - 0.5) * rng.uniform(*_CONTRAST) + 0.5 + rng.uniform(*_BRIGHTNESS)
    return (level.clip(0, 1) * 255).round().astype(np.uint8)


def _turn(pixels: Labels, turns: int, mirror: bool) -> Labels:
    turned = np.rot90(pixels, turns)
    return turned[:, ::-1] if mirror else turned


def _resize(image: Image.Image, size: int, how: Image.Resampling, box: Box | None = None) -> Labels:
    return np.array(image.resize((size, size), how, box))


_CYCLES: dict[str, tuple[Transform, ...]] = {
    "none": (_whole,),
    "mirror": (_whole, _mirrored),
    "turns": (_whole, _flipped, _rotated, _flipped),
}
KINDS = ("standard", *_CYCLES)
