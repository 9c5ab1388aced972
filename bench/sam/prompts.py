"""Prompts: boxes and clicks, and how they are made from the ground truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from bench.data.items import IGNORE


@dataclass(frozen=True)
class Prompts:
    """Prompts of one batch, all in pixels of the model's input; one list entry an image.

    Attributes:
        boxes: (n, 4) float x0 y0 x1 y1, upper ends exclusive.
        clicks: (n, 2) float x y, one positive click for each box.
        classes: (n,) int64 class that each prompt asks for.
    """

    boxes: tuple[Tensor, ...]
    clicks: tuple[Tensor, ...]
    classes: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.boxes)

    def to(self, device: torch.device) -> "Prompts":
        """Boxes and clicks on `device`; classes stay where they can be read, on the CPU."""
        return Prompts(
            tuple(boxes.to(device) for boxes in self.boxes),
            tuple(clicks.to(device) for clicks in self.clicks),
            self.classes,
        )

    @staticmethod
    def join(parts: "list[Prompts]") -> "Prompts":
        """One batch of several."""
        return Prompts(
            *(tuple(t for part in parts for t in getattr(part, name)) for name in _FIELDS)
        )


_FIELDS = ("boxes", "clicks", "classes")


def object_prompts(instances: npt.NDArray[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """The tight box and the innermost click of every numbered object.

    Args:
        instances: (H, W) integers, 0 for background.

    Returns:
        Boxes (n, 4) x0 y0 x1 y1 with upper ends exclusive and clicks (n, 2) x y, float32 in pixels,
        and the numbers (n,) int64; the largest object first.
    """
    found = []
    for number, window in enumerate(ndimage.find_objects(instances.astype(np.int64)), start=1):
        if window is None:
            continue
        inside = instances[window] == number
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        rows, columns = window
        box = (columns.start, rows.start, columns.stop, rows.stop)
        click = (columns.start + x + 0.5, rows.start + y + 0.5)
        found.append((int(inside.sum()), number, box, click))
    found.sort(key=lambda entry: -entry[0])
    return (
        torch.tensor([entry[2] for entry in found], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([entry[3] for entry in found], dtype=torch.float32).reshape(-1, 2),
        torch.tensor([entry[1] for entry in found], dtype=torch.int64),
    )


def oracle_prompts(
    mask: npt.NDArray[np.uint8], instances: npt.NDArray[Any] | None = None, most: int = 128
) -> Prompts:
    """Prompts made from the ground truth of one image: they tell the answer's place.

    Each connected component (4-neighbourhood) of each class but 0 gets its tight box and its
    innermost click; where instances are given, each instance in the class that most of its pixels
    have. Beyond `most` objects the smallest go without a prompt.

    Args:
        mask: (H, W) class indices at the model's input size.
        instances: (H, W) instance numbers, 0 for background.
        most: bound on the objects of one image.
    """
    numbered = _components(mask) if instances is None else instances
    boxes, clicks, numbers = object_prompts(numbered)
    classes = torch.tensor(
        [int(np.bincount(mask[numbered == number]).argmax()) for number in numbers.tolist()],
        dtype=torch.int64,
    )
    kept = torch.nonzero((classes != 0) & (classes != IGNORE))[:most, 0]
    return Prompts((boxes[kept],), (clicks[kept],), (classes[kept],))


def nearest(values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Labels (H, W) of any integer type as a square (size, size), by nearest neighbour."""
    centres = (np.arange(size) + 0.5) / size
    rows, columns = ((centres * side).astype(int) for side in values.shape)
    return values[rows][:, columns]


def _components(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    numbered = np.zeros(mask.shape, np.int64)
    for index in np.unique(mask):
        if index not in (0, IGNORE):
            parts = ndimage.label(mask == index)[0]
            numbered += np.where(parts > 0, parts + numbered.max(), 0)
    return numbered
