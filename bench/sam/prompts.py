"""Prompts: boxes and clicks, and how they are made from the ground truth."""

from dataclasses import dataclass

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


def oracle_prompts(
    mask: npt.NDArray[np.uint8], instances: npt.NDArray[np.uint16] | None = None, most: int = 128
) -> Prompts:
    """Prompts made from the ground truth of one image: they tell the answer's place.

    Each connected component (4-neighbourhood) of each class but 0 gets its tight box and the click
    farthest from its border; where instances are given, each instance in the class that most of its
    pixels have. Beyond `most` objects the smallest go without a prompt.

    Args:
        mask: (H, W) class indices at the model's input size.
        instances: (H, W) instance numbers, 0 for background.
        most: bound on the objects of one image.
    """
    objects: list[tuple[int, npt.NDArray[np.bool_], tuple[slice, slice]]] = []
    if instances is not None:
        labels = [(0, instances.astype(np.int64))]
    else:
        present = [int(k) for k in np.unique(mask) if k not in (0, IGNORE)]
        labels = [(k, ndimage.label(mask == k)[0]) for k in present]
    for index, numbered in labels:
        for number, window in enumerate(ndimage.find_objects(numbered), start=1):
            if window is None:
                continue
            inside = numbered[window] == number
            of = index or int(np.bincount(mask[window][inside]).argmax())
            if of not in (0, IGNORE):
                objects.append((of, inside, window))
    objects.sort(key=lambda found: -int(found[1].sum()))
    boxes, clicks = [], []
    for _, inside, (rows, columns) in objects[:most]:
        boxes.append([columns.start, rows.start, columns.stop, rows.stop])
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        clicks.append([columns.start + x + 0.5, rows.start + y + 0.5])
    return Prompts(
        (torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),),
        (torch.tensor(clicks, dtype=torch.float32).reshape(-1, 2),),
        (torch.tensor([found[0] for found in objects[:most]], dtype=torch.int64),),
    )
