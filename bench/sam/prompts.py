"""Prompts (boxes and clicks) and the rule that derives them from the ground truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from bench.data.components import label_components
from bench.data.fit import fitted_size, pad_labels
from bench.data.items import IGNORE
from bench.sam.surgery import require

Map = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Prompts:
    """Prompts of one batch, in pixels of the model's input; each tuple has one entry per image.

    Attributes:
        boxes: (n, 4) float, x0 y0 x1 y1 with exclusive upper ends.
        clicks: (n, c, 2) float, x y of c positive clicks per prompt. A model uses the boxes or the
            clicks, see `PromptRule.kind`; both are always there. n can be 0.
        classes: (n,) int64 on the CPU, class of the object of each prompt.
    """

    boxes: tuple[Tensor, ...]
    clicks: tuple[Tensor, ...]
    classes: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.boxes)

    def __getitem__(self, rows: slice) -> "Prompts":
        """The prompts of some images."""
        return Prompts(self.boxes[rows], self.clicks[rows], self.classes[rows])

    def to(self, device: torch.device) -> "Prompts":
        """Return a copy with boxes and clicks on `device`; the classes stay on the CPU."""
        return Prompts(
            tuple(boxes.to(device) for boxes in self.boxes),
            tuple(clicks.to(device) for clicks in self.clicks),
            self.classes,
        )

    @staticmethod
    def join(parts: "list[Prompts]") -> "Prompts":
        """Concatenate several batches to one."""
        return Prompts(
            *(tuple(t for part in parts for t in getattr(part, name)) for name in _FIELDS)
        )


_FIELDS = ("boxes", "clicks", "classes")
KINDS = ("box", "point", "image")
UNITS = ("object", "component", "class")


@dataclass(frozen=True)
class PromptRule:
    """Rule that derives prompts from the ground truth; such prompts are oracle prompts.

    Attributes:
        kind: "box" or "point"; or "image" for one box around the whole image, which needs no ground
            truth, so that it is not an oracle prompt. All other attributes then have no effect.
        unit: region of one prompt: an "object" (an instance if the image has instances, else a
            component), a 4-connected "component" of one class, or a whole "class" of the image, as
            in MedSAM.
        clicks: number of clicks per object. In evaluation the first click is the innermost pixel
            of the object and the others are random; in training all are random.
        overlap: IoU of the box with the tight box, in (0, 1]; below 1 the box is shifted in a
            random direction (Med-SA uses 0.5 and 0.75), then clipped to the image, which can change
            the IoU.
        jitter: in training each side of a box moves outwards by a random whole number of pixels
            from 0 to this value (rounded down), measured at an image side of 1024, but not beyond
            the image (20 in MedSAM; 19 pixels of the original image in Sam_LoRA).
        most: maximum number of prompted objects per image in evaluation; the smallest objects
            beyond it get no prompt.
        training_most: maximum number of prompted objects per image in training; the prompted
            objects are drawn at random and the loss ignores the others.

    Raises:
        UserError: a value is out of range; `most` and `training_most` are not checked.
    """

    kind: str = "box"
    unit: str = "object"
    clicks: int = 1
    overlap: float = 1.0
    jitter: float = 0.0
    most: int = 128
    training_most: int = 8

    def __post_init__(self) -> None:
        """Check the values; raises UserError if one is out of range."""
        require(self.kind in KINDS, f"prompt '{self.kind}' is not known: give {', '.join(KINDS)}")
        require(
            self.unit in UNITS, f"unit '{self.unit}' is not known: give one of {', '.join(UNITS)}"
        )
        require(self.clicks >= 1, f"clicks {self.clicks} is too small: give 1 or more")
        require(0 < self.overlap <= 1, f"overlap {self.overlap} is out of range: give 0 to 1")
        require(self.jitter >= 0, f"jitter {self.jitter} is negative: give pixels from 0 on")

    def for_evaluation(self, mask: Map, instances: npt.NDArray[Any] | None = None) -> Prompts:
        """Return the prompts of one image; the same input always gives the same prompts.

        Objects whose most frequent class is 0 or `IGNORE` get no prompt, so there may be none.

        Args:
            mask: (S, S) class indices at the model's input size.
            instances: (S, S) instance numbers, 0 for background; None or all 0 without instances.
                Only the unit "object" uses them.

        Returns:
            A batch of one image, on the CPU, the largest object first.
        """
        if self.kind == "image":
            return self.example(mask.shape[0], 1)
        numbered = self._numbered(mask, instances)
        boxes, innermost, numbers = object_prompts(numbered)
        classes = _majority(numbered, mask, numbers)
        kept = _of_a_class(classes)[: self.most]
        boxes, innermost, numbers = boxes[kept], innermost[kept], numbers[kept]
        rng = np.random.default_rng(0)
        more = _random_clicks(numbered, numbers, self.clicks - 1, rng)
        clicks = torch.cat([innermost[:, None], more], dim=1)
        return Prompts((self._moved(boxes, mask.shape, rng),), (clicks,), (classes[kept],))

    def for_training(
        self, masks: Tensor, rng: np.random.Generator, instances: Tensor | None = None
    ) -> tuple[Prompts, Tensor]:
        """Return the prompts of one batch and its masks, `IGNORE` where foreground has no prompt.

        Objects whose most frequent class is 0 or `IGNORE` are not prompted. For the kind "image"
        the masks are returned as they are.

        Args:
            masks: (B, S, S) uint8 class indices; not changed.
            rng: draws the objects, the clicks, and the shift and jitter of the boxes.
            instances: (B, S, S) instance numbers on the CPU, 0 for background; None or all 0
                without instances. Only the unit "object" uses them.

        Returns:
            Prompts and masks, on the device of `masks`.
        """
        if self.kind == "image":
            return self.example(masks.shape[-1], len(masks)).to(masks.device), masks
        batches, kept_masks = [], masks.clone()
        for row, mask in enumerate(masks.cpu().numpy()):
            numbered = self._numbered(mask, None if instances is None else instances[row].numpy())
            boxes, _, numbers = object_prompts(numbered)
            classes = _majority(numbered, mask, numbers)
            chosen = rng.permutation(_of_a_class(classes).numpy())[: self.training_most]
            boxes, numbers, classes = boxes[chosen], numbers[chosen], classes[chosen]
            clicks = _random_clicks(numbered, numbers, self.clicks, rng)
            boxes = self._moved(boxes, mask.shape, rng)
            out = rng.integers(0, int(self.jitter) + 1, (len(boxes), 4)) * mask.shape[0] / 1024
            boxes = boxes + torch.from_numpy(out * [-1, -1, 1, 1]).float()
            batches.append(Prompts((boxes.clamp(0, mask.shape[0]),), (clicks,), (classes,)))
            left_out = (mask != 0) & ~np.isin(numbered, numbers.numpy())
            kept_masks[row][torch.from_numpy(left_out).to(masks.device)] = IGNORE
        return Prompts.join(batches).to(masks.device), kept_masks

    def example(self, size: int, count: int) -> Prompts:
        """Return one prompt of class 1 for each of `count` images of `size` px.

        The box is the middle half of the image, for costs; for the kind "image" it is the whole
        image. The clicks are in the centre. The tensors are on the CPU.
        """
        ends = (0.0, 1.0) if self.kind == "image" else (0.25, 0.75)
        box = torch.tensor([[ends[0], ends[0], ends[1], ends[1]]]) * size
        clicks = torch.full((1, self.clicks, 2), 0.5) * size
        return Prompts.join([Prompts((box,), (clicks,), (torch.tensor([1]),))] * count)

    def _numbered(self, mask: Map, instances: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        if self.unit == "class":
            return np.where(mask == IGNORE, 0, mask)
        if instances is None or not instances.any() or self.unit == "component":
            return _components(mask)
        return instances

    def _moved(self, boxes: Tensor, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
        """Shift boxes (n, 4) to an IoU of `overlap` with the originals, then clip to the image."""
        if self.overlap == 1 or len(boxes) == 0:
            return boxes
        shared = 2 * self.overlap / (1 + self.overlap)  # intersection / area of a box
        across = rng.uniform(0, 1 - shared, len(boxes))
        down = 1 - shared / (1 - across)
        signs = rng.choice([-1.0, 1.0], (len(boxes), 2))
        shift = torch.from_numpy(np.stack([across, down], 1) * signs).float()
        shift = shift * (boxes[:, 2:] - boxes[:, :2])
        return (boxes + shift.repeat(1, 2)).clamp(0, shape[0])


def _majority(numbered: npt.NDArray[Any], mask: Map, numbers: Tensor) -> Tensor:
    """Return the most frequent class of the pixels of each object, (n,) int64."""
    classes = [int(np.bincount(mask[numbered == number]).argmax()) for number in numbers.tolist()]
    return torch.tensor(classes, dtype=torch.int64)


def _of_a_class(classes: Tensor) -> Tensor:
    """Return the indices of the objects that are neither background nor unlabelled."""
    return torch.nonzero((classes != 0) & (classes != IGNORE))[:, 0]


def _random_clicks(
    numbered: npt.NDArray[Any], numbers: Tensor, count: int, rng: np.random.Generator
) -> Tensor:
    """Draw clicks (n, count, 2) x y, each uniformly from the pixels of its object."""
    clicks = np.empty((len(numbers), count, 2), np.float32)
    for row, number in enumerate(numbers.tolist()):
        ys, xs = np.nonzero(numbered == number)
        pick = rng.integers(len(ys), size=count)
        clicks[row] = np.stack([xs[pick], ys[pick]], axis=1) + 0.5
    return torch.from_numpy(clicks)


def object_prompts(instances: npt.NDArray[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tight box and the innermost click of every numbered object.

    Args:
        instances: (H, W) integers, 0 for background; numbers may be missing.

    Returns:
        Boxes (n, 4) x0 y0 x1 y1 with exclusive upper ends, clicks (n, 2) x y, both float32 in
        pixels, and object numbers (n,) int64; sorted by area, the largest object first.
    """
    objects = []
    for number, window in enumerate(ndimage.find_objects(instances.astype(np.int64)), start=1):
        if window is None:
            continue
        inside = instances[window] == number
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        rows, columns = window
        box = (columns.start, rows.start, columns.stop, rows.stop)
        click = (columns.start + x + 0.5, rows.start + y + 0.5)
        objects.append((int(inside.sum()), number, box, click))
    objects.sort(key=lambda entry: -entry[0])
    return (
        torch.tensor([entry[2] for entry in objects], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([entry[3] for entry in objects], dtype=torch.float32).reshape(-1, 2),
        torch.tensor([entry[1] for entry in objects], dtype=torch.int64),
    )


def nearest(values: npt.NDArray[Any], size: int, fit: str = "square") -> npt.NDArray[Any]:
    """Resize labels to a square by nearest neighbour.

    Args:
        values: (H, W) of any integer type.
        size: side of the result in pixels.
        fit: in `bench.data.fit.FITS`; padding is as of `pad_labels`.

    Returns:
        (size, size), of the same type.
    """
    rows, columns = (
        ((np.arange(new) + 0.5) / new * old).astype(int)
        for new, old in zip(fitted_size(values.shape, size, fit), values.shape, strict=True)
    )
    return pad_labels(values[rows][:, columns], size)


def _components(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    numbered = np.zeros(mask.shape, np.int64)
    for index in np.unique(mask):
        if index not in (0, IGNORE):
            parts = label_components(mask == index)
            numbered += np.where(parts > 0, parts + numbered.max(), 0)
    return numbered
