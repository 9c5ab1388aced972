"""Scenes and prompts of each training step of `sam_nano`."""

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from bench.sam.nano.corpus import make_scene
from bench.sam.nano.domains import make_domain_scene
from bench.sam.nano.plan import Plan

CELL = 2  # px of the image that one value of the decoder's masks covers
# SAM: noise of 10 % of the side, at most 20 px at 1024 px, 5 px here.
BOX_NOISE, MOST_NOISE = 0.1, 5.0

Image = npt.NDArray[np.uint8]  # (S, S, 3)
Instances = npt.NDArray[np.uint16]  # (S, S), 0 is background, objects are 1..n without gaps


class Batches(Dataset[dict[str, Tensor]]):
    """Batches of the steps `start` to `stop` (exclusive).

    The batch of a step depends on the plan and the absolute number of the step alone, so that a
    resumed run sees the same. Item i is the result of `draw_prompts` for step `start` + i.

    Args:
        plan: the recipe.
        start: absolute number of the first step.
        stop: absolute number of the step after the last.
    """

    def __init__(self, plan: Plan, start: int, stop: int) -> None:
        self.plan, self.start, self.stop = plan, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        step = self.start + index
        phase = self.plan.phase_at(step)
        rng = np.random.default_rng((self.plan.seed, step))
        scenes = [draw_scene(rng, self.plan, phase.side) for _ in range(self.plan.images)]
        return draw_prompts(rng, scenes, phase.prompts, self.plan)


def draw_scene(rng: np.random.Generator, plan: Plan, side: int) -> tuple[Image, Instances]:
    """Draw a scene that resembles a micrograph, or one of any kind.

    Args:
        rng: source of randomness.
        plan: gives the share of scenes that resemble micrographs.
        side: S in pixels.

    Returns:
        Image (S, S, 3) uint8 and instances (S, S) uint16.
    """
    if rng.random() < plan.domain_share:
        return make_domain_scene(rng, side)
    return make_scene(rng, side)


def share_prompts(counts: list[int], prompts: int, crowding: float) -> list[int]:
    """Return the number of prompts of each scene of a batch, 0 or more; their sum is `prompts`.

    The score of a model is a mean over objects, so a scene of many objects gets more prompts; the
    power below 1 leaves enough for large objects, which are few in a scene.

    Args:
        counts: objects of each scene, at least 1.
        prompts: of the batch.
        crowding: power of the count that a scene's prompts are in proportion to.
    """
    weights = np.array(counts, np.float64) ** crowding
    ends = np.round(np.cumsum(weights) / weights.sum() * prompts).astype(int)
    return np.diff(ends, prepend=0).tolist()


def draw_prompts(
    rng: np.random.Generator,
    scenes: list[tuple[Image, Instances]],
    prompts: int,
    plan: Plan,
) -> dict[str, Tensor]:
    """Draw objects from a batch of scenes, with a box and a click for each.

    Args:
        rng: source of randomness.
        scenes: B images (S, S, 3) uint8 and instances (S, S), S even, with one object or more.
        prompts: P, number of objects; an object is drawn again only if its scene has too few.
        plan: gives the shares of tight boxes and innermost clicks, and `crowding`.

    Returns:
        "images" (B, 3, S, S) uint8; "scene" (P,) int64, number of the image of each object;
        "targets" (P, S/2, S/2) uint8, share of each cell that the object covers, in 255ths; "tight"
        (exact boxes) and "boxes" (P, 4) x0 y0 x1 y1, and "clicks" (P, 2) x y, in pixels, float32.
    """
    scene, chosen = _choose_objects(rng, [objects for _, objects in scenes], prompts, plan.crowding)
    size = scenes[0][1].shape[0]
    masks = np.stack([scenes[i][1] == number for i, number in zip(scene, chosen, strict=True)])
    cells = masks.reshape(prompts, size // CELL, CELL, size // CELL, CELL)
    shares = cells.mean((2, 4), dtype=np.float32)
    windows = [ndimage.find_objects(objects) for _, objects in scenes]
    tight = np.empty((prompts, 4), np.float32)
    clicks = np.empty((prompts, 2), np.float32)
    for row, (i, number) in enumerate(zip(scene, chosen, strict=True)):
        rows, columns = windows[i][number - 1]
        tight[row] = columns.start, rows.start, columns.stop, rows.stop
        x, y = draw_click(rng, masks[row, rows, columns], rng.random() < plan.inner_clicks)
        clicks[row] = columns.start + x, rows.start + y
    images = np.stack([image for image, _ in scenes])
    return {
        "images": torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        "scene": torch.from_numpy(scene),
        "targets": torch.from_numpy((shares * 255).astype(np.uint8)),
        "tight": torch.from_numpy(tight),
        "boxes": torch.from_numpy(jitter_boxes(rng, tight, size, plan.exact_boxes)),
        "clicks": torch.from_numpy(clicks),
    }


def _choose_objects(
    rng: np.random.Generator, scenes: list[Instances], prompts: int, crowding: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Scene (P,) and number (P,) of each prompt's object, in random order.

    No object of a scene is drawn again before all others of it were.
    """
    counts = [int(instances.max()) for instances in scenes]
    shares = share_prompts(counts, prompts, crowding)
    numbers = [
        np.resize(rng.permutation(count), share) + 1
        for count, share in zip(counts, shares, strict=True)
    ]
    order = rng.permutation(prompts)
    return np.repeat(np.arange(len(scenes)), shares)[order], np.concatenate(numbers)[order]


def draw_click(
    rng: np.random.Generator, inside: npt.NDArray[np.bool_], innermost: bool
) -> tuple[float, float]:
    """Draw a click on an object.

    Args:
        rng: source of randomness.
        inside: (h, w) window of the image, True on the object, which has a pixel or more.
        innermost: take the pixel with the largest distance to the outline, not a random pixel.

    Returns:
        x and y in pixels of the window, at the centre of the pixel.
    """
    if innermost:
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        ys, xs = np.nonzero(inside)
        pick = rng.integers(len(ys))
        y, x = ys[pick], xs[pick]
    return float(x) + 0.5, float(y) + 0.5


def jitter_boxes(
    rng: np.random.Generator, tight: npt.NDArray[np.float32], size: int, exact: float
) -> npt.NDArray[np.float32]:
    """Add SAM's noise to boxes: each side moves by a normal deviate.

    Its standard deviation is `BOX_NOISE` times the side of the box, at most `MOST_NOISE` pixels.

    Args:
        rng: source of randomness.
        tight: (P, 4) x0 y0 x1 y1 in pixels.
        size: side of the image in pixels, to which boxes are clipped.
        exact: probability that a box is not changed.

    Returns:
        Boxes (P, 4) float32.
    """
    sides = np.tile(tight[:, 2:] - tight[:, :2], 2)
    moved = np.clip(tight + rng.normal(0, np.minimum(BOX_NOISE * sides, MOST_NOISE)), 0, size)
    return np.where(rng.random((len(tight), 1)) < exact, tight, moved).astype(np.float32)
