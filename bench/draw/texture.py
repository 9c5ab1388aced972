"""Building blocks of procedural images: noise fields, stripes, grains, outlines, blur.

Fields are float32 arrays of shape (H, W) with mean near 0 and values mostly within [-1, 1]. `rng`
is the source of randomness.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter
from scipy.spatial import Voronoi

from bench.draw import exact

Field = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


def resize(field: Field, shape: tuple[int, int]) -> Field:
    """Resize a field (h, w) to `shape` (H, W), bicubic if its height grows sixfold or more.

    Otherwise it is bilinear, antialiased if it shrinks. Both are much faster than a zoom by
    splines.
    """
    fine = 6 * field.shape[0] > shape[0]  # below this factor, bilinear facets are not visible
    method = Image.Resampling.BILINEAR if fine else Image.Resampling.BICUBIC
    stretched = Image.fromarray(field).resize(shape[::-1], method)
    return np.asarray(stretched, np.float32)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 1
) -> Field:
    """Return a sum (H, W) of noise layers, each with half the feature size and weight of the last.

    A layer whose features are a pixel or finer is white noise, and no other follows it.

    Args:
        rng: source of randomness.
        shape: height and width in px.
        cell: size of the coarsest features in px, above 0.
        octaves: largest number of layers; with 1 the noise is smooth, with 5 it looks like clouds.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = cell / 2**octave
        weight = np.float32(0.5 * 0.5**octave)
        if step <= 1:  # finer than a pixel
            total += rng.standard_normal(shape, dtype=np.float32) * weight
            break
        # Two more nodes than needed, so that nodes are not aligned with the image border.
        grid = rng.standard_normal(
            (int(shape[0] / step) + 2, int(shape[1] / step) + 2), dtype=np.float32
        )
        total += resize(grid, shape) * weight
    return total


def ramp(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Return a linear gradient (H, W) in a random direction, with largest absolute value 1.

    Args:
        rng: source of randomness.
        shape: height and width in px.
    """
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    gradient = np.float32(exact.sin(angle)) * y + np.float32(exact.cos(angle)) * x
    return np.asarray(gradient / np.abs(gradient).max(), np.float32)


def stripes(
    rng: np.random.Generator, shape: tuple[int, int], period: float, waviness: float = 0.0
) -> Field:
    """Return sine stripes in a random direction.

    Args:
        rng: source of randomness.
        shape: height and width in px.
        period: distance of two stripes in px.
        waviness: by about how many px the stripes are bent; 0 for straight ones.

    Returns:
        (H, W) in [-1, 1].
    """
    angle = rng.uniform(0, np.pi)
    y = np.arange(shape[0], dtype=np.float32)[:, None]
    x = np.arange(shape[1], dtype=np.float32)[None, :]
    along = np.float32(exact.sin(angle)) * y + np.float32(exact.cos(angle)) * x
    if waviness:
        along = along + np.float32(waviness) * smooth_noise(rng, shape, 8 * period)
    return np.asarray(exact.sin(along * np.float32(2 * np.pi / period)), np.float32)


def voronoi_cells(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, stretch: float = 1.0
) -> Labels:
    """Divide an image into Voronoi cells about `cell` px high and `stretch` times as wide.

    Args:
        rng: source of randomness.
        shape: height and width in px.
        cell: height of a cell in px.
        stretch: width of a cell divided by its height.

    Returns:
        For each pixel (H, W) int32 the number of its cell, from 1; numbers may be missing.
    """
    sheet = Image.new("I", shape[::-1])
    draw = ImageDraw.Draw(sheet)
    narrow = (shape[0], int(shape[1] / stretch))
    for number, corners in enumerate(voronoi_polygons(rng, narrow, cell), 1):
        draw.polygon((corners * (stretch, 1)).ravel().tolist(), fill=number)
    return np.asarray(sheet, np.int32)


def voronoi_polygons(
    rng: np.random.Generator, shape: tuple[int, int], cell: float
) -> list[npt.NDArray[np.float64]]:
    """Return the corners of Voronoi cells that cover the whole image and its surroundings.

    Args:
        rng: source of randomness.
        shape: height and width in px.
        cell: about the width of a cell in px.

    Returns:
        For each cell its V corners (V, 2) as x and y in px; they can be outside the image.
    """
    height, width = shape[0] + 4 * cell, shape[1] + 4 * cell  # margin for the open cells outside
    count = max(int(height * width / cell**2), 8)
    seeds = rng.uniform((0, 0), (width, height), (count, 2)) - 2 * cell
    diagram = Voronoi(seeds)
    regions = (diagram.regions[index] for index in diagram.point_region)
    return [diagram.vertices[region] for region in regions if region and -1 not in region]


def warp(labels: Labels, rng: np.random.Generator, cell: float, reach: float) -> Labels:
    """Return a label map (H, W) displaced by a smooth random field: straight borders become wavy.

    Args:
        labels: (H, W).
        rng: source of randomness.
        cell: size of the features of the field in px.
        reach: typical displacement in px.
    """
    height, width = labels.shape
    dy, dx = (smooth_noise(rng, labels.shape, cell) * np.float32(2 * reach) for _ in range(2))
    rows = np.clip(np.arange(height)[:, None] + dy.astype(np.int32), 0, height - 1)
    columns = np.clip(np.arange(width)[None, :] + dx.astype(np.int32), 0, width - 1)
    return labels[rows, columns]


def borders(labels: Labels) -> npt.NDArray[np.bool_]:
    """Return a bool array, True for the pixels of `labels` (H, W) that differ from a neighbour.

    Neighbours are the four pixels that share an edge.
    """
    edge = np.zeros(labels.shape, np.bool_)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


@dataclass(frozen=True)
class Window:
    """A part of an image in which one object is drawn.

    Attributes:
        place: rows and columns of the image; `image[place]` shares its memory.
        dy: distance (h, 1) in px of each row from the centre of the object, negative above it.
        dx: distance (1, w) in px of each column from the centre, negative to the left of it.
    """

    place: tuple[slice, slice]
    dy: Field
    dx: Field


def window(shape: tuple[int, int], centre: tuple[float, float], reach: float) -> Window:
    """Return the window around a point. It is cropped at the border of the image.

    Args:
        shape: height and width of the image in px.
        centre: row and column of the point, which may be outside the image.
        reach: half the side of the window in px.

    Returns:
        The window, which is empty if it is completely outside the image.
    """
    place, away = [], []
    for size, at in zip(shape, centre, strict=True):
        start = min(max(int(at - reach), 0), size)
        stop = max(min(int(at + reach) + 2, size), start)
        place.append(slice(start, stop))
        away.append(np.arange(start, stop, dtype=np.float32) - np.float32(at))
    return Window((place[0], place[1]), away[0][:, None], away[1][None, :])


def axis_coordinates(at: Window, radii: tuple[float, float], turn: float) -> tuple[Field, Field]:
    """Return the coordinates of a window's pixels along two axes that are turned by an angle.

    Args:
        at: the window; the axes cross at the centre of its object.
        radii: radius of the object along each axis in px.
        turn: direction of the first axis in radians; 0 points right, pi / 2 down.

    Returns:
        Coordinates (h, w) along the first and along the second axis, divided by the radius of that
        axis.
    """
    c, s = np.float32(exact.cos(turn)), np.float32(exact.sin(turn))
    along = (c * at.dx + s * at.dy) / np.float32(radii[0])
    across = (c * at.dy - s * at.dx) / np.float32(radii[1])
    return np.asarray(along, np.float32), np.asarray(across, np.float32)


def wavy_ellipse(along: Field, across: Field, waves: npt.NDArray[np.float64]) -> Field:
    """Return the relative distance (h, w) from the centre of an ellipse with a wavy outline.

    It is 0 in the centre, 1 on the outline and larger outside.

    Args:
        along: coordinates (h, w) along the first axis, from `axis_coordinates`.
        across: coordinates along the second axis.
        waves: amplitudes (N, 2) of cosine and sine of 2, 3, ... N + 1 waves around the outline, as
            shares of the radius. The outline stays at 0.3 or more of the radius.
    """
    rho = exact.hypot(along, across)
    outline = np.ones_like(rho)
    length = np.where(rho == 0, 1, rho).astype(np.float64)
    once = np.where(rho == 0, 1, along) / length, across / length  # cosine and sine of the angle
    c, s = once
    for cosine, sine in waves:
        c, s = c * once[0] - s * once[1], s * once[0] + c * once[1]  # of one more wave around
        outline += np.float32(cosine) * c.astype(np.float32)
        outline += np.float32(sine) * s.astype(np.float32)
    return np.asarray(rho / np.maximum(outline, np.float32(0.3)), np.float32)


def bumpy_outline(
    rng: np.random.Generator,
    shape: tuple[int, int],
    centre: tuple[float, float],
    radii: tuple[float, float],
    bumps: tuple[int, float],
    reach: float,
) -> tuple[Window, Field]:
    """Return a window and, in it, the relative distance (h, w) from the centre of a wavy ellipse.

    The direction of the ellipse is random.

    Args:
        rng: source of randomness.
        shape: height and width of the image in px.
        centre: row and column of its centre.
        radii: of its axes in px.
        bumps: N, for 2 to N + 1 waves around the outline, and the standard deviation of their
            amplitudes.
        reach: half the side of the window in px.

    Returns:
        The window, and the distance (h, w) of its pixels: 0 in the centre, 1 on the outline.
    """
    at = window(shape, centre, reach)
    axes = axis_coordinates(at, radii, rng.uniform(0, np.pi))
    return at, wavy_ellipse(*axes, rng.normal(0, bumps[1], (bumps[0], 2)))


def pile(
    shape: tuple[int, int], outlines: Sequence[tuple[Window, Field]], smallest: int, share: float
) -> tuple[Labels, list[int]]:
    """Stack objects, the last on top, and omit objects of which too little is visible.

    Args:
        shape: height and width in px.
        outlines: window of each object, and the relative distance in it, from `wavy_ellipse`.
        smallest: smallest visible area of an object, in px.
        share: smallest visible share, in [0, 1], of an object's area in its window.

    Returns:
        For each pixel (H, W) the number of the topmost object, 1 to n, or 0; and the indices of the
        n objects that were not omitted.
    """

    def stack(chosen: list[int]) -> Labels:
        labels = np.zeros(shape, np.int32)
        for number, index in enumerate(chosen, 1):
            at, rho = outlines[index]
            labels[at.place][rho < 1] = number
        return labels

    whole = np.array([np.count_nonzero(rho < 1) for _, rho in outlines])
    everything = stack(list(range(len(outlines))))
    visible = np.bincount(everything.ravel(), minlength=len(outlines) + 1)[1:]
    kept = np.flatnonzero(visible >= np.maximum(smallest, share * whole)).tolist()
    return stack(kept), kept  # omitting objects cannot hide any of the others


def blur(image: npt.NDArray[np.uint8], sigma: float) -> npt.NDArray[np.uint8]:
    """Blur a uint8 image (H, W) or (H, W, 3) with an approximate Gaussian of `sigma` px."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)), np.uint8)
