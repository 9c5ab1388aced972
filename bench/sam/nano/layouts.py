"""Arrangements of objects in a procedural scene: scattered, in bundles, tiling, in regions."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from bench.data.components import label_components
from bench.draw import texture
from bench.draw.texture import Labels
from bench.sam.nano.outlines import KINDS

MAX_COUNT = 160
MIN_RADIUS = 5.5  # px; nuclei and particles at 256 px are seldom smaller
_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def draw_layout(rng: np.random.Generator, size: int) -> Labels:
    """Choose an arrangement of objects at random, and draw it.

    Args:
        rng: source of randomness.
        size: side S in px.

    Returns:
        Object numbers (S, S) int32, 0 is background; numbers may be missing, objects tiny, and
        there may be none.
    """
    kind = rng.choice(4, p=[0.78, 0.07, 0.08, 0.07])
    if kind == 0:
        return _scattered(rng, size)
    if kind == 1:
        return _laths(rng, size)
    return _tiling(rng, size) if kind == 2 else _regions(rng, size)


def _scattered(rng: np.random.Generator, size: int) -> Labels:
    """One to three sorts of shapes at one size scale, apart, touching, overlapping or clustered."""
    radius = float(np.exp(rng.uniform(np.log(MIN_RADIUS), np.log(0.38 * size))))
    coverage = rng.uniform(0.03, 0.75)
    count = int(np.clip(coverage * size**2 / (np.pi * radius**2), 1, MAX_COUNT))
    radii = radius * np.exp(rng.normal(0, rng.uniform(0, 0.5), count))
    radii = np.clip(radii, 2.8, 0.45 * size)
    sorts = rng.choice(np.array([*KINDS]), rng.integers(1, 4), p=[*KINDS.values()])
    templates = [sorts[i % len(sorts)](rng) for i in range(min(count, 12))]
    centres = _centres(rng, size, radii)
    angles = rng.uniform(0, 2 * np.pi) + rng.normal(0, rng.choice([0.1, 3.0]), count)
    picture = Image.new("I", (size, size))
    draw = ImageDraw.Draw(picture)
    for i, centre in enumerate(centres):
        c, s = np.cos(angles[i]) * radii[i], np.sin(angles[i]) * radii[i]
        corners = templates[i % len(templates)] @ np.array([[c, s], [-s, c]]) + centre
        draw.polygon(corners.ravel().tolist(), fill=i + 1)
    return np.array(picture, np.int32)


def _centres(
    rng: np.random.Generator, size: int, radii: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Places (n, 2) by dart throwing; with `apart` 1 discs touch at most, below 1 they overlap."""
    apart = rng.choice([0.0, 0.6, 0.9, 1.1])
    tries = (len(radii), 4, 2)
    places = rng.uniform(0, size, tries)
    if rng.random() < 0.35:  # clustered
        hubs = rng.uniform(0, size, (int(rng.integers(1, 7)), 2))
        places = hubs[rng.integers(len(hubs), size=tries[:2])]
        places = places + rng.normal(0, rng.uniform(0.05, 0.2) * size, tries)
    kept = np.empty((len(radii), 2))
    count = 0
    for radius, candidates in zip(radii.copy(), places, strict=True):
        for place in candidates:
            away = ((kept[:count] - place) ** 2).sum(1)
            if not apart or (away >= (apart * (radii[:count] + radius)) ** 2).all():
                kept[count] = place
                radii[count] = radius
                count += 1
                break
    return kept[:count]


def _laths(rng: np.random.Generator, size: int) -> Labels:
    """Bundles of parallel laths, as in martensite or fibres."""
    picture = Image.new("I", (size, size))
    draw = ImageDraw.Draw(picture)
    number = 0
    for _ in range(rng.integers(1, 6)):
        angle, hub = rng.uniform(0, np.pi), rng.uniform(0, size, 2)
        width, length = rng.uniform(3, 14), rng.uniform(30, 150)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        for row in range(rng.integers(2, 14)):
            middle = hub + across * row * width * rng.uniform(1.1, 2) + along * rng.normal(0, 8)
            half = along * length * rng.uniform(0.3, 0.6)
            thick = across * width * rng.uniform(0.3, 0.6)
            corners = [middle - half, middle + thick, middle + half, middle - thick]
            if row % 2:  # blunt ends beside pointed ones
                corners = [middle + a * half + b * thick for a, b in _CORNERS]
            number += 1
            draw.polygon(np.concatenate(corners).tolist(), fill=number)
    return np.array(picture, np.int32)


def _tiling(rng: np.random.Generator, size: int) -> Labels:
    """Grains or tissue cells that tile the picture, some missing, walls none to thick."""
    cell = float(np.exp(rng.uniform(np.log(0.06 * size), np.log(0.4 * size))))
    shrink = rng.choice([1.0, rng.uniform(0.75, 0.97)])
    present = rng.choice([1.0, rng.uniform(0.4, 0.95)])
    picture = Image.new("I", (size, size))
    draw = ImageDraw.Draw(picture)
    for number, corners in enumerate(texture.voronoi_polygons(rng, (size, size), cell), 1):
        if rng.random() < present:
            corners = corners.mean(0) + shrink * (corners - corners.mean(0))
            draw.polygon(corners.ravel().tolist(), fill=number)
    labels = np.array(picture, np.int32)
    return texture.warp(labels, rng, cell / 2, rng.uniform(0, 0.15) * cell)


def _regions(rng: np.random.Generator, size: int) -> Labels:
    """Islands, and sometimes the network between them, of a thresholded noise field."""
    cell = float(np.exp(rng.uniform(np.log(0.06 * size), np.log(0.4 * size))))
    field = texture.smooth_noise(rng, (size, size), cell, int(rng.integers(1, 4)))
    if rng.random() < 0.3:
        field = -np.abs(field)  # zero level becomes a winding band
    labels = label_components(field > np.quantile(field[::4, ::4], rng.uniform(0.5, 0.9)))
    return np.asarray(labels, np.int32)
