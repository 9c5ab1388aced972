"""Procedural scenes that resemble micrographs: packed cells, lamellae, particles; stains, defocus.

The general corpus seldom draws what is hard about such pictures: neighbours of one tone that touch,
texture within objects, edges out of focus, few photons, dyes that absorb instead of shining.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from bench.draw import texture
from bench.draw.texture import Field, Labels
from bench.sam.nano.corpus import MIN_RANGE, Canvas, renumber
from bench.sam.nano.layouts import draw_layout
from bench.sam.nano.outlines import blob, concave_polygon, convex_polygon, ellipse, rod

# Absorbances of red, green and blue of two dyes: haematoxylin and eosin (Ruifrok and Johnston,
# 2001, Analytical and Quantitative Cytology and Histology 23, 291-299).
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)


def make_domain_scene(
    rng: np.random.Generator, size: int = 256
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Draw one scene that resembles a micrograph.

    Args:
        rng: source of all randomness; equal states give equal scenes.
        size: side S in pixels.

    Returns:
        Image (S, S, 3) uint8 and instances (S, S) uint16: 0 is background, objects are numbered
        1..n without gaps, n at least 1; each has `MIN_AREA` px or more.
    """
    while True:
        layout = rng.choice(4, p=[0.45, 0.15, 0.12, 0.28])
        draw = (packed_cells, walled_cells, lamellae, draw_layout)[layout]
        instances = renumber(draw(rng, size))
        if not instances.max():
            continue
        style = STYLES[int(rng.integers(len(STYLES)))]
        image = _record(rng, style(rng, instances), instances)
        if np.ptp(image) >= MIN_RANGE:
            return image, instances.astype(np.uint16)


def packed_cells(rng: np.random.Generator, size: int) -> Labels:
    """Draw rounded or faceted objects on an irregular hexagonal grid, at most 400.

    Some grids leave gaps between the objects, in others they touch or overlap.

    Args:
        rng: source of randomness.
        size: side S in pixels.

    Returns:
        Object numbers (S, S), 0 is background; numbers may be missing.
    """
    radius = float(np.exp(rng.uniform(np.log(3.5), np.log(0.14 * size))))
    step = 2 * radius * rng.uniform(0.8, 1.25)
    rows, columns = np.mgrid[-1 : size / step / 0.866 + 1, -1 : size / step + 1]
    centres = np.stack([columns + 0.5 * (rows % 2), rows * 0.866], -1).reshape(-1, 2) * step
    centres = centres + rng.normal(0, rng.uniform(0.05, 0.3) * step, centres.shape)
    clumps = texture.smooth_noise(rng, (size, size), rng.uniform(0.15, 0.6) * size)
    level = np.quantile(clumps[::4, ::4], rng.choice([0.0, rng.uniform(0, 0.9)]))
    at = np.clip(centres, 0, size - 1).astype(int)
    centres = rng.permutation(centres[clumps[at[:, 1], at[:, 0]] >= level])[:400]
    outlines = [ellipse, blob, blob, convex_polygon, concave_polygon, rod]
    outline = outlines[rng.choice(6, p=[0.35, 0.2, 0.2, 0.15, 0.05, 0.05])]
    templates = [outline(rng) for _ in range(8)]
    radii = radius * np.exp(rng.normal(0, rng.uniform(0.05, 0.35), len(centres)))
    angles = rng.uniform(0, 2 * np.pi, len(centres))
    picture = Image.new("I", (size, size))
    draw = ImageDraw.Draw(picture)
    for i, centre in enumerate(centres):
        c, s = np.cos(angles[i]) * radii[i], np.sin(angles[i]) * radii[i]
        corners = templates[i % len(templates)] @ np.array([[c, s], [-s, c]]) + centre
        draw.polygon(corners.ravel().tolist(), fill=i + 1)
    return np.array(picture, np.int32)


def walled_cells(rng: np.random.Generator, size: int) -> Labels:
    """Draw patches of polygons, as cells of a tissue or grains, with walls of 0, 2 or 4 px.

    Args:
        rng: source of randomness.
        size: side S in pixels.

    Returns:
        Object numbers (S, S), 0 is background; numbers may be missing.
    """
    cell = float(np.exp(rng.uniform(np.log(8), np.log(0.3 * size))))
    labels = _voronoi(rng, size, cell)
    labels = texture.warp(labels, rng, cell / 2, rng.uniform(0, 0.12) * cell)
    for _ in range(int(rng.integers(0, 3))):
        labels = np.where(texture.borders(labels), 0, labels)
    patches = texture.smooth_noise(rng, (size, size), rng.uniform(0.3, 0.8) * size)
    level = np.quantile(patches[::4, ::4], rng.choice([0.0, rng.uniform(0, 0.7)]))
    return np.where(patches >= level, labels, 0).astype(np.int32)


def lamellae(rng: np.random.Generator, size: int) -> Labels:
    """Draw colonies of parallel plates, as in pearlite; each plate is one object.

    Args:
        rng: source of randomness.
        size: side S in pixels.

    Returns:
        Object numbers (S, S), 0 is background; numbers may be missing.
    """
    colonies = _voronoi(rng, size, rng.uniform(0.25, 1.0) * size)
    count = int(colonies.max()) + 1
    period = float(np.exp(rng.uniform(np.log(6), np.log(28))))
    periods = (period * np.exp(rng.normal(0, 0.2, count))).astype(np.float32)[colonies]
    angles = rng.uniform(0, np.pi, count)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    along = x * np.cos(angles).astype(np.float32)[colonies]
    along += y * np.sin(angles).astype(np.float32)[colonies]
    bend = texture.smooth_noise(rng, (size, size), rng.uniform(2, 6) * period)
    along += bend * np.float32(rng.uniform(0, 0.8) * period)
    number = np.floor(along / periods)
    plate = along / periods - number < rng.uniform(0.3, 0.75)
    key = (colonies * 4096 + number + 2048).astype(np.int64)
    _, numbers = np.unique(key, return_inverse=True)
    numbers = numbers.reshape(size, size).astype(np.int32)
    return np.where(plate, numbers + 1, 0).astype(np.int32)


def _voronoi(rng: np.random.Generator, size: int, cell: float) -> Labels:
    """Numbers (S, S) of Voronoi cells about `cell` px wide."""
    picture = Image.new("I", (size, size))
    draw = ImageDraw.Draw(picture)
    for number, corners in enumerate(texture.voronoi_polygons(rng, (size, size), cell), 1):
        draw.polygon(corners.ravel().tolist(), fill=number)
    return np.array(picture, np.int32)


def _interior(rng: np.random.Generator, instances: Labels) -> Field:
    """Texture within objects (S, S), mostly within [-1, 1]: cloudy, granular, spots or folds."""
    shape = (instances.shape[0], instances.shape[1])
    kind = rng.integers(4)
    if kind == 0:
        return 2 * texture.smooth_noise(rng, shape, rng.uniform(3, 10), 3)
    if kind == 1:
        return texture.smooth_noise(rng, shape, rng.uniform(1.2, 3), 1)
    field = texture.smooth_noise(rng, shape, rng.uniform(3, 9))
    if kind == 2:
        return np.asarray(np.clip(4 * (field - rng.uniform(0.3, 0.8)), 0, 1.5), np.float32)
    return np.asarray(1 - 4 * np.abs(field), np.float32)


def _per_object(rng: np.random.Generator, instances: Labels, spread: float) -> Field:
    """One factor an object, log-normal with deviation `spread`; 0 on the ground. (S, S)."""
    factors = np.exp(rng.normal(0, spread, int(instances.max()) + 1)).astype(np.float32)
    factors[0] = 0
    return factors[instances]


def _seams(rng: np.random.Generator, instances: Labels) -> Field:
    """Factors (S, S) in [0, 1] that dim outlines, by which touching neighbours of one tone part."""
    border = texture.borders(instances).astype(np.float32)
    return np.asarray(1 - border * rng.choice([0.0, rng.uniform(0.2, 0.9)]), np.float32)


def _cloud(rng: np.random.Generator, size: int) -> Field:
    """Unevenness of the ground (S, S), from flat to cloudy, about [-1, 1]."""
    cell = float(np.exp(rng.uniform(np.log(6), np.log(size))))
    return 2 * texture.smooth_noise(rng, (size, size), cell, int(rng.integers(1, 5)))


def fluorescent(rng: np.random.Generator, instances: Labels) -> Canvas:
    """Paint objects as in fluorescence: each of its own brightness, on a dark ground with haze.

    Args:
        rng: source of randomness.
        instances: object numbers (S, S), 0 is background.

    Returns:
        Grey canvas (S, S, 1) float32, values about [0, 1].
    """
    size = instances.shape[0]
    light = _per_object(rng, instances, rng.uniform(0.05, 0.7))
    light *= 1 + np.float32(rng.uniform(0, 0.4)) * _interior(rng, instances)
    light *= _seams(rng, instances)
    haze = texture.resize(texture.resize(light, (size // 8, size // 8)), (size, size))
    ground = rng.uniform(0.0, 0.3) * (1 + 0.5 * rng.random() * _cloud(rng, size))
    signal = light + np.float32(rng.uniform(0, 0.4)) * haze + ground
    return np.asarray(signal * rng.uniform(0.3, 0.8), np.float32)[..., None]


def stained(rng: np.random.Generator, instances: Labels) -> Canvas:
    """Paint objects as in stained tissue in transmitted light: one dye in them, one in the ground.

    Objects also keep a part of the dye of the ground. The light that passes is exp(-optical
    density).

    Args:
        rng: source of randomness.
        instances: object numbers (S, S), 0 is background.

    Returns:
        Colour canvas (S, S, 3) float32, values in [0, 1].
    """
    size = instances.shape[0]
    depth = rng.uniform(0.35, 1.6) * _per_object(rng, instances, rng.uniform(0.05, 0.4))
    depth *= 1 + np.float32(rng.uniform(0, 0.4)) * _interior(rng, instances)
    depth *= _seams(rng, instances)
    stroma = np.clip(rng.uniform(0.0, 0.5) * (1 + rng.uniform(0, 1) * _cloud(rng, size)), 0, 2)
    dyes = [HAEMATOXYLIN, EOSIN]
    if rng.random() < 0.4:  # any other pair of dyes
        dyes = [rng.uniform(0.05, 1, 3).astype(np.float32) for _ in dyes]
    washed = np.float32(rng.uniform(0.3, 1))  # how much of the ground's dye the objects keep
    stroma = np.where(instances > 0, washed * stroma, stroma)
    absorbed = np.clip(depth, 0, None)[..., None] * dyes[0] + stroma[..., None] * dyes[1]
    return np.asarray(np.exp(-absorbed) * rng.uniform(0.8, 1.0), np.float32)


def scanned(rng: np.random.Generator, instances: Labels) -> Canvas:
    """Paint objects as in a scanning electron image: bright edges, light from one side, grains.

    Args:
        rng: source of randomness.
        instances: object numbers (S, S), 0 is background.

    Returns:
        Grey canvas (S, S, 1) float32, values about [0, 1].
    """
    size = instances.shape[0]
    ground = rng.uniform(0.1, 0.6)
    contrast = rng.choice([rng.uniform(0.03, 0.15), rng.uniform(0.15, 0.5)])
    canvas = ground + np.float32(rng.uniform(0.01, 0.12)) * _cloud(rng, size)
    canvas = canvas + np.float32(contrast) * _per_object(rng, instances, rng.uniform(0.05, 0.5))
    grain = np.float32(rng.uniform(0.01, 0.12)) * _interior(rng, instances)
    within = np.where(texture.borders(instances), 0, instances) > 0
    depth = ndimage.distance_transform_edt(within).astype(np.float32)
    width = np.float32(rng.uniform(1, 5))
    edge = np.exp(-depth / width) * np.float32(rng.uniform(0, 0.35))
    low, high = ndimage.gaussian_filter(depth, 2), rng.uniform(0, 2 * np.pi)
    lit = ndimage.sobel(low, 0) * np.sin(high) + ndimage.sobel(low, 1) * np.cos(high)
    shade = np.clip(lit / 8, -1, 1) * np.float32(rng.uniform(0, 0.2))
    return np.asarray(canvas + (instances > 0) * (grain + edge + shade), np.float32)[..., None]


def bright_field(rng: np.random.Generator, instances: Labels) -> Canvas:
    """Paint nearly transparent objects: as bright as the ground, with a dark and a bright rim.

    Args:
        rng: source of randomness.
        instances: object numbers (S, S), 0 is background.

    Returns:
        Grey canvas (S, S, 1) float32, values about [0, 1].
    """
    size = instances.shape[0]
    border = texture.borders(instances).astype(np.float32)
    rim = ndimage.gaussian_filter(border, rng.uniform(0.5, 1.5))
    wide = ndimage.gaussian_filter(border, rng.uniform(2, 4))
    sign = rng.choice([-1, 1])
    canvas = rng.uniform(0.35, 0.7) + rng.uniform(0, 0.05) * _cloud(rng, size)
    canvas = canvas - sign * rng.uniform(0.15, 0.6) * rim + sign * rng.uniform(0, 0.6) * wide
    tone = rng.choice([-1, 1]) * rng.uniform(0, 0.12)
    canvas = canvas + tone * _per_object(rng, instances, 0.3)
    inner = _interior(rng, instances) * rng.uniform(0.01, 0.1)
    return np.asarray(canvas + (instances > 0) * inner, np.float32)[..., None]


STYLES: tuple[Callable[[np.random.Generator, Labels], Canvas], ...] = (
    fluorescent,
    stained,
    scanned,
    bright_field,
)


def _record(rng: np.random.Generator, canvas: Canvas, instances: Labels) -> npt.NDArray[np.uint8]:
    """Record the canvas (S, S, C): uneven light, defocus, photons, stretched tones; (S, S, 3)."""
    size = canvas.shape[0]
    if rng.random() < 0.3:
        light = texture.smooth_noise(rng, (size, size), size) + texture.ramp(rng, (size, size))
        canvas = canvas * (1 + light[..., None] * np.float32(rng.uniform(0, 0.3)))
    radius = np.sqrt(np.median(np.bincount(instances.ravel())[1:]) / np.pi)
    sigma = min(rng.choice([0.4, rng.uniform(0.4, 1.2), rng.uniform(1.0, 3.0)]), 0.3 * radius)
    film = ndimage.gaussian_filter(np.clip(canvas, 0, None), (sigma, sigma, 0))
    photons = np.exp(rng.uniform(np.log(30), np.log(3000)))
    noise = rng.standard_normal(film.shape, dtype=np.float32)
    film = film + np.sqrt(film / np.float32(photons)) * noise
    if rng.random() < 0.5:  # as microscopes' software stretches the tones
        low, high = np.quantile(film[::2, ::2], [rng.uniform(0, 0.01), rng.uniform(0.99, 1)])
        film = (film - low) / max(high - low, 1e-3) * rng.uniform(0.7, 1.0)
    if rng.random() < 0.3:
        film = np.clip(film, 0, 1) ** np.float32(rng.uniform(0.6, 1.7))
    if rng.random() < 0.15:
        film = 1 - film
    exposed = (np.clip(film, 0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(exposed, (size, size, 3)).copy()
