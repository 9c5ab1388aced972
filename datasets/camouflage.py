"""Procedural photographs of camouflaged animals.

    images    52, 256 x 256 px, RGB uint8
    groups    42 scenes of 8 habitats: 10 for training with 2 photographs each, 8 for validation and
              24 for the test with one
    classes   background, animal
    licence   as the project; drawn from a fixed seed, nothing is downloaded

The coat is a second draw of the process that made the surroundings, so colours, grain and contrast
are the same. What gives the animal away is what does so in nature: its pattern is a little finer,
sparser, turned and shifted in tone, it is round and throws a faint shadow, breaks the pattern at
its outline, and has an eye. Stones and tufts of the ground break the pattern as well, leaves and
blades in the foreground hide parts of the animal, light is dappled and focus shallow.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from bench import Item, register_dataset
from bench.draw import exact, texture
from bench.draw.texture import Field

SEED = 20200613
TRAINING = (0, 1, 2, 3, 6, 7, 10, 11, 12, 14)  # scenes
VALIDATION = (4, 8, *range(16, 22))
TEST = (5, 9, 13, 15, *range(22, 42))
PHOTOGRAPHS = 2  # of each scene for training; the others have one
SIDE = 256  # px
SHAPE = (SIDE, SIDE)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Habitat:
    """The process that makes ground and coat alike; lengths in px."""

    name: str
    palette: str  # colours, red, green and blue in hexadecimal
    pieces: float  # share of the ground that leaves, stones or blades cover, 0 for none
    size: float  # of the largest piece
    length: float  # of a piece, as a multiple of its width
    order: float  # of the pieces; 0: random directions, 1: one direction
    grain: float  # coarsest feature of the noise between and on the pieces
    stripes: float  # weight of stripes, as of bark and sand ripples


HABITATS = (
    Habitat("litter", "60442c 8d6642 b08a5e 3e2f24", 2, 26, 2.0, 0.1, 9, 0),
    Habitat("gravel", "80786e a0988c 605c58 b2a48e", 2, 20, 1.2, 0, 6, 0),
    Habitat("grass", "4c5830 6c7842 8e905c 343e26", 1.6, 44, 11, 0.75, 8, 0),
    Habitat("bark", "5c5042 7a6c5a 42382e 928876", 0.8, 24, 4, 0.9, 14, 0.7),
    Habitat("sand", "baa27a ccb690 a08864 d6c6a4", 0.05, 5, 1.3, 0, 18, 0.5),
    Habitat("reef", "706260 5a6664 948470 464a4e", 0.8, 22, 1.3, 0, 16, 0.1),
    Habitat("lichen", "7a8270 a0a692 545850 bab696", 1.0, 20, 1.2, 0, 11, 0),
    Habitat("snow", "ced4dc e2e6ec b8bec8 969696", 0.25, 14, 2.0, 0.2, 26, 0.15),
)

# Bodies as tapered limbs x0, y0, r0, x1, y1, r1: from joint to joint with a radius at each, the
# animal about 2 long and facing right; the last number pair of each body is where the eye sits.
Limb = tuple[float, float, float, float, float, float]
BODIES: tuple[tuple[tuple[Limb, ...], tuple[float, float]], ...] = (
    (  # lizard from above
        (
            (-0.35, 0.0, 0.15, 0.35, 0.0, 0.17),
            (0.35, 0.0, 0.12, 0.72, 0.05, 0.13),
            (0.72, 0.05, 0.13, 0.92, 0.08, 0.06),
            (-0.35, 0.0, 0.14, -0.8, 0.12, 0.08),
            (-0.8, 0.12, 0.08, -1.2, -0.08, 0.02),
            (0.3, 0.1, 0.06, 0.45, 0.42, 0.04),
            (0.3, -0.1, 0.06, 0.48, -0.4, 0.04),
            (-0.3, 0.1, 0.07, -0.48, 0.42, 0.04),
            (-0.3, -0.1, 0.07, -0.45, -0.4, 0.04),
        ),
        (0.76, -0.03),
    ),
    (  # hoofed animal from the side
        (
            (-0.5, 0.0, 0.26, 0.4, -0.02, 0.25),
            (0.45, -0.08, 0.18, 0.78, -0.48, 0.11),
            (0.78, -0.5, 0.12, 1.05, -0.4, 0.06),
            (0.74, -0.58, 0.06, 0.66, -0.76, 0.02),
            (0.42, 0.15, 0.1, 0.45, 0.75, 0.045),
            (0.25, 0.15, 0.1, 0.2, 0.75, 0.045),
            (-0.45, 0.15, 0.12, -0.52, 0.75, 0.045),
            (-0.62, 0.1, 0.12, -0.72, 0.72, 0.045),
            (-0.72, -0.1, 0.05, -0.86, 0.2, 0.025),
        ),
        (0.84, -0.52),
    ),
    (  # perched bird
        (
            (-0.25, 0.1, 0.26, 0.2, -0.15, 0.27),
            (0.25, -0.3, 0.22, 0.4, -0.5, 0.2),
            (0.52, -0.52, 0.08, 0.72, -0.46, 0.02),
            (-0.4, 0.22, 0.16, -0.95, 0.5, 0.09),
            (-0.1, -0.05, 0.2, -0.6, 0.3, 0.08),
            (0.05, 0.35, 0.05, 0.1, 0.62, 0.03),
        ),
        (0.47, -0.55),
    ),
    (  # fish
        (
            (-0.5, 0.0, 0.16, 0.2, 0.0, 0.32),
            (0.2, 0.0, 0.32, 0.65, 0.02, 0.17),
            (-0.5, 0.0, 0.14, -0.95, 0.28, 0.07),
            (-0.5, 0.0, 0.14, -0.95, -0.28, 0.07),
            (-0.3, -0.2, 0.08, 0.3, -0.4, 0.05),
            (0.05, 0.2, 0.08, -0.15, 0.48, 0.04),
        ),
        (0.58, -0.07),
    ),
    (  # moth or toad, wide and flat
        (
            (-0.3, 0.0, 0.13, 0.45, 0.0, 0.11),
            (0.2, 0.15, 0.16, -0.25, 0.65, 0.24),
            (0.2, -0.15, 0.16, -0.25, -0.65, 0.24),
            (-0.2, 0.15, 0.18, -0.55, 0.4, 0.2),
            (-0.2, -0.15, 0.18, -0.55, -0.4, 0.2),
            (0.5, 0.03, 0.03, 0.75, 0.2, 0.01),
            (0.5, -0.03, 0.03, 0.75, -0.2, 0.01),
        ),
        (0.46, 0.06),
    ),
    (  # snake
        (
            (-1.1, 0.15, 0.03, -0.75, -0.15, 0.09),
            (-0.75, -0.15, 0.09, -0.35, 0.15, 0.13),
            (-0.35, 0.15, 0.13, 0.1, -0.15, 0.14),
            (0.1, -0.15, 0.14, 0.5, 0.12, 0.12),
            (0.5, 0.12, 0.12, 0.82, -0.06, 0.09),
            (0.82, -0.06, 0.12, 0.98, -0.1, 0.07),
        ),
        (0.88, -0.14),
    ),
)


@dataclass(frozen=True)
class Scene:
    """Properties that two photographs of one place share."""

    habitat: Habitat
    palette: Field  # (P, 3) red, green, blue in 0..1, dark to light
    direction: float  # of blades, bark, ripples in radians
    light: float  # direction in radians from which it comes
    relief: float  # contrast of the light on round things
    likeness: float  # of coat and ground; 0: slightly different, 1: only the outline differs


def draw_scene(rng: np.random.Generator, habitat: Habitat) -> Scene:
    """Choose a place and its light."""
    colours = np.array([list(bytes.fromhex(colour)) for colour in habitat.palette.split()])
    palette = colours / 255 * rng.uniform(0.8, 1.15) * rng.uniform(0.93, 1.07, 3)
    return Scene(
        habitat=habitat,
        palette=palette[np.argsort(palette.sum(1))].astype(np.float32),
        direction=rng.uniform(0, np.pi),
        light=rng.uniform(0, 2 * np.pi),
        relief=rng.uniform(0.22, 0.42),
        likeness=rng.uniform(0, 0.25),
    )


def draw_texture(
    rng: np.random.Generator,
    scene: Scene,
    scale: float = 1.0,
    turn: float = 0.0,
    share: float = 1.0,
) -> Field:
    """A draw (H, W, 3) of the habitat's process.

    Args:
        rng: source of randomness.
        scene: where.
        scale: of lengths; below 1 is finer.
        turn: away from the scene's direction, in radians.
        share: of the pieces that are left, in 0..1.
    """
    habitat, angle = scene.habitat, scene.direction + turn
    noise = texture.smooth_noise(rng, SHAPE, 4 * habitat.grain * scale, 5)
    if habitat.stripes:
        y, x = (np.arange(SIDE, dtype=np.float32) for _ in range(2))
        across = np.float32(exact.cos(angle)) * y[:, None] - np.float32(exact.sin(angle)) * x
        bend = texture.smooth_noise(rng, SHAPE, 50 * scale, 2) * 14
        waves = exact.sin((across + bend) / np.float32(1.1 * habitat.grain * scale / 2))
        noise += np.float32(habitat.stripes * 0.6) * waves
    tone = np.clip(noise * 0.9 + 0.5, 0, 1) * (len(scene.palette) - 1)
    steps = np.arange(len(scene.palette))
    ground = np.stack([np.interp(tone, steps, column) for column in scene.palette.T], -1)
    sheet = Image.fromarray((ground * 255).clip(0, 255).astype(np.uint8)).resize((2 * SIDE,) * 2)
    wanted = share * habitat.pieces * SIDE**2 * habitat.length / (0.3 * (habitat.size * scale) ** 2)
    _add_pieces(rng, scene, ImageDraw.Draw(sheet), int(wanted), scale, angle)
    drawn = np.asarray(sheet.reduce(2), np.float32) / 255
    fine = texture.smooth_noise(rng, SHAPE, 3.5 * scale, 3)
    return np.asarray(drawn * (1 + np.float32(0.22) * fine[..., None]), np.float32)


def _add_pieces(
    rng: np.random.Generator,
    scene: Scene,
    draw: ImageDraw.ImageDraw,
    count: int,
    scale: float,
    angle: float,
) -> None:
    """Leaves, stones or blades over each other, on a sheet of twice the picture's size."""
    habitat = scene.habitat
    where = rng.uniform(-20, 2 * SIDE + 20, (count, 2))
    # Sizes as of natural scenes: many small, few large.
    long = 2 * scale * habitat.size * np.clip(rng.pareto(1.5, count) * 0.3 + 0.3, 0, 1)
    turn = angle + rng.vonmises(0, 40 * habitat.order**3, count)
    around = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    bumps = 0.5 + 0.06 * rng.standard_normal((count, len(around)))
    u = exact.cos(around) * bumps * long[:, None]
    v = exact.sin(around) * bumps * long[:, None] / habitat.length
    c, s = exact.cos(turn)[:, None], exact.sin(turn)[:, None]
    corners = np.stack([c * u - s * v, s * u + c * v], 2) + where[:, None]
    colour = scene.palette[rng.integers(0, len(scene.palette), count)]
    colour = np.clip(colour * rng.normal(1, 0.1, (count, 1)) * 255, 0, 255).astype(int)
    away = np.array([-exact.cos(scene.light), -exact.sin(scene.light)]) * 2
    packed = np.array([1, 1 << 8, 1 << 16])  # red, green, blue in one number is drawn faster
    shade, tone = ((colour // 2) @ packed).tolist(), (colour @ packed).tolist()
    below = (corners + away).reshape(count, 2 * len(around)).tolist()
    above = corners.reshape(count, 2 * len(around)).tolist()
    for n in range(count):
        if long[n] > habitat.size * scale:  # the shadow of a small one is not visible
            draw.polygon(below[n], fill=shade[n])
        draw.polygon(above[n], fill=tone[n])


def draw_animal(rng: np.random.Generator) -> tuple[Field, tuple[float, float]]:
    """Signed distance (H, W) in px from an animal's outline, negative inside; its eye (y, x)."""
    limbs, eye = BODIES[rng.integers(len(BODIES))]
    length = rng.uniform(58, 115)
    turn, mirror = rng.normal(0, 0.5), rng.choice([-1, 1])
    c, s = exact.cos(turn), exact.sin(turn)
    pose = length * np.array([[c, -s], [s, c]]) * (mirror, 1)

    def at(point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(pose[:, 0] * point[0] + pose[:, 1] * point[1] + centre)

    centre = rng.uniform(0.36 * SIDE, 0.64 * SIDE, 2)  # x, y
    y, x = np.ogrid[:SIDE, :SIDE]
    inside = np.zeros(SHAPE, np.float32)
    softness = np.float32(0.025 * length)
    for x0, y0, r0, x1, y1, r1 in limbs:
        tail, tip = (at(np.array(end) + rng.normal(0, 0.03, 2)) for end in ((x0, y0), (x1, y1)))
        way = tip - tail
        dx, dy = (x - tail[0]).astype(np.float32), (y - tail[1]).astype(np.float32)
        share = np.clip((dx * way[0] + dy * way[1]) / (way[0] ** 2 + way[1] ** 2), 0, 1).astype(
            np.float32
        )
        away = exact.hypot(dx - share * np.float32(way[0]), dy - share * np.float32(way[1]))
        away -= np.float32(length) * (np.float32(r0) + share * np.float32(r1 - r0))
        inside += exact.exp(-np.clip(away / softness, -40, 40))  # smooth union: no creases
    place = at(np.array(eye))
    distance = -softness * exact.log(np.maximum(inside, np.float32(1e-12)))
    ragged = texture.smooth_noise(rng, SHAPE, 7, 2) * np.float32(1.6)
    return np.asarray(distance + ragged, np.float32), (float(place[1]), float(place[0]))


def draw_stone(rng: np.random.Generator) -> Field:
    """Signed distance (H, W) in px from the outline of a stone or tuft, negative inside."""
    radius = rng.uniform(14, 42)
    centre, radii = (rng.uniform(0, SIDE), rng.uniform(0, SIDE)), (radius * 1.3, radius / 1.3)
    _, rho = texture.bumpy_outline(rng, SHAPE, centre, radii, (5, 0.07), 2 * SIDE)
    return np.asarray((rho - 1) * np.float32(radius), np.float32)


def draw_coat(rng: np.random.Generator, scene: Scene) -> Field:
    """What an animal wears (H, W, 3): the habitat, a little finer, sparser and turned."""
    differs = 1 - scene.likeness
    turn = rng.choice([-1, 1]) * (0.3 + 0.6 * differs)
    return draw_texture(rng, scene, 0.7 - 0.3 * differs, turn, 0.9 - 0.85 * differs)


def lay(
    rng: np.random.Generator, scene: Scene, picture: Field, coat: Field, distance: Field
) -> None:
    """Draw a round object into the image (H, W, 3), in place, in a coat of its own tone."""
    tone = (1 - scene.likeness) * (rng.choice([-0.1, 0.1]) + rng.normal(0, 0.014, 3))
    coat = coat * (1 + tone.astype(np.float32))
    height = np.sqrt(np.clip(-distance / np.float32(14), 0, 1))
    dy, dx = np.gradient(exact.gaussian_filter(height, 2) * 14)
    lit = np.float32(exact.cos(scene.light)) * dx + np.float32(exact.sin(scene.light)) * dy
    coat *= 1 - np.float32(scene.relief) * np.clip(lit, -1, 1)[..., None]
    shift = 3 * np.array([-exact.sin(scene.light), -exact.cos(scene.light)])
    under = exact.gaussian_filter((distance < 0).astype(np.float32), 3)
    under = np.roll(under, shift.round().astype(int), (0, 1))
    picture *= 1 - np.float32(1.2 * scene.relief) * under[..., None]
    cover = np.clip(0.5 - distance / 2, 0, 1)[..., None]
    picture += cover * (coat - picture)


def hide(rng: np.random.Generator, scene: Scene, picture: Field) -> Mask:
    """Foreground leaves or blades over the picture, in place; where (H, W) they are."""
    sheet = Image.fromarray((picture * 255).clip(0, 255).astype(np.uint8)).resize((2 * SIDE,) * 2)
    before = np.asarray(sheet.reduce(2), np.float32)
    count = int(rng.integers(4, 22) * min(scene.habitat.pieces, 2))
    _add_pieces(rng, scene, ImageDraw.Draw(sheet), count, rng.uniform(0.7, 1.1), scene.direction)
    after = np.asarray(sheet.reduce(2), np.float32)
    front = np.abs(after - before).max(2) > 6
    picture[front] = after[front] / 255
    return front


def photograph(rng: np.random.Generator, picture: Field) -> npt.NDArray[np.uint8]:
    """Dappled light, shallow focus, noise: (H, W, 3) uint8."""
    light = texture.smooth_noise(rng, SHAPE, rng.uniform(30, 120), 2) + texture.ramp(rng, SHAPE)
    picture = picture * (1 + np.float32(rng.uniform(0.05, 0.2)) * light[..., None])
    picture = exact.gaussian_filter(picture, (*[rng.uniform(0.4, 1.1)] * 2, 0))
    picture += np.float32(rng.uniform(0.01, 0.035)) * rng.standard_normal(
        picture.shape, dtype=np.float32
    )
    return np.asarray(np.clip(picture, 0, 1) * 255, np.uint8)


def _draw(rng: np.random.Generator, scene: Scene) -> tuple[npt.NDArray[np.uint8], Mask]:
    picture = draw_texture(rng, scene)
    ground = picture[::-1, ::-1].copy()  # rotated, so that stones keep the direction of the plants
    for _ in range(rng.integers(0, 3)):
        lay(rng, scene, picture, ground, draw_stone(rng))
    distance, eye = draw_animal(rng)
    lay(rng, scene, picture, draw_coat(rng, scene), distance)
    at = texture.window(SHAPE, eye, 6)
    radius = rng.uniform(1.6, 2.8)
    spot = exact.exp(-(((at.dy**2 + at.dx**2) / np.float32(radius**2)) ** 2))[..., None]
    picture[at.place] *= 1 - np.float32(0.85) * spot
    front = hide(rng, scene, picture)
    return photograph(rng, picture), (distance < 0) & ~front


@register_dataset(
    "camouflage",
    classes=("background", "animal"),
    source="procedural",
    licence="as the project",
    images_may_be_shown=True,
)
def camouflage() -> dict[str, list[Item]]:
    """Procedural photographs of camouflaged animals; 52 of 42 scenes, 256 x 256 RGB."""
    return {
        "train": [draw_item(number, photo) for number in TRAINING for photo in range(PHOTOGRAPHS)],
        "val": [draw_item(number, 0) for number in VALIDATION],
        "test": [draw_item(number, 0) for number in TEST],
    }


def draw_item(number: int, photo: int) -> Item:
    """One photograph of one scene; independent of earlier calls."""
    habitat = HABITATS[number % len(HABITATS)]
    scene = draw_scene(np.random.default_rng((SEED, number)), habitat)
    image, animal = _draw(np.random.default_rng((SEED, number, photo + 1)), scene)
    name = f"{habitat.name}{number // len(HABITATS)}"
    return Item(f"{name}_photo{photo}", image, animal.astype(np.uint8), group=name)
