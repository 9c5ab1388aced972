"""Procedural photographs of shadows on textured ground.

    images    52, 256 x 256 px, RGB uint8
    groups    42 scenes of 8 grounds: 10 for training with 2 photographs each, 8 for validation and
              24 for the test with one
    classes   lit, shadow
    licence   as the project; drawn from a fixed seed, nothing is downloaded

A shadow takes the sun's share of the light and leaves that of the sky, so it multiplies the ground
by a bluish factor and its texture stays; its edge is sharp near the object that casts it and wider
farther away. A pixel is shadow where more than half of the sun is hidden. Dark tiles, mended
asphalt, stains and dark objects are as dark as shadows but not shadows; light falls off, the ground
recedes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from bench import Item, register_dataset
from bench.draw import exact, texture
from bench.draw.texture import Field

SEED = 20180618
TRAINING = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14)  # scenes
VALIDATION = (1, 2, *range(16, 22))
TEST = (0, 3, 4, 15, *range(22, 42))
PHOTOGRAPHS = 2  # of each scene for training; the others have one
SIDE = 256  # px
SHAPE = (SIDE, SIDE)
PLAN = (384, 384)  # px of the ground as seen from above
Colour = tuple[int, int, int]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ground:
    """What the floor is made of; lengths in px of the plan, colours as red, green, blue."""

    name: str
    colour: Colour
    second: Colour  # of blades, stones, veins or every other tile
    grain: float  # coarsest feature of the noise
    rough: float  # its contrast
    tile: tuple[float, float] = (0, 0)  # height and width, 0 for none
    bond: float = 0.0  # shift of every other row, as a share of the width
    joint: float = 0.7  # brightness of the joints
    odd: float = 0.0  # share of the tiles in the second colour, by lot
    checked: bool = False  # every other tile is in the second colour


GROUNDS = (
    Ground("asphalt", (112, 112, 114), (150, 148, 142), 4, 0.3),
    Ground("lawn", (96, 112, 62), (138, 140, 90), 7, 0.4),
    Ground("bricks", (158, 96, 74), (120, 70, 58), 8, 0.2, (26, 56), 0.5, 1.25, 0.25),
    Ground("slabs", (168, 162, 150), (132, 130, 126), 12, 0.12, (74, 74), 0.0, 0.62, 0.2),
    Ground("sand", (204, 180, 140), (176, 150, 112), 22, 0.2),
    Ground("boards", (146, 112, 78), (108, 80, 56), 10, 0.18, (30, 260), 0.37, 0.4, 0.3),
    Ground("checks", (196, 190, 178), (92, 84, 82), 16, 0.08, (52, 52), 0.0, 0.8, checked=True),
    Ground("gravel", (150, 144, 134), (108, 104, 100), 5, 0.5),
)


@dataclass(frozen=True)
class Scene:
    """Properties that two photographs of one place share."""

    ground: Ground
    tint: Field  # (3,) of the material
    sky: Field  # (3,) share of the light that is left in the shadow
    softness: float  # widening of the penumbra, px per px from the caster
    turn: float  # of the tiles in radians
    tilt: float  # how far the ground recedes: 0 is seen from above


def draw_scene(rng: np.random.Generator, ground: Ground) -> Scene:
    """Choose a place, its sun and the camera's tilt."""
    sky = rng.uniform(0.36, 0.66) * np.array([0.94, 1.0, 1.1]) * rng.uniform(0.96, 1.04, 3)
    return Scene(
        ground=ground,
        tint=(rng.uniform(0.75, 1.15) * rng.uniform(0.94, 1.06, 3)).astype(np.float32),
        sky=sky.astype(np.float32),
        softness=rng.uniform(0.015, 0.09),
        turn=rng.uniform(0, np.pi),
        tilt=rng.uniform(0, 0.55),
    )


def draw_ground(rng: np.random.Generator, scene: Scene) -> Field:
    """Albedo (h, w, 3) of the plan: material, tiles, wear, dark patches without shadow."""
    ground = scene.ground
    tone = np.clip(texture.smooth_noise(rng, PLAN, 9 * ground.grain, 5) + 0.5, 0, 1)
    fine = texture.smooth_noise(rng, PLAN, ground.grain, 4)
    fine += 0.5 * texture.smooth_noise(rng, PLAN, 2)
    joint = np.ones(PLAN, np.float32)
    if ground.tile[0]:
        tone, joint = _tiles(rng, scene)
        tone = np.clip(tone + 0.12 * fine, 0, 1)
    first, second = (np.array(c, np.float32) / 255 for c in (ground.colour, ground.second))
    albedo = (first + tone[..., None] * (second - first)) * scene.tint
    albedo *= (joint * (1 + np.float32(ground.rough) * fine))[..., None]
    for _ in range(rng.integers(1, 5)):  # stains, wet patches, mended asphalt, manholes
        centre = (rng.uniform(0, PLAN[0]), rng.uniform(0, PLAN[1]))
        radius = rng.uniform(10, 46)
        at = texture.window(PLAN, centre, 2.4 * radius)
        axes = texture.axis_coordinates(at, (radius * 1.3, radius / 1.3), rng.uniform(0, np.pi))
        rho = texture.wavy_ellipse(*axes, rng.normal(0, 0.07, (5, 2)))
        if rng.random() < 0.35:
            rho = np.maximum(*np.abs(axes))
        edge = np.clip((1 - rho) * np.float32(radius / rng.uniform(1, 8)) + 0.5, 0, 1)
        dark = rng.uniform(0.25, 0.6) * rng.uniform(0.9, 1.1, 3)
        albedo[at.place] *= 1 - edge[..., None] * dark.astype(np.float32)
    return np.asarray(albedo, np.float32)


def _tiles(rng: np.random.Generator, scene: Scene) -> tuple[Field, Field]:
    """Share (h, w) of the second colour, and brightness (h, w) by joints, of laid tiles."""
    ground = scene.ground
    height, width = ground.tile
    y, x = (np.arange(n, dtype=np.float32) - n / 2 for n in PLAN)
    c, s = np.float32(exact.cos(scene.turn)), np.float32(exact.sin(scene.turn))
    v = (c * y[:, None] - s * x) / np.float32(height) + 100
    u = (c * x + s * y[:, None]) / np.float32(width) + 100
    row = np.floor(v)
    u = u + row * np.float32(ground.bond)
    column = np.floor(u)
    lot = rng.random((256, 256), dtype=np.float32)[row.astype(int) % 256, column.astype(int) % 256]
    second = (row + column) % 2 if ground.checked else lot < ground.odd
    tone = 0.8 * second + 0.2 * lot
    gap = np.minimum(
        np.minimum(v - row, row + 1 - v) * np.float32(height),
        np.minimum(u - column, column + 1 - u) * np.float32(width),
    )
    joint = 1 + np.float32(ground.joint - 1) * exact.exp(-((gap / np.float32(1.6)) ** 2))
    return np.asarray(tone, np.float32), np.asarray(joint * (0.94 + 0.12 * lot), np.float32)


def see(scene: Scene, plan: Field) -> Field:
    """The plan (h, w, 3) as the camera sees it (H, W, 3): the ground recedes upwards."""
    y, x = (np.linspace(-1, 1, SIDE, dtype=np.float32) for _ in range(2))
    depth = 1 / (1 + np.float32(scene.tilt) * y[:, None])
    reach = np.float32(PLAN[0] / 2 - 2) * np.float32(1 - scene.tilt)
    rows = PLAN[0] / 2 + reach * y[:, None] * depth + np.zeros_like(x)
    columns = PLAN[1] / 2 + reach * x * depth
    layers = [
        ndimage.map_coordinates(plan[..., k], (rows, columns), order=1, mode="reflect")
        for k in range(plan.shape[2])
    ]
    return np.stack(layers, -1)


Draw = Callable[[np.random.Generator, ImageDraw.ImageDraw], None]


def _person(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    """A standing person, with the feet at the lower border."""
    x, size = rng.uniform(70, 186), rng.uniform(0.8, 1.3)
    foot, lean = 300.0, rng.uniform(-60, 60)
    body = [(-16, 0), (-24, 70), (-30, 130), (-22, 170), (-9, 178), (9, 178), (22, 170),
            (30, 130), (24, 70), (16, 0), (6, 0), (0, 66), (-6, 0)]  # fmt: skip
    points = [(x + size * u + lean * v / 180, foot - size * v) for u, v in body]
    draw.polygon(points, fill=255)
    head, radius = (x + lean * 1.08, foot - 196 * size), 17 * size
    draw.ellipse((head[0] - radius, head[1] - radius, head[0] + radius, head[1] + radius), fill=255)
    for side in (-1, 1):  # arms
        hand = (x + side * size * rng.uniform(30, 75), foot - size * rng.uniform(70, 150))
        shoulder = (x + side * 16 * size + lean * 0.9, foot - 162 * size)
        draw.line([shoulder, hand], fill=255, width=int(11 * size))


def _posts(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    """Posts, rails or a fence."""
    count, lean = int(rng.integers(1, 6)), rng.uniform(-90, 90)
    step, width = rng.uniform(30, 60), int(rng.integers(6, 22))
    start = rng.uniform(0, 256 - step * (count - 1) * 0.7)
    for n in range(count):
        x = start + n * step
        draw.line([(x, 280), (x + lean, rng.uniform(-30, 60))], fill=255, width=width)
    if count > 2:
        y = rng.uniform(80, 160)
        draw.line([(-20, y), (280, y + rng.uniform(-20, 20))], fill=255, width=max(width // 2, 4))


def _building(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    """The edge of a roof, with chimneys or gables."""
    y, slope = rng.uniform(100, 200), rng.uniform(-0.5, 0.5)
    points = [(-20.0, 320.0), (-20.0, y)]
    x = 0.0
    while x < 240:
        step, wide = rng.uniform(-34, 34), rng.uniform(24, 90)
        level = y + slope * x
        points += [(x, level + step), (x + wide, level + slope * wide + step)]
        x += wide
    draw.polygon([*points, (280.0, y + slope * 256), (280.0, 320.0)], fill=255)


def _tree(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    """A branch with leaves, from one side."""
    x, y = -10.0, rng.uniform(40, 216)
    heading = rng.uniform(-0.4, 0.4)
    for _ in range(11):
        heading += rng.normal(0, 0.25)
        nx, ny = x + 24 * exact.cos(heading), y + 24 * exact.sin(heading)
        draw.line([(x, y), (nx, ny)], fill=255, width=7)
        for _ in range(int(rng.integers(5, 13))):
            u, v = rng.normal(nx, 20), rng.normal(ny, 20)
            a, b = rng.uniform(4, 13, 2)
            draw.ellipse((u - a, v - b, u + a, v + b), fill=255)
        x, y = nx, ny


def _other_object(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    """An umbrella, a box, a ball or a sign on its pole."""
    x, y, size = rng.uniform(70, 186), rng.uniform(60, 150), rng.uniform(28, 62)
    sides = int(rng.choice([3, 4, 5, 24]))
    draw.line([(x, y), (x + rng.uniform(-50, 50), 280)], fill=255, width=int(rng.integers(6, 15)))
    draw.regular_polygon((x, y, size), sides, rotation=float(rng.uniform(0, 90)), fill=255)


CASTERS: tuple[Draw, ...] = (_person, _posts, _building, _tree, _other_object)


def cast(rng: np.random.Generator, scene: Scene) -> Field:
    """Share (H, W) of the sun that is hidden: sharp at the feet, softer towards the far end."""
    sheet = Image.new("L", SHAPE)
    draw = ImageDraw.Draw(sheet)
    for caster in rng.permutation(len(CASTERS))[: rng.integers(1, 3)]:
        CASTERS[caster](rng, draw)
    solid = np.asarray(sheet, np.float32) / 255
    # Two blurs, mixed by the way from the caster's foot at the lower border.
    far = np.linspace(1, 0, SIDE, dtype=np.float32)[:, None]
    near, wide = 0.8, 0.8 + scene.softness * SIDE
    hidden = (1 - far) * exact.gaussian_filter(solid, near)
    hidden = hidden + far * exact.gaussian_filter(solid, wide)
    return np.asarray(np.rot90(hidden, int(rng.integers(4))), np.float32)


def photograph(rng: np.random.Generator, level: Field) -> npt.NDArray[np.uint8]:
    """Fall-off of light, exposure, lens and sensor: (H, W, 3) uint8."""
    light = texture.smooth_noise(rng, SHAPE, 200) + texture.ramp(rng, SHAPE)
    level = level * (1 + np.float32(rng.uniform(0.05, 0.2)) * light[..., None])
    level = level * np.float32(rng.uniform(0.85, 1.25))
    level = exact.gaussian_filter(level, (*[rng.uniform(0.4, 0.9)] * 2, 0))
    noise = rng.standard_normal(level.shape, dtype=np.float32)
    level += np.float32(rng.uniform(0.006, 0.02)) * noise
    return np.asarray(np.clip(level, 0, 1) * 255, np.uint8)


def _add_objects(rng: np.random.Generator, albedo: Field) -> None:
    """Draw stones, lids and bags on the ground, mostly dark, in place."""
    for _ in range(rng.integers(0, 3)):
        centre = (rng.uniform(10, SIDE - 10), rng.uniform(10, SIDE - 10))
        radius = rng.uniform(5, 16)
        radii = (radius * 1.2, radius / 1.2)
        at, rho = texture.bumpy_outline(rng, SHAPE, centre, radii, (4, 0.04), 2 * radius)
        colour = rng.choice([0.1, 0.2, 0.4]) * rng.uniform(0.8, 1.2, 3)
        dome = 0.75 + 0.5 * np.sqrt(np.clip(1 - rho**2, 0, 1))
        cover = np.clip((1 - rho) * np.float32(radius) + 0.5, 0, 1)[..., None]
        albedo[at.place] += cover * (dome[..., None] * colour.astype(np.float32) - albedo[at.place])


def _draw(rng: np.random.Generator, scene: Scene) -> tuple[npt.NDArray[np.uint8], Mask]:
    albedo = see(scene, draw_ground(rng, scene))
    while True:  # a shadow that misses the picture, or fills it, shows nothing
        hidden = cast(rng, scene)
        if 0.05 < np.mean(hidden > 0.5) < 0.6:
            break
    _add_objects(rng, albedo)
    light = 1 - hidden[..., None] * (1 - scene.sky)
    return photograph(rng, albedo * light), hidden > 0.5


@register_dataset(
    "shadow",
    classes=("lit", "shadow"),
    source="procedural",
    licence="as the project",
    images_may_be_shown=True,
)
def shadow() -> dict[str, list[Item]]:
    """Procedural photographs of shadows on textured ground; 52 of 42 scenes, 256 x 256 RGB."""
    return {
        "train": [draw_item(number, photo) for number in TRAINING for photo in range(PHOTOGRAPHS)],
        "val": [draw_item(number, 0) for number in VALIDATION],
        "test": [draw_item(number, 0) for number in TEST],
    }


def draw_item(number: int, photo: int) -> Item:
    """One photograph of one scene; independent of earlier calls."""
    ground = GROUNDS[number % len(GROUNDS)]
    scene = draw_scene(np.random.default_rng((SEED, number)), ground)
    image, mask = _draw(np.random.default_rng((SEED, number, photo + 1)), scene)
    name = f"{ground.name}{number // len(GROUNDS)}"
    return Item(f"{name}_photo{photo}", image, mask.astype(np.uint8), group=name)
