"""Procedural electron micrographs of powders and nanoparticles.

    images     52, 256 x 256 px, grey uint8, with instances
    groups     42 specimens, half as by SEM, half as by TEM: 10 for training with 2 fields of view
               each, 8 for validation and 24 for the test with one
    classes    background, particle
    instances  45 to 538 an image, touching and overlapping; a pixel belongs to the one on top
    licence    as the project; drawn from a fixed seed, nothing is downloaded

In secondary electrons particles occlude each other and shine at their edges; in transmission they
are shadows that add up where they overlap, some dark by diffraction, on a grainy film. Specimens
differ in shape (spheres, ellipsoids, rods, crystals), sizes, agglomeration, contrast, focus, dose.
Pores, strands of the film, charging, contamination and uneven light are background.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench import Item, register_dataset
from bench.draw import exact, texture
from bench.draw.texture import Field, Window

SEED = 20210121
TRAINING = (0, 1, 2, 3, 5, 6, 8, 10, 11, 12)  # specimens
VALIDATION = (7, *range(14, 21))
TEST = (4, 9, 13, *range(21, 42))
FIELDS = 2  # of view, of each one for training; the others have one
SHAPE = (256, 256)  # px
VISIBLE = 0.3  # visible share that a particle needs, else it is omitted from image and truth
SMALLEST = 12  # visible px that a particle needs
SIDES = (0, 6, 2, 0, 4, 0, 5, 0)  # of the outlines, dealt to SEM and TEM specimens in turn
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Specimen:
    """Properties of one specimen; lengths in px, grey levels in 0..1."""

    transmitted: bool  # TEM, else SEM
    sides: int  # of crystals; 0 is round, 2 a rod
    sharpness: float  # of the corners: exponent of the norm that joins the sides
    radius: float  # median, of the circle of equal area
    spread: float  # of the logarithm of the radius
    aspect: float  # median ratio of the axes
    cover: float  # share of the area that particles would fill without overlap
    clumping: float  # share of particles that stick to one already there
    overlap: float  # how far two may sink into each other, as a share of both radii
    ground: float  # grey level
    contrast: float  # SEM: particle above ground; TEM: optical density of a median particle
    scatter: float  # of the logarithm of brightness or density
    edge: float  # SEM: shine of the edges; TEM: strength of the Fresnel fringe
    roughness: float  # surface texture of the particles
    film: float  # texture of the support
    clutter: float  # pores (SEM) or strands (TEM) of the support, 0 for none
    blur: float
    noise: float
    shading: float  # uneven light


@dataclass(frozen=True)
class Particle:
    """One particle: its window, its outline in it, and its brightness or density."""

    at: Window
    rho: Field  # (h, w) relative distance from the centre, 1 on the outline
    radius: float
    weight: float

    @property
    def cover(self) -> Field:
        """Share (h, w) of each pixel inside the outline."""
        return np.asarray(np.clip((1 - self.rho) * self.radius + 0.5, 0, 1), np.float32)


def draw_specimen(rng: np.random.Generator, transmitted: bool, sides: int) -> Specimen:
    """Prepare a specimen and set up the microscope."""
    return Specimen(
        transmitted=transmitted,
        sides=sides,
        sharpness=rng.uniform(6, 16),
        radius=exact.exp(rng.uniform(exact.log(4.5), exact.log(12))),
        spread=rng.uniform(0.12, 0.45),
        aspect=rng.uniform(2.2, 3.2) if sides == 2 else rng.uniform(1.02, 1.4),
        cover=rng.uniform(0.3, 0.6) if transmitted else rng.uniform(0.4, 1.0),
        clumping=rng.uniform(0.35, 0.97),
        overlap=rng.uniform(0.12, 0.5) if transmitted else rng.uniform(0.2, 0.6),
        ground=rng.uniform(0.6, 0.8) if transmitted else rng.uniform(0.14, 0.36),
        contrast=rng.uniform(0.3, 1.1) if transmitted else rng.uniform(0.1, 0.3),
        scatter=rng.uniform(0.15, 0.45) if transmitted else rng.uniform(0.05, 0.2),
        edge=rng.uniform(0.2, 1.2) if transmitted else rng.uniform(0.12, 0.35),
        roughness=rng.uniform(0.03, 0.12),
        film=rng.uniform(0.03, 0.1),
        clutter=rng.choice([0.0, rng.uniform(0.3, 1)]),
        blur=rng.uniform(0.5, 1.2),
        noise=rng.uniform(0.02, 0.06),
        shading=rng.uniform(0.05, 0.18),
    )


def scatter_particles(rng: np.random.Generator, specimen: Specimen) -> list[Particle]:
    """Place particles one by one, alone or touching an earlier one; the last are on top."""
    mean_area = np.pi * specimen.radius**2 * exact.exp(2 * specimen.spread**2)
    wanted = int(specimen.cover * SHAPE[0] * SHAPE[1] / mean_area)
    centres, radii = np.empty((wanted, 2)), np.empty(wanted)
    sizes = specimen.radius * exact.exp(rng.normal(0, specimen.spread, 10 * wanted))
    anywhere = rng.uniform(-4, np.array(SHAPE) + 4, (10 * wanted, 2))
    n = 0
    for radius, centre in zip(np.maximum(sizes, 2.4), anywhere, strict=True):
        if n == wanted:
            break
        if n and rng.random() < specimen.clumping:
            neighbour, angle = rng.integers(n), rng.uniform(0, 2 * np.pi)
            reach = (radius + radii[neighbour]) * (1 - specimen.overlap * rng.random())
            centre = centres[neighbour] + reach * np.array([exact.sin(angle), exact.cos(angle)])
            if not (-4 < centre[0] < SHAPE[0] + 4 and -4 < centre[1] < SHAPE[1] + 4):
                continue
        away = centres[:n] - centre
        reach = (radii[:n] + radius) * (1 - specimen.overlap)
        if not ((away * away).sum(1) < reach * reach).any():
            centres[n], radii[n] = centre, radius
            n += 1
    placed = zip(centres[:n].tolist(), radii[:n].tolist(), strict=True)
    return [_draw_particle(rng, specimen, (y, x), radius) for (y, x), radius in placed]


def _draw_particle(
    rng: np.random.Generator, specimen: Specimen, centre: tuple[float, float], radius: float
) -> Particle:
    """Give a particle its outline; crystals have random directions and irregular sides."""
    aspect = max(1 + (specimen.aspect - 1) * float(exact.exp(rng.normal(0, 0.25))), 1)
    radii = (radius * aspect**0.5, radius / aspect**0.5)
    at = texture.window(SHAPE, centre, 1.4 * radii[0] + 5)
    along, across = texture.axis_coordinates(at, radii, rng.uniform(0, 2 * np.pi))
    rho = texture.wavy_ellipse(along, across, rng.normal(0, 0.02, (4, 2)))
    if specimen.sides:
        count = 4 if specimen.sides == 2 else specimen.sides
        uneven = 0.0 if specimen.sides == 2 else 1.0  # rods keep parallel sides
        facing = np.arange(count) * 2 * np.pi / count + uneven * rng.normal(0, 0.12, count)
        away = 0.88 + uneven * rng.normal(0, 0.1, count)
        c, s, far = (
            values.astype(np.float32)[:, None, None]
            for values in (exact.cos(facing), exact.sin(facing), away)
        )
        over = np.maximum((along * c + across * s) / far, 0)  # (count, h, w)
        parts = exact.power(over, float(np.float32(specimen.sharpness)))
        total = functools.reduce(np.add, parts)
        joined = exact.power(total, float(np.float32(1 / specimen.sharpness)))
        rho = np.maximum(joined, np.float32(0.7) * rho)
    weight = float(exact.exp(rng.normal(0, specimen.scatter)))
    return Particle(at, rho, radius, weight)


def draw_image(rng: np.random.Generator, specimen: Specimen, particles: list[Particle]) -> Picture:
    """The micrograph (H, W) uint8 of a field of view."""
    draw = _transmit if specimen.transmitted else _scan
    level = draw(rng, specimen, particles)
    shading = texture.ramp(rng, SHAPE) + texture.smooth_noise(rng, SHAPE, 200)
    level *= 1 + shading * np.float32(specimen.shading)
    level = exact.gaussian_filter(level, specimen.blur)
    counting = np.sqrt(np.clip(level, 0.05, 1) / 0.5)
    level += np.float32(specimen.noise) * counting * rng.standard_normal(SHAPE, dtype=np.float32)
    if not specimen.transmitted:
        level += np.float32(0.008) * rng.standard_normal((SHAPE[0], 1), dtype=np.float32)
    return np.asarray(np.clip(level, 0, 1) * 255, np.uint8)


def _scan(rng: np.random.Generator, specimen: Specimen, particles: list[Particle]) -> Field:
    """Secondary electrons: lit from the detector's side, bright at edges, dark in the gaps."""
    film = texture.smooth_noise(rng, SHAPE, rng.uniform(6, 25), 4)
    level = np.float32(specimen.ground) + np.float32(2 * specimen.film) * film
    _add_pores(rng, specimen, level)
    grain = texture.smooth_noise(rng, SHAPE, 0.8 * specimen.radius, 3)
    detector = rng.uniform(0, 2 * np.pi)
    for number, particle in enumerate(particles):
        place, rho, cover = particle.at.place, particle.rho, particle.cover
        gap = np.clip((rho - 1) * particle.radius / 4, 0, 1)
        level[place] *= 1 - np.float32(0.45) * (1 - gap) ** 2
        steep = 1.0 if specimen.sides not in (0, 2) else 0.55  # crystals have flat tops
        height = np.sqrt(np.clip((1 - rho**2) / np.float32(1.05 - steep * 0.6), 0.02, 1))
        dy, dx = np.gradient(height * np.float32(particle.radius))
        facing = np.float32(exact.sin(detector)) * dy + np.float32(exact.cos(detector)) * dx
        depth = 0.6 + 0.4 * number / len(particles)  # deep particles emit fewer electrons
        tone = specimen.ground + specimen.contrast * depth * particle.weight
        shine = np.float32(specimen.edge * depth) * np.minimum(1 / height - 1, 1.5)
        rough = np.roll(grain, rng.integers(0, SHAPE[0], 2), (0, 1))[place]
        surface = np.float32(tone) + shine - np.float32(0.05) * np.clip(facing, -2, 2)
        surface += np.float32(specimen.roughness) * rough
        level[place] += cover * (surface - level[place])
    return level


def _add_pores(rng: np.random.Generator, specimen: Specimen, level: Field) -> None:
    """Dark round holes of a filter membrane, about as large as the particles."""
    for _ in range(int(40 * specimen.clutter)):
        centre = (rng.uniform(0, SHAPE[0]), rng.uniform(0, SHAPE[1]))
        radius = specimen.radius * rng.uniform(0.5, 1)
        at = texture.window(SHAPE, centre, 1.3 * radius + 2)
        rho = texture.wavy_ellipse(
            *texture.axis_coordinates(at, (radius, radius), 0), np.zeros((0, 2))
        )
        level[at.place] *= 1 - np.float32(0.6) * np.clip((1 - rho) * np.float32(radius), 0, 1)


def _transmit(rng: np.random.Generator, specimen: Specimen, particles: list[Particle]) -> Field:
    """Bright field: densities add up; the defocused beam leaves a fringe at every edge."""
    film = texture.smooth_noise(rng, SHAPE, 2.2, 2) + texture.smooth_noise(rng, SHAPE, 60, 2)
    density = np.float32(specimen.film) * film
    if specimen.clutter:  # strands of a lacey film: level lines of a smooth field
        field = np.abs(texture.smooth_noise(rng, SHAPE, 110))
        density += np.float32(0.5 * specimen.clutter) * exact.exp(
            -(((field / np.float32(0.07)) ** 2) ** 2)
        )
    bends = texture.stripes(rng, SHAPE, 1.6 * specimen.radius, 2 * specimen.radius)
    for particle in particles:
        thickness = np.sqrt(np.clip(1 - particle.rho**2, 0, 1))
        if specimen.sides not in (0, 2):  # crystals are plates with steep sides
            thickness = np.clip(2.5 * (1 - particle.rho), 0, 1)
        dark = 1.8 if rng.random() < 0.12 else 1.0  # near a Bragg condition
        mass = specimen.contrast * particle.weight * dark * (particle.radius / specimen.radius)
        bend = np.roll(bends, rng.integers(0, SHAPE[0], 2), (0, 1))[particle.at.place]
        uneven = 1 + np.float32(3 * specimen.roughness) * bend
        density[particle.at.place] += np.float32(mass) * thickness * uneven
    level = np.asarray(specimen.ground * exact.exp(-density), np.float32)
    fringe = level - exact.gaussian_filter(level, 1.6)
    return level + np.float32(specimen.edge) * fringe


@register_dataset(
    "particles",
    classes=("background", "particle"),
    source="procedural",
    licence="as the project",
    images_may_be_shown=True,
)
def particles() -> dict[str, list[Item]]:
    """Procedural SEM and TEM micrographs of particles; 52 of 42 specimens, 256 x 256 grey."""
    return {
        "train": [draw_item(number, field) for number in TRAINING for field in range(FIELDS)],
        "val": [draw_item(number, 0) for number in VALIDATION],
        "test": [draw_item(number, 0) for number in TEST],
    }


def draw_item(number: int, field: int) -> Item:
    """One field of view of one specimen; independent of earlier calls."""
    rng = np.random.default_rng((SEED, number))
    specimen = draw_specimen(
        rng, transmitted=number % 2 == 1, sides=SIDES[number // 2 % len(SIDES)]
    )
    rng = np.random.default_rng((SEED, number, field + 1))
    placed = scatter_particles(rng, specimen)
    outlines = [(particle.at, particle.rho) for particle in placed]
    instances, kept = texture.pile(SHAPE, outlines, SMALLEST, VISIBLE)
    name = f"specimen{number:02}_field{field}"
    image = draw_image(rng, specimen, [placed[index] for index in kept])
    return Item(
        name=name,
        image=image,
        mask=(instances > 0).astype(np.uint8),
        group=f"specimen{number:02}",
        instances=instances.astype(np.uint16),
    )
