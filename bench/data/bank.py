"""The bank: all augmented views that a cell trains on, made once.

The number of views is fixed, so that the output of frozen layers can be computed once per view and
reused in all epochs. Where an original code draws a transform with probability p for each image,
"mirror" and "turns" apply that transform to a share p of the views of each image.

Images become squares by plain resizing, aspect not kept, as in SAMed, MedSAM and SAM-Adapter; the
windows of "windows" and "sliding" are square crops and not resized.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bench.data import transforms
from bench.data.transforms import Labels, Transform, UInt8
from bench.errors import no_such


@dataclass(frozen=True, eq=False)
class Bank:
    """Training views; N rows, where each D consecutive ones are a stack of D slices.

    Attributes:
        images: (N, S, S, 3) uint8.
        masks: (N, S, S) class indices uint8, or instance numbers int32.
    """

    images: UInt8
    masks: Labels

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Kind:
    """One kind of augmentation.

    Attributes:
        text: what it does, for help texts and captions.
        turn: the transform of the n-th view of an image, n from 0.
        count: number of views, from the number requested and the number of images (or stacks).
    """

    text: str
    turn: Callable[[int], Transform]
    count: Callable[[int, int], int] = max


def make_bank(
    pairs: Sequence[tuple[UInt8, Labels]],
    *,
    views: int,
    size: int,
    kind: str,
    seed: int,
    depth: int = 1,
) -> Bank:
    """Make the views of some images and masks, spread evenly over the images.

    View v shows image v modulo the number of images, transformed as the kind prescribes. It depends
    on `seed` and v only: a larger bank begins with the smaller one, and a second bank with other
    labels of the same images has the same views.

    With a depth above 1 a view is a stack of slices: all have the same transform, and about half of
    the transformed views, at random, have the slices in reverse order.

    Args:
        pairs: at least one, a multiple of D: image (H, W, 3) uint8 and labels (H, W): class
            indices as uint8, or instance numbers as int32; sizes may differ between pairs.
        views: N; if it is less than the number of images (or stacks), that number is made. "none"
            makes one view of each image, "mirror" two, "turns" whole cycles of four of each.
        size: side S of the views in pixels.
        kind: a name in `KINDS`, where each is described.
        seed: of the random windows, turns and intensities.
        depth: D; each D consecutive pairs are a stack of slices of one size, and each D rows of the
            result one view.

    Returns:
        The views; with a depth of D, N views are N x D rows.

    Raises:
        UserError: `kind` is unknown.
        ValueError: the number of pairs is not a multiple of D.
    """
    if kind not in KINDS:
        raise no_such("augmentation", kind, KINDS)
    if len(pairs) % depth:
        raise ValueError(f"{len(pairs)} slices do not make whole stacks of {depth}")
    slices = [(Image.fromarray(image), Image.fromarray(mask)) for image, mask in pairs]
    sources = [slices[start : start + depth] for start in range(0, len(slices), depth)]
    count = KINDS[kind].count(views, len(sources))
    images = np.empty((count * depth, size, size, 3), np.uint8)
    masks = np.empty((count * depth, size, size), pairs[0][1].dtype)
    for view in range(count):
        transform = KINDS[kind].turn(view // len(sources))
        stack = sources[view % len(sources)]
        if depth > 1 and transform is not transforms.whole and _upside_down(seed, view):
            stack = stack[::-1]
        for row, (image, mask) in enumerate(stack, start=view * depth):
            rng = np.random.default_rng([seed, view])  # the same transform for every slice
            images[row], masks[row] = transform(image, mask, size, rng)
    return Bank(images, masks)


def resize_image(image: UInt8, size: int) -> UInt8:
    """Resize an image to a square by bilinear interpolation, antialiased where it shrinks.

    Args:
        image: (H, W, 3) uint8.
        size: side of the result (size, size, 3) in pixels; the aspect ratio is not kept.
    """
    return transforms.resize(Image.fromarray(image), size, Image.Resampling.BILINEAR)


def resize_mask(mask: UInt8, size: int) -> UInt8:
    """Resize a mask to a square by nearest neighbour, which adds no class but may lose small ones.

    Args:
        mask: (H, W) uint8.
        size: side of the result (size, size) in pixels; the aspect ratio is not kept.
    """
    return transforms.resize(Image.fromarray(mask), size, Image.Resampling.NEAREST)


def _upside_down(seed: int, view: int) -> bool:
    """Drawn with its own generator, so that the transform is the same for every depth."""
    return bool(np.random.default_rng([seed, view, 1]).random() < 0.5)


def _whole_first(rest: Transform) -> Callable[[int], Transform]:
    return lambda lap: rest if lap else transforms.whole


def _cycle(text: str, *steps: Transform, repeated: bool = False) -> Kind:
    """Transforms one after the other: one cycle, or enough cycles for the requested views."""

    def count(views: int, sources: int) -> int:
        once = sources * len(steps)
        return once * (max(1, math.ceil(views / once)) if repeated else 1)

    return Kind(text, lambda lap: steps[lap % len(steps)], count)


KINDS: Mapping[str, Kind] = {
    "standard": Kind(
        "the whole image, then windows of 50 to 100 % of the sides, quarter turns, mirror images, "
        "gamma, contrast, brightness",
        _whole_first(transforms.random_window),
    ),
    "reports": Kind(
        "the whole image, then windows magnified up to 2.5 times, half of them turned by any "
        "angle, half equalised, quarter turns, mirror images, gamma, contrast, brightness",
        _whole_first(transforms.turned_window),
    ),
    "windows": Kind(
        "windows anywhere at native resolution, quarter turns, mirror images, gamma, contrast, "
        "brightness",
        lambda lap: transforms.native_window,
    ),
    "sliding": Kind(
        "windows at native resolution from a grid where they half overlap, as they are; when all "
        "have come, again with quarter turns, mirror images, gamma, contrast, brightness",
        transforms.sliding_window,
    ),
    "none": _cycle("the whole image alone", transforms.whole),
    "mirror": _cycle(
        "the whole image and its mirror image, as in SAM-Adapter",
        *(transforms.whole, transforms.mirrored),
    ),
    "turns": _cycle(
        "a quarter whole images, half flipped quarter turns, a quarter turned by -20 to 19 "
        "degrees, as in SAMed",
        *(transforms.whole, transforms.flipped, transforms.rotated, transforms.flipped),
        repeated=True,
    ),
}
