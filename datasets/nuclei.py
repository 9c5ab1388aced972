"""Procedural micrographs of cell nuclei: stained sections of organs and fluorescence.

    images     48, 256 x 256 px, RGB uint8 (fluorescence is grey), with instances
    groups     40 slides of 9 organs in haematoxylin and eosin and 5 preparations in fluorescence:
               8 for training with 2 fields of view each, 8 for validation and 24 for the test with
               one
    classes    background, nucleus
    instances  21 to 240 an image, touching and overlapping; a pixel belongs to the one on top
    licence    as the project; drawn from a fixed seed, nothing is downloaded

Organs differ in architecture (glands, tubules, plates of cells, fibres, air spaces, layers), in the
populations of their nuclei, and in the strength and hue of the stains, as slides of different
laboratories do. Fluorescence differs in density, brightness, focus and haze. Red blood cells,
blue cytoplasm, mucin, folds, dust and nuclei far out of focus are background.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bench import Item, register_dataset
from bench.draw import exact, texture
from bench.draw.texture import Field, Window

SEED = 20180116
TRAINING = (1, 4, 5, 7, 8, 9, 12, 13)  # slides
VALIDATION = (2, 6, *range(14, 20))
TEST = (0, 3, 10, 11, *range(20, 40))
FIELDS = 2  # of view, of each one for training; the others have one
SHAPE = (256, 256)  # px
VISIBLE = 0.3  # visible share that a nucleus needs, else it is omitted from image and truth
SMALLEST = 14  # visible px that a nucleus needs
HAEMATOXYLIN = (0.65, 0.70, 0.29)  # optical density in red, green, blue (Ruifrok, Johnston, 2001)
EOSIN = (0.09, 0.95, 0.28)
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Population:
    """Nuclei of one kind of cell; lengths in px."""

    count: int  # wanted in a picture
    band: tuple[float, float]  # range of their depths in the tissue
    radius: float  # median, of the circle of equal area
    aspect: float = 1.15
    stand: float = 0.0  # long axis relative to the wall: 0 random, 1 parallel, -1 perpendicular
    density: float = 1.0  # of the stain
    spread: float = 0.14  # of the logarithm of the radius
    gap: float = 0.85  # closest distance of two, as a share of both radii
    vesicular: float = 0.3  # 0 evenly dark, 1 pale with rim and nucleolus


@dataclass(frozen=True)
class Tissue:
    """What an organ or preparation looks like; lengths in px, densities as optical density."""

    name: str
    plan: str  # glands, cells, layer or open: how depth is drawn
    size: float  # of glands, cells or clumps
    populations: tuple[Population, ...]
    stretch: float = 1.0  # of cells: ratio of length to width
    empty: tuple[float, float] | None = None  # depths without tissue
    eosin: float = 0.4
    fibres: float = 0.2  # streakiness of the matrix
    blue: float = 0.08  # haematoxylin outside the nuclei
    blood: int = 0  # red blood cells


_STROMA = Population(26, (20, 300), 5.4, 2.6, stand=1)
_LYMPH = Population(22, (18, 300), 5, 1.05, density=1.3, vesicular=0)
ORGANS = (
    Tissue(
        "colon",
        "glands",
        30,
        (Population(110, (6, 17), 7.4, 1.8, stand=-1, gap=0.55), _STROMA, _LYMPH),
        empty=(-300, -1),
        blue=0.14,
    ),
    Tissue(
        "kidney",
        "glands",
        15,
        (Population(110, (5, 11), 7, 1.1, vesicular=0.5), Population(30, (19, 300), 4.8, 1.9)),
        empty=(-300, -2),
        eosin=0.5,
        blood=12,
    ),
    Tissue(
        "liver",
        "cells",
        40,
        (
            Population(42, (10, 99), 8.4, 1.06, vesicular=0.8, density=0.85),
            Population(18, (0, 3), 4.4, 2.6, stand=1, density=1.2),
        ),
        eosin=0.62,
        fibres=0.1,
        blue=0.12,
        blood=14,
    ),
    Tissue(
        "lung",
        "cells",
        74,
        (Population(58, (0, 6), 5.8, 1.5, stand=1), Population(14, (0, 12), 7.6, 1.1)),
        empty=(9, 300),
        eosin=0.38,
        blood=26,
    ),
    Tissue(
        "muscle",
        "cells",
        40,
        (Population(38, (0, 4), 5.4, 3.2, stand=1, spread=0.2), Population(6, (3, 99), 5, 2.2)),
        stretch=4,
        eosin=0.66,
        fibres=0.35,
        blue=0.02,
    ),
    Tissue(
        "spleen",
        "open",
        80,
        (
            Population(190, (-99, 99), 6.2, 1.1, density=1.25, vesicular=0.1, gap=0.75),
            Population(22, (-99, 99), 8.5, 1.3, density=0.7, vesicular=0.8),
        ),
        eosin=0.3,
        blue=0.16,
        blood=25,
    ),
    Tissue(
        "brain",
        "open",
        120,
        (
            Population(28, (-99, 99), 6, 1.1, density=1.15),
            Population(7, (-99, 99), 11, 1.1, density=0.6, vesicular=1),
            Population(8, (-99, 99), 4.8, 2.8, stand=1),
        ),
        eosin=0.3,
        fibres=0.15,
        blue=0.05,
    ),
    Tissue(
        "breast",
        "open",
        70,
        (
            Population(75, (-3, 99), 9.5, 1.3, spread=0.3, vesicular=0.7, density=0.95, gap=0.65),
            Population(20, (-99, -4), 5, 3, stand=1),
            Population(14, (-99, -2), 5, 1.05, density=1.4, vesicular=0),
        ),
        eosin=0.42,
        fibres=0.3,
        blue=0.12,
    ),
    Tissue(
        "skin",
        "layer",
        60,
        (
            Population(70, (0, 14), 6.6, 1.7, stand=-1, density=1.2, gap=0.55),
            Population(50, (14, 80), 7.8, 1.2, vesicular=0.7),
            Population(26, (-300, -6), 5.2, 3, stand=1),
        ),
        eosin=0.5,
        fibres=0.4,
        empty=(96, 300),
    ),
)
PREPARATIONS = (
    Tissue("culture-flat", "open", 110, (Population(26, (-15, 99), 14, 1.3, gap=0.9),)),
    Tissue("culture-dense", "open", 60, (Population(85, (-4, 99), 9, 1.3, gap=0.75),)),
    Tissue("suspension", "open", 45, (Population(60, (2, 99), 8.5, 1.08, gap=0.7),)),
    Tissue(
        "section",
        "open",
        90,
        (Population(120, (-8, 99), 5.6, 1.5, stand=1, spread=0.25, gap=0.75),),
    ),
    Tissue(
        "neurons",
        "open",
        80,
        (
            Population(14, (-99, 99), 10, 1.2, vesicular=1),
            Population(45, (-5, 99), 5, 1.4, spread=0.25, density=1.5),
        ),
    ),
)


@dataclass(frozen=True)
class Nucleus:
    """One nucleus: its window, its outline in it, and its stain."""

    at: Window
    rho: Field  # (h, w) relative distance from the centre, 1 on the outline
    radius: float
    density: float
    softness: float  # px over which the edge fades
    vesicular: float

    @property
    def cover(self) -> Field:
        """Share (h, w) of each pixel inside the outline, blurred by its focus."""
        edge = (1 - self.rho) * np.float32(self.radius / self.softness)
        return np.asarray(np.clip(edge + 0.5, 0, 1), np.float32)


def draw_depth(rng: np.random.Generator, tissue: Tissue) -> Field:
    """Depth (H, W) in px in the tissue: from a lumen, a cell's wall, a border, or of a clump."""
    if tissue.plan == "open":
        return np.asarray(24 * texture.smooth_noise(rng, SHAPE, tissue.size, 2), np.float32)
    if tissue.plan == "layer":
        wave = texture.smooth_noise(rng, SHAPE, tissue.size, 2) * 16
        return np.asarray(texture.ramp(rng, SHAPE) * 128 + wave + rng.uniform(-10, 50), np.float32)
    if tissue.plan == "glands":
        return _gland_depth(rng, tissue.size)
    cells = texture.voronoi_cells(rng, SHAPE, tissue.size, tissue.stretch)
    cells = texture.warp(cells.T if rng.random() < 0.5 else cells, rng, 40, 5)
    return np.asarray(ndimage.distance_transform_edt(~texture.borders(cells)), np.float32)


def _gland_depth(rng: np.random.Generator, size: float) -> Field:
    """Distance (H, W) in px from the nearest lumen; negative inside."""
    depth = np.full(SHAPE, 300, np.float32)
    centres: list[npt.NDArray[np.float64]] = []
    for _ in range(60):
        centre = rng.uniform(-20, np.array(SHAPE) + 20)
        if any(exact.hypot(*(centre - other)) < 1.6 * size + 30 for other in centres):
            continue
        centres.append(centre)
        radius = size * rng.uniform(0.6, 1.1)
        radii = (radius * 1.25, radius / 1.25)
        middle = (float(centre[0]), float(centre[1]))
        _, rho = texture.bumpy_outline(rng, SHAPE, middle, radii, (4, 0.06), 400)
        np.minimum(depth, (rho - 1) * np.float32(radius), out=depth)
    return depth


def scatter_nuclei(rng: np.random.Generator, tissue: Tissue, depth: Field) -> list[Nucleus]:
    """Place the nuclei of every population in its range of depths and direction."""
    down, right = np.gradient(exact.gaussian_filter(depth, 2))
    steepest = exact.arctan2(down, right)
    centres, radii = np.empty((0, 2)), np.empty(0)
    placed = []
    for population in tissue.populations:
        candidates = rng.uniform(-2, np.array(SHAPE) + 2, (12 * population.count, 2))
        pixels = np.clip(candidates, 0, np.array(SHAPE) - 1).astype(int)
        there = depth[pixels[:, 0], pixels[:, 1]]
        inside = (there >= population.band[0]) & (there <= population.band[1])
        wanted = rng.poisson(population.count)
        for centre, (row, column) in zip(candidates[inside], pixels[inside], strict=True):
            if not wanted:
                break
            radius = population.radius * exact.exp(rng.normal(0, population.spread))
            gaps = exact.hypot(*(centres - centre).T) / (radii + radius)
            if gaps.size and gaps.min() < population.gap:
                continue
            centres, radii = np.vstack([centres, centre]), np.append(radii, radius)
            turn = float(steepest[row, column]) + rng.normal(0, 0.25)
            turn += np.pi / 2 * (population.stand > 0)
            if not population.stand:
                turn = rng.uniform(0, np.pi)
            placed.append(_draw_nucleus(rng, population, centre.tolist(), radius, turn))
            wanted -= 1
    return placed


def _draw_nucleus(
    rng: np.random.Generator,
    population: Population,
    centre: tuple[float, float],
    radius: float,
    turn: float,
) -> Nucleus:
    aspect = max(1 + (population.aspect - 1) * float(exact.exp(rng.normal(0, 0.3))), 1.0)
    radii = (radius * aspect**0.5, radius / aspect**0.5)
    at = texture.window(SHAPE, (centre[0], centre[1]), 1.3 * radii[0] + 3)
    along, across = texture.axis_coordinates(at, radii, turn)
    across = across + np.float32(rng.normal(0, 0.05 * aspect)) * (along**2 - np.float32(0.5))
    return Nucleus(
        at=at,
        rho=texture.wavy_ellipse(along, across, rng.normal(0, 0.035, (3, 2))),
        radius=radius,
        density=population.density * float(exact.exp(rng.normal(0, 0.3))),
        softness=float(rng.choice([1.2, rng.uniform(1.2, 3.5)])),
        vesicular=float(np.clip(population.vesicular + rng.normal(0, 0.15), 0, 1)),
    )


def _chromatin(rng: np.random.Generator, nucleus: Nucleus, sheet: Field) -> Field:
    """Relative density (h, w) in a nucleus: clumps, a rim, a nucleolus."""
    place, rho, pale = nucleus.at.place, nucleus.rho, np.float32(nucleus.vesicular)
    clumps = np.roll(sheet, rng.integers(0, SHAPE[0], 2), (0, 1))[place]
    inner = 1 - np.float32(0.5) * pale * np.clip(2.2 * (1 - rho), 0, 1)
    inner = inner + (np.float32(0.25) + np.float32(0.3) * pale) * clumps
    if rng.random() < nucleus.vesicular:
        away = rng.normal(0, 0.25 * nucleus.radius, 2).astype(np.float32)
        square = (nucleus.at.dy - away[0]) ** 2 + (nucleus.at.dx - away[1]) ** 2
        inner += np.float32(0.8) * exact.exp(-square / np.float32(0.04 * nucleus.radius**2 + 0.6))
    return np.asarray(inner, np.float32)


def stain(
    rng: np.random.Generator,
    slide: np.random.Generator,
    tissue: Tissue,
    depth: Field,
    nuclei: list[Nucleus],
) -> Picture:
    """The section (H, W, 3) in haematoxylin and eosin, as light that both stains let through."""
    blue, red = _matrix(rng, tissue, depth)
    sheet = texture.smooth_noise(rng, SHAPE, 4, 2)
    for nucleus in nuclei:
        place, cover = nucleus.at.place, nucleus.cover
        value = np.float32(nucleus.density) * _chromatin(rng, nucleus, sheet) * cover
        # A second nucleus in the thickness of the section adds to the first, but less than twice.
        blue[place] = np.maximum(blue[place], value) + 0.3 * np.minimum(blue[place], value)
        red[place] *= 1 - 0.3 * cover
    strength = slide.uniform((0.8, 0.6), (1.35, 1.3))
    hues = np.array([HAEMATOXYLIN, EOSIN]) * slide.uniform(0.85, 1.15, (2, 3))
    light = slide.uniform((0.9, 0.88, 0.9), (0.99, 0.97, 0.98))
    dyes = (hues * strength[:, None]).astype(np.float32)
    absorbed = blue[..., None] * dyes[0] + red[..., None] * dyes[1]
    level = light.astype(np.float32) * exact.exp(-absorbed)
    level = exact.gaussian_filter(level, (*[slide.uniform(0.5, 1.0)] * 2, 0))
    level *= 1 + np.float32(0.04) * texture.ramp(rng, SHAPE)[..., None]
    level += np.float32(0.012) * rng.standard_normal(level.shape, dtype=np.float32)
    return np.asarray(np.clip(level, 0, 1) * 255, np.uint8)


def _matrix(rng: np.random.Generator, tissue: Tissue, depth: Field) -> tuple[Field, Field]:
    """Haematoxylin and eosin (H, W) of everything except nuclei."""
    bend = texture.smooth_noise(rng, SHAPE, 70) * 40
    streaks = exact.sin((depth + bend + 6 * texture.smooth_noise(rng, SHAPE, 9, 2)) / 2.2)
    cloud = texture.smooth_noise(rng, SHAPE, 30, 4)
    fine = texture.smooth_noise(rng, SHAPE, 5, 2)
    uneven = tissue.fibres * streaks + 0.5 * cloud + 0.35 * fine
    red = np.float32(tissue.eosin) * (1 + uneven)
    blue = np.float32(tissue.blue) * (1.3 + 2 * texture.smooth_noise(rng, SHAPE, 25, 3))
    if tissue.plan == "glands":  # the epithelium is bluer than the tissue between the glands
        blue += np.float32(0.12) * ((depth > 0) & (depth < 19))
        red *= 1 - 0.35 * exact.exp(-(((depth - 21) / 2.5) ** 2))
    if tissue.plan == "cells":
        red *= 1 - 0.5 * exact.exp(-((depth / 1.6) ** 2)) * (tissue.empty is None)
    if tissue.plan == "layer":
        red *= np.where(depth > 0, 0.75, 1)
        blue += np.float32(0.1) * (depth > 0)
    for _ in range(rng.poisson(tissue.blood)):
        _add_blood_cell(rng, red)
    if tissue.empty is not None:
        full = np.clip(np.minimum(tissue.empty[0] - depth, 8), -1, 1)
        full = np.maximum(full, np.clip(depth - tissue.empty[1], -1, 1)) * 0.5 + 0.5
        mucin = 0.06 + 0.06 * texture.smooth_noise(rng, SHAPE, 18, 2)
        red, blue = full * red + (1 - full) * mucin, full * blue + (1 - full) * mucin
    cracks = np.abs(texture.smooth_noise(rng, SHAPE, 90, 2)) < rng.choice([-1, -1, 0.01, 0.015])
    torn = exact.gaussian_filter(cracks.astype(np.float32), 1)
    return np.maximum(blue * (1 - torn), 0), np.maximum(red * (1 - 0.8 * torn), 0)


def _add_blood_cell(rng: np.random.Generator, red: Field) -> None:
    centre = (rng.uniform(0, SHAPE[0]), rng.uniform(0, SHAPE[1]))
    radius = rng.uniform(4, 5)
    radii = (radius * 1.1, radius / 1.1)
    at, rho = texture.bumpy_outline(rng, SHAPE, centre, radii, (3, 0.04), 1.4 * radius + 2)
    dish = 0.75 + 0.25 * rho
    red[at.place] += np.float32(0.8) * dish * np.clip((1 - rho) * np.float32(radius), 0, 1)


def fluoresce(
    rng: np.random.Generator, slide: np.random.Generator, nuclei: list[Nucleus]
) -> Picture:
    """The field (H, W, 3) in fluorescence: light adds up, haze and dust shine as well."""
    exposure = slide.uniform(0.1, 0.4)
    blur, haze, dark = slide.uniform((0.7, 0.1, 0.02), (2.0, 0.5, 0.07))
    signal = np.zeros(SHAPE, np.float32)
    sheet = texture.smooth_noise(rng, SHAPE, 6, 2)
    for nucleus in nuclei:
        dome = np.sqrt(np.clip(1.15 - nucleus.rho**2, 0.25, 1))
        bright = nucleus.density * exact.exp(rng.normal(0, 0.25)) * rng.choice([1, 1, 1, 1, 1.8])
        shown = nucleus.cover * dome * _chromatin(rng, nucleus, sheet)
        signal[nucleus.at.place] += np.float32(exposure * bright) * shown
    glow = ndimage.zoom(exact.gaussian_filter(signal[::4, ::4], 4), 4, order=1)
    clouds = np.clip(texture.smooth_noise(rng, SHAPE, 50, 2), 0, 1)  # cells far out of focus
    level = dark + signal + np.float32(haze) * (glow + np.float32(0.3 * exposure) * clouds)
    for _ in range(rng.poisson(3)):
        centre = (rng.uniform(0, SHAPE[0]), rng.uniform(0, SHAPE[1]))
        at = texture.window(SHAPE, centre, 12)
        axes = texture.axis_coordinates(
            at, (rng.uniform(1, 6), rng.uniform(0.8, 2)), rng.uniform(0, np.pi)
        )
        speck = exact.exp(-(axes[0] ** 2 + axes[1] ** 2))
        level[at.place] += np.float32(exposure * rng.uniform(0.5, 2)) * speck
    level *= 1 + np.float32(slide.uniform(0.05, 0.3)) * texture.ramp(rng, SHAPE)
    level = exact.gaussian_filter(level, blur)
    noise = np.sqrt(np.clip(level, 0.01, 1)) * np.float32(slide.uniform(0.012, 0.04))
    level += noise * rng.standard_normal(SHAPE, dtype=np.float32)
    grey = np.asarray(np.clip(level, 0, 1) * 255, np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


@register_dataset(
    "nuclei",
    classes=("background", "nucleus"),
    source="procedural",
    licence="as the project",
    images_may_be_shown=True,
)
def nuclei() -> dict[str, list[Item]]:
    """Procedural nuclei in stained sections and fluorescence; 48 of 40 slides, 256 x 256 RGB."""
    return {
        "train": [draw_item(number, field) for number in TRAINING for field in range(FIELDS)],
        "val": [draw_item(number, 0) for number in VALIDATION],
        "test": [draw_item(number, 0) for number in TEST],
    }


def draw_item(number: int, field: int) -> Item:
    """One field of view of one slide; independent of earlier calls."""
    slide_of_tissue, kind = divmod(number, len(ORGANS + PREPARATIONS))
    tissue = (ORGANS + PREPARATIONS)[kind]
    rng, slide = (np.random.default_rng((SEED, number, k)) for k in (field + 1, 0))
    depth = draw_depth(rng, tissue)
    placed = scatter_nuclei(rng, tissue, depth)
    outlines = [(nucleus.at, nucleus.rho) for nucleus in placed]
    instances, kept = texture.pile(SHAPE, outlines, SMALLEST, VISIBLE)
    shown = [placed[index] for index in kept]
    if kind < len(ORGANS):
        image = stain(rng, slide, tissue, depth, shown)
    else:
        image = fluoresce(rng, slide, shown)
    name = f"{tissue.name}{slide_of_tissue}"
    return Item(
        name=f"{name}_field{field}",
        image=image,
        mask=(instances > 0).astype(np.uint8),
        group=name,
        instances=instances.astype(np.uint16),
    )
