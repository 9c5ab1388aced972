"""Building blocks of procedural pictures: noise fields, stripes, grains, blur.

Fields are float32 arrays of shape (H, W) with mean near 0 and values mostly within [-1, 1].
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy.spatial import Voronoi

Field = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


def resize(field: Field, shape: tuple[int, int]) -> Field:
    """Stretch a field (h, w) to `shape` (H, W) smoothly; far cheaper than a spline zoom."""
    fine = 6 * field.shape[0] > shape[0]  # facets of bilinear stretching stay invisible
    how = Image.Resampling.BILINEAR if fine else Image.Resampling.BICUBIC
    stretched = Image.fromarray(field).resize(shape[::-1], how)
    return np.asarray(stretched, np.float32)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 1
) -> Field:
    """Noise whose coarsest features are about `cell` px wide; each octave halves size and weight.

    Args:
        rng: source of randomness.
        shape: height and width in px.
        cell: size of the coarsest features in px, above 0.
        octaves: number of layers, 1 is smooth, 5 is cloud-like.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = cell / 2**octave
        weight = np.float32(0.5 * 0.5**octave)
        if step <= 1:  # nothing finer than a pixel can be seen
            total += rng.standard_normal(shape, dtype=np.float32) * weight
            break
        # Two more nodes than fit: the picture never starts on a node, so no grid shows.
        grid = rng.standard_normal(
            (int(shape[0] / step) + 2, int(shape[1] / step) + 2), dtype=np.float32
        )
        total += resize(grid, shape) * weight
    return total


def ramp(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Linear gradient from -1 to 1 in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    gradient = np.float32(np.sin(angle)) * y + np.float32(np.cos(angle)) * x
    return np.asarray(gradient / np.abs(gradient).max(), np.float32)


def stripes(
    rng: np.random.Generator, shape: tuple[int, int], period: float, waviness: float = 0.0
) -> Field:
    """Sine stripes of `period` px in a random direction, bent by `waviness` px."""
    angle = rng.uniform(0, np.pi)
    y = np.arange(shape[0], dtype=np.float32)[:, None]
    x = np.arange(shape[1], dtype=np.float32)[None, :]
    along = np.float32(np.sin(angle)) * y + np.float32(np.cos(angle)) * x
    if waviness:
        along = along + np.float32(waviness) * smooth_noise(rng, shape, 8 * period)
    return np.asarray(np.sin(along * np.float32(2 * np.pi / period)), np.float32)


def voronoi_polygons(
    rng: np.random.Generator, shape: tuple[int, int], cell: float
) -> list[npt.NDArray[np.float64]]:
    """Corners (V, 2) as x, y of Voronoi cells about `cell` px wide that tile the picture."""
    height, width = shape[0] + 4 * cell, shape[1] + 4 * cell  # margin: open cells lie outside
    count = max(int(height * width / cell**2), 8)
    seeds = rng.uniform((0, 0), (width, height), (count, 2)) - 2 * cell
    diagram = Voronoi(seeds)
    regions = (diagram.regions[index] for index in diagram.point_region)
    return [diagram.vertices[region] for region in regions if region and -1 not in region]


def warp(labels: Labels, rng: np.random.Generator, cell: float, reach: float) -> Labels:
    """Displace a label map (H, W) by a smooth random field of about `reach` px: wavy borders."""
    height, width = labels.shape
    dy, dx = (smooth_noise(rng, labels.shape, cell) * np.float32(2 * reach) for _ in range(2))
    rows = np.clip(np.arange(height)[:, None] + dy.astype(np.int32), 0, height - 1)
    columns = np.clip(np.arange(width)[None, :] + dx.astype(np.int32), 0, width - 1)
    return labels[rows, columns]


def borders(labels: Labels) -> npt.NDArray[np.bool_]:
    """Pixels (H, W) that differ from a direct neighbour."""
    edge = np.zeros(labels.shape, np.bool_)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def blur(image: npt.NDArray[np.uint8], sigma: float) -> npt.NDArray[np.uint8]:
    """Blur a uint8 picture (H, W) or (H, W, 3) by a near-Gaussian of `sigma` px."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)), np.uint8)
