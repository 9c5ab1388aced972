"""The bank: all augmented views that a cell trains on.

The number of views is fixed, so that the output of frozen layers can be computed once per view and
reused in all epochs. An image is decoded when its views are drawn and then forgotten, so that the
memory does not depend on the size and number of the images. Where an original code draws a
transform with probability p for each image, "mirror" and "turns" apply that transform to a share p
of the views of each image.

Views become squares as `bench.data.fit` describes; the windows of "windows" and "sliding" are
square crops and neither resized nor padded.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from bench.data import transforms
from bench.data.fit import Labels, UInt8, check_fit, fitted_size, pad_image, pad_labels
from bench.data.parallel import tell
from bench.data.transforms import Transform
from bench.errors import no_such

# An image (H, W, 3) uint8 with its labels (H, W): class indices as uint8, or instance numbers as
# int32, or first the one and then the other.
Sample = tuple[UInt8, Labels] | tuple[UInt8, Labels, Labels]


@dataclass(frozen=True, eq=False)
class Bank:
    """Training views; N rows, where each D consecutive ones are a stack of D slices.

    Attributes:
        images: (N, S, S, 3) uint8; the memory is in the order (N, 3, S, S) of a model's input.
        masks: (N, S, S) class indices uint8, or instance numbers int32.
        instances: instance numbers (N, S, S) int32; None where samples have one kind of labels.
    """

    images: UInt8
    masks: Labels
    instances: Labels | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Kind:
    """One kind of augmentation.

    Attributes:
        text: what it does, for help texts and captions.
        turn: the transform of the n-th view of an image, n from 0.
        native: whether its views are square windows at the resolution of the image.
        count: number of views, from the number requested and the number of images (or stacks).
    """

    text: str
    turn: Callable[[int], Transform]
    count: Callable[[int, int], int] = max
    native: bool = False


class Views:
    """The views of some images, drawn when they are needed and spread evenly over the images.

    View v shows image v modulo the number of images, transformed as the kind prescribes. It depends
    on `seed` and v only: more views begin with the fewer ones, and other labels of the same images
    have the same views.

    With a depth above 1 a view is a stack of slices: all have the same transform, and about half of
    the transformed views, at random, have the slices in reverse order.

    Args:
        samples: at least one, a multiple of D; sizes may differ. A sample is taken each time that
            views of it are drawn, so the sequence may decode files.
        views: N; if it is less than the number of images (or stacks), that number is made. "none"
            makes one view of each image, "mirror" two, "turns" whole cycles of four of each.
        size: side S of the views in pixels.
        kind: a name in `KINDS`, where each is described.
        seed: of the random windows, turns and intensities.
        depth: D; each D consecutive samples are a stack of slices of one size, and each D rows of
            a bank one view.
        fit: how whole images and their windows become squares, in `bench.data.fit.FITS`.

    Raises:
        UserError: `kind` or `fit` is unknown.
        ValueError: the number of samples is not a multiple of D.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        views: int,
        size: int,
        kind: str,
        seed: int,
        depth: int = 1,
        fit: str = "square",
    ) -> None:
        check_fit(fit)
        if kind not in KINDS:
            raise no_such("augmentation", kind, KINDS)
        if len(samples) % depth:
            raise ValueError(f"{len(samples)} slices do not make whole stacks of {depth}")
        self.size, self.depth, self._fit = size, depth, fit
        self._samples, self._kind, self._seed = samples, KINDS[kind], seed
        self._sources = len(samples) // depth
        self._count = self._kind.count(views, self._sources)

    def __len__(self) -> int:
        """Number of views: images or stacks."""
        return self._count

    def draw(self, views: Iterable[int] | None = None) -> Bank:
        """Draw some views, or all: D rows for each, in the order given.

        Args:
            views: their numbers, from 0, at least one; each image is decoded once for all its
                views. None for all.
        """
        numbers = list(range(self._count) if views is None else views)
        of_source: dict[int, list[int]] = {}
        for place, view in enumerate(numbers):
            of_source.setdefault(view % self._sources, []).append(place)
        bank: Bank | None = None
        for source, places in of_source.items():
            first = source * self.depth
            stack = [self._samples[row] for row in range(first, first + self.depth)]
            bank = bank or self._empty(len(numbers), [part.dtype for part in stack[0][1:]])
            pictures = [tuple(map(Image.fromarray, sample)) for sample in stack]
            del stack
            for place in places:
                self._fill(bank, place * self.depth, pictures, numbers[place])
            tell("drawing views of images", source + 1, self._sources)
        assert bank is not None, "at least one view is drawn"
        return bank

    def _empty(self, views: int, types: Sequence[np.dtype[Any]]) -> Bank:
        rows, size = views * self.depth, self.size
        images = np.empty((rows, 3, size, size), np.uint8).transpose(0, 2, 3, 1)
        return Bank(images, *(np.empty((rows, size, size), kind) for kind in types))

    def _fill(
        self, bank: Bank, row: int, pictures: Sequence[tuple[Image.Image, ...]], view: int
    ) -> None:
        """Draw one view into the rows of a bank from `row` on."""
        transform = self._kind.turn(view // self._sources)
        if self.depth > 1 and transform is not transforms.whole and _upside_down(self._seed, view):
            pictures = pictures[::-1]
        targets = [bank.masks] if bank.instances is None else [bank.masks, bank.instances]
        for place, (image, *labels) in enumerate(pictures, start=row):
            fit = "square" if self._kind.native else self._fit
            size = fitted_size((image.height, image.width), self.size, fit)
            for target, label in zip(targets, labels, strict=True):
                # The same transform for every slice and every kind of labels.
                rng = np.random.default_rng([self._seed, view])
                pixels, values = transform(image, label, size, rng)
                bank.images[place] = pad_image(pixels, self.size)
                target[place] = pad_labels(values, self.size)


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
    "zoomed": Kind(
        "windows of 40 to 65 % of the sides, for evaluation with --zoom 2; quarter turns, mirror "
        "images, gamma, contrast, brightness",
        lambda lap: transforms.zoomed_window,
    ),
    "windows": Kind(
        "windows anywhere at native resolution, quarter turns, mirror images, gamma, contrast, "
        "brightness",
        lambda lap: transforms.native_window,
        native=True,
    ),
    "sliding": Kind(
        "windows at native resolution from a grid where they half overlap, as they are; when all "
        "have come, again with quarter turns, mirror images, gamma, contrast, brightness",
        transforms.sliding_window,
        native=True,
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
