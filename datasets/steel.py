"""Procedural SEM micrographs of ultra-high-carbon steel.

    images    47, 384 x 512 px, grey uint8
    groups    37 specimens: 5 for training with 3 fields of view each, 8 for validation and 24 for
              the test with one
    classes   matrix (72 % of pixels), carbide network (14 %), spheroidite (14 %)
    licence   as the project; drawn from a fixed seed, nothing is downloaded

Proeutectoid cementite decorates the prior austenite grain boundaries; spheroidised cementite
fills the grains, but not the denuded zone next to the network. Both are the same phase, so they
have nearly the same grey level and the matrix is not far from it: edges, size and place tell
them apart, not brightness. Specimens differ in magnification, carbide sizes and amounts, etching,
contrast, tilt and detector noise; shading, charging, scratches and contamination do not change the
class.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from bench import Item, register_dataset
from bench.draw import exact, texture
from bench.draw.texture import Field

SEED = 20180523
TRAINING = (0, 2, 3, 5, 6)  # specimens
VALIDATION = (7, *range(8, 15))
TEST = (1, 4, *range(15, 37))
FIELDS = 3  # of view, of each one for training; the others have one
SHAPE = (384, 512)  # px
MATRIX, NETWORK, SPHEROIDITE = 0, 1, 2
Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Specimen:
    """Properties of one specimen; lengths in px, grey levels in 0..1."""

    grain: float  # prior austenite grain size
    wall: float  # thickness of the network
    continuity: float  # share of the boundaries that carry cementite
    particle: float  # median radius of the spheroidite
    spread: float  # of the logarithm of that radius
    density: float  # share of the grains' area that particles would fill
    denuded: float  # width of the particle-free zone next to the network
    matrix: float  # grey level of the matrix
    network: float  # grey level of the network's flat top
    carbide: float  # grey level of the particles
    edge: float  # brightening at carbide edges
    tilt: float  # direction of the detector in radians
    relief: float  # one-sided brightening by that tilt
    noise: float
    blur: float
    charging: float
    lamellae: float  # visibility of the pearlite left in the matrix


def draw_specimen(rng: np.random.Generator) -> Specimen:
    """Prepare a specimen: heat treatment, etching, microscope settings."""
    magnification = exact.exp(rng.uniform(exact.log(0.8), exact.log(1.5)))
    matrix = rng.uniform(0.34, 0.5)
    return Specimen(
        grain=magnification * rng.uniform(180, 280),
        wall=magnification * rng.uniform(13, 24),
        continuity=rng.uniform(0.7, 0.95),
        particle=magnification * rng.uniform(4.0, 6.5),
        spread=rng.uniform(0.25, 0.45),
        density=rng.uniform(0.12, 0.3),
        denuded=magnification * rng.uniform(6, 20),
        matrix=matrix,
        network=matrix - rng.uniform(0.0, 0.12),
        carbide=matrix + rng.uniform(0.02, 0.12),
        edge=rng.uniform(0.15, 0.3),
        tilt=rng.uniform(0, 2 * np.pi),
        relief=rng.uniform(0.05, 0.25),
        noise=rng.uniform(0.015, 0.05),
        blur=rng.uniform(0.5, 1.1),
        charging=rng.choice([0.0, rng.uniform(0.05, 0.15)]),
        lamellae=rng.uniform(0.01, 0.05),
    )


def draw_mask(rng: np.random.Generator, specimen: Specimen) -> Mask:
    """Class indices (H, W) of one field of view."""
    depth = _network_depth(rng, specimen)
    mask = np.where(depth > 0, NETWORK, MATRIX).astype(np.uint8)
    picture = Image.fromarray(mask)
    draw = ImageDraw.Draw(picture)
    for outline in _particles(rng, specimen, depth):
        draw.polygon(outline, fill=SPHEROIDITE)
    return np.where(depth > 0, NETWORK, np.asarray(picture)).astype(np.uint8)


def _network_depth(rng: np.random.Generator, specimen: Specimen) -> Field:
    """Depth (H, W) in px inside the network; negative outside: minus the way to a boundary."""
    grains = texture.voronoi_cells(rng, SHAPE, specimen.grain)
    grains = texture.warp(grains, rng, specimen.grain / 3, 0.08 * specimen.grain)
    grains = texture.warp(grains, rng, specimen.wall, 0.15 * specimen.wall)
    away = ndimage.distance_transform_edt(~texture.borders(grains)).astype(np.float32)
    # Thickness wanders along the boundary; where it falls below zero the network has a gap.
    wander = texture.smooth_noise(rng, SHAPE, specimen.grain / 2.5, 2)
    gap = np.quantile(wander[::4, ::4], 1 - specimen.continuity)
    thickness = np.minimum(4 * (wander - gap), 1) + 0.5 * np.maximum(wander, 0)
    depth = np.float32(0.5 * specimen.wall) * thickness - away
    # Pockets of matrix enclosed by thick cementite.
    pocket = texture.smooth_noise(rng, SHAPE, 0.7 * specimen.wall) > 0.95
    return np.asarray(np.where(pocket & (depth > 2.5), -1, depth), np.float32)


def _particles(rng: np.random.Generator, specimen: Specimen, depth: Field) -> list[list[float]]:
    """Outlines x0, y0, x1, y1, ... of the spheroidised carbides, clustered and partly coalesced."""
    area = np.pi * specimen.particle**2 * exact.exp(2 * specimen.spread**2)
    tries = int(2.5 * specimen.density * SHAPE[0] * SHAPE[1] / area)
    where = rng.uniform((0, 0), SHAPE, (tries, 2))
    y, x = where.astype(int).T
    crowd = texture.smooth_noise(rng, SHAPE, specimen.grain / 3, 2)[y, x]
    keep = rng.random(tries) < np.clip(0.4 + 0.5 * crowd, 0.02, 1)
    # The denuded zone thins out over a few px; wandering grains keep their coarse carbides.
    keep &= -depth[y, x] > specimen.denuded * rng.uniform(0.6, 1.3, tries)
    where = where[keep]
    radius = specimen.particle * exact.exp(rng.normal(0, specimen.spread, len(where)))
    radius = np.maximum(radius, 1.3)
    aspect = 1 + 0.9 * rng.random(len(where)) ** 2
    turn = rng.uniform(0, np.pi, len(where))
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    bumps = 1 + 0.1 * rng.standard_normal((len(where), len(around)))
    long = exact.cos(around) * bumps * (radius * np.sqrt(aspect))[:, None]
    short = exact.sin(around) * bumps * (radius / np.sqrt(aspect))[:, None]
    c, s = exact.cos(turn)[:, None], exact.sin(turn)[:, None]
    columns = where[:, 1:] + c * long - s * short
    rows = where[:, :1] + s * long + c * short
    return np.stack([columns, rows], 2).reshape(len(where), -1).tolist()


def draw_image(rng: np.random.Generator, specimen: Specimen, mask: Mask) -> Mask:
    """The secondary-electron micrograph (H, W) uint8 of a field of view."""
    levels = np.array([specimen.matrix, specimen.network, specimen.carbide], np.float32)
    level = levels[mask]
    level += _matrix_texture(rng, specimen) * (mask == MATRIX)
    level += texture.smooth_noise(rng, SHAPE, 40, 2) * np.float32(0.02)
    height = exact.gaussian_filter((mask != MATRIX).astype(np.float32), 0.8)
    dy, dx = np.gradient(height)
    # Edges emit more secondary electrons, those that face the detector most of all.
    level += np.float32(specimen.edge * 2.2) * exact.hypot(dy, dx)
    facing = np.float32(exact.sin(specimen.tilt)) * dy + np.float32(exact.cos(specimen.tilt)) * dx
    level += np.float32(specimen.relief * 2) * facing
    if specimen.charging:
        level += np.float32(specimen.charging) * _charging(rng, height)
    _add_damage(rng, level)
    shading = texture.ramp(rng, SHAPE) + texture.smooth_noise(rng, SHAPE, 300)
    level *= 1 + shading * np.float32(rng.uniform(0.04, 0.16))
    return _record(rng, specimen, level)


def _matrix_texture(rng: np.random.Generator, specimen: Specimen) -> Field:
    """Sub-grains of slightly different tone, etching roughness, remains of pearlite lamellae."""
    fine = specimen.particle / 2
    subgrains = np.round(2 * texture.smooth_noise(rng, SHAPE, 9 * fine, 2)) * np.float32(0.025)
    rough = texture.smooth_noise(rng, SHAPE, 2.2 * fine, 3) * np.float32(0.07)
    patches = np.clip(2 * texture.smooth_noise(rng, SHAPE, specimen.grain / 2), 0, 1)
    lamellae = texture.stripes(rng, SHAPE, 2.5 * fine, 2 * fine) * patches
    return np.asarray(subgrains + rough + lamellae * np.float32(specimen.lamellae), np.float32)


def _charging(rng: np.random.Generator, height: Field) -> Field:
    """Streaks along the scan lines behind carbides, bright then dark, in parts of the picture."""
    streak = ndimage.uniform_filter1d(height, 25, axis=1, origin=-12)
    streak = streak - ndimage.uniform_filter1d(height, 60, axis=1, origin=-29)
    where = np.clip(2 * texture.smooth_noise(rng, SHAPE, 120) + 0.5, 0, 1)
    return np.asarray(streak * where, np.float32)


def _add_damage(rng: np.random.Generator, level: Field) -> None:
    """Polishing scratches, pits and contamination, which do not change the class."""
    sheet = Image.new("F", SHAPE[::-1])
    draw = ImageDraw.Draw(sheet)
    for _ in range(rng.integers(0, 5)):
        angle, length = rng.normal(0.6, 0.3), rng.uniform(80, 400)
        x, y = rng.uniform(0, SHAPE[1]), rng.uniform(0, SHAPE[0])
        end = (x + length * exact.cos(angle), y + length * exact.sin(angle))
        tone = float(rng.uniform(-0.12, 0.16))
        draw.line([(x, y), end], fill=tone, width=int(rng.integers(1, 3)))
    for _ in range(rng.integers(0, 14)):  # pits where carbides fell out
        x, y, radius = rng.uniform(0, SHAPE[1]), rng.uniform(0, SHAPE[0]), rng.uniform(1, 3)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=-0.3)
    level += exact.gaussian_filter(np.asarray(sheet, np.float32), 0.6)
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    for _ in range(rng.integers(0, 4)):  # soft dark stains
        y, x, width = rng.uniform(0, SHAPE[0]), rng.uniform(0, SHAPE[1]), rng.uniform(8, 35)
        square = ((rows - y) ** 2 + (columns - x) ** 2).astype(np.float32) / width**2
        level -= np.float32(rng.uniform(0.05, 0.2)) * exact.exp(-square)


def _record(rng: np.random.Generator, specimen: Specimen, level: Field) -> Mask:
    """Beam diameter, counting noise, line noise, quantisation."""
    level = exact.gaussian_filter(level, specimen.blur)
    counting = np.sqrt(np.clip(level, 0.05, 1) / 0.5)
    level += np.float32(specimen.noise) * counting * rng.standard_normal(SHAPE, dtype=np.float32)
    level += np.float32(0.006) * rng.standard_normal((SHAPE[0], 1), dtype=np.float32)
    return np.asarray(np.clip(level, 0, 1) * 255, np.uint8)


@register_dataset(
    "steel",
    classes=("matrix", "carbide network", "spheroidite"),
    source="procedural",
    licence="as the project",
    images_may_be_shown=True,
)
def steel() -> dict[str, list[Item]]:
    """Procedural SEM micrographs of ultra-high-carbon steel; 47 of 37 specimens, 384 x 512 grey."""
    return {
        "train": [draw_item(number, field) for number in TRAINING for field in range(FIELDS)],
        "val": [draw_item(number, 0) for number in VALIDATION],
        "test": [draw_item(number, 0) for number in TEST],
    }


def draw_item(number: int, field: int) -> Item:
    """One field of view of one specimen; independent of earlier calls."""
    specimen = draw_specimen(np.random.default_rng((SEED, number)))
    rng = np.random.default_rng((SEED, number, field + 1))
    mask = draw_mask(rng, specimen)
    image = draw_image(rng, specimen, mask)
    return Item(f"specimen{number:02}_field{field}", image, mask, group=f"specimen{number:02}")
