"""Procedural corpus of promptable objects, on which the small SAM is pretrained.

Each scene draws its own world: size scale, shapes, layout, tones, textures, optics, noise.
The spread is wide on purpose: what never varies here would be taken for granted later.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from bench.draw import texture
from bench.draw.texture import Field, Labels
from bench.sam.nano.layouts import draw_layout

MIN_AREA = 20  # px; what occlusion leaves below this is no object any more
MIN_RANGE = 16  # grey levels; a picture with fewer shows nothing
Canvas = npt.NDArray[np.float32]  # (S, S, C), C is 1 for grey, 3 for colour, values about [0, 1]


def make_scene(
    rng: np.random.Generator, size: int = 256
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Draw one scene.

    Args:
        rng: source of all randomness; equal states give equal scenes.
        size: side S in px.

    Returns:
        Image (S, S, 3) uint8 and instances (S, S) uint16: 0 is background, objects are numbered
        1..n without gaps, n at least 1, later ones occlude earlier ones, each shows at least
        `MIN_AREA` px, which may be in several pieces.
    """
    while True:
        instances = renumber(draw_layout(rng, size))
        if not instances.max():
            continue  # shapes thinner than a pixel left nothing: draw again
        canvas, contrast = _paint(rng, instances)
        _add_marks(rng, canvas)
        image = _expose(rng, canvas, contrast)
        if np.ptp(image) >= MIN_RANGE:
            return image, instances.astype(np.uint16)


def renumber(labels: Labels) -> Labels:
    """Remove objects of fewer than `MIN_AREA` pixels and number the others 1..n.

    Args:
        labels: object numbers (S, S), 0 is background.

    Returns:
        New numbers (S, S) int32, in the order of the old ones.
    """
    areas = np.bincount(labels.ravel())
    keep = areas >= MIN_AREA
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]


def _paint(rng: np.random.Generator, instances: Labels) -> tuple[Canvas, float]:
    """Give ground and objects tones, textures, shading, rims, halo and shadow.

    Returns:
        The canvas, and the mean difference of tone between objects and ground.
    """
    shape = (instances.shape[0], instances.shape[1])
    channels = 1 if rng.random() < 0.5 else 3
    ground, tones = _tones(rng, channels, int(instances.max()))
    canvas = np.take(np.concatenate([ground[None], tones]), instances, axis=0)
    inside = instances > 0
    contrast = float(np.abs(tones - ground).mean())
    outer = _surface(rng, shape) * np.float32(rng.uniform(0, 0.12))
    inner = _surface(rng, shape) * np.float32(rng.choice([0.02, rng.uniform(0.02, 0.15)]))
    if rng.random() < 0.5:
        inner += _relief(rng, instances) * np.float32(rng.uniform(0.1, 0.7) * max(contrast, 0.1))
    tiled = inside.mean() > 0.85  # neighbours of one tone part by their borders alone
    if rng.random() < 0.35 or tiled:
        rim = ndimage.maximum_filter(texture.borders(instances), size=int(rng.integers(1, 5)))
        tone = rng.choice([-1, 1]) * rng.uniform(0.3, 1.2) * max(contrast, 0.1)
        inner += rim * np.float32(tone)
    if rng.random() < 0.35:  # halo (no offset) or shadow (offset), light or dark
        offset = rng.choice([0, 1]) * rng.integers(-8, 9, 2)
        glow = np.roll(inside, offset, (0, 1)).astype(np.float32)
        step = int(rng.integers(3, 12))
        glow = texture.resize(texture.resize(glow, (shape[0] // step, shape[1] // step)), shape)
        outer += glow * np.float32(rng.uniform(-0.25, 0.25))
    canvas += np.where(inside, inner, outer)[..., None]
    return canvas, contrast


def _tones(rng: np.random.Generator, channels: int, count: int) -> tuple[Field, Field]:
    """Ground tone (C,) and object tones (n, C): a palette of few sorts, or each its own."""
    ground = rng.choice([rng.uniform(0.02, 0.2), rng.uniform(0.2, 0.7), rng.uniform(0.7, 0.95)])
    tint = rng.uniform(-0.2, 0.2, channels) * rng.choice([0, 1])
    contrast = np.exp(rng.uniform(np.log(0.1), np.log(0.75)))
    sorts = int(rng.choice([1, 1, 1, 2, 3, count]))
    sign = np.full((sorts, 1), rng.choice([-1.0, 1.0]))
    if rng.random() < 0.25:
        sign = rng.choice([-1.0, 1.0], (sorts, 1))
    outside = np.abs(ground + sign * contrast - 0.5) > 0.5
    room = max(ground, 1 - ground)  # a step beyond black or white would not be seen
    sign = np.where(outside, 1.0 if ground < 0.5 else -1.0, sign) * min(1, room / contrast)
    hue = 1 + rng.uniform(-0.9, 0.5, (sorts, channels)) * (channels > 1)
    tones = (sign * contrast * hue)[rng.integers(0, sorts, count)]
    tones = tones * (1 + rng.normal(0, rng.choice([0.05, 0.3]), (count, 1)))
    return (ground + tint).astype(np.float32), (ground + tint + tones).astype(np.float32)


def _relief(rng: np.random.Generator, instances: Labels) -> Field:
    """Shading in each object (S, S): domed, lit from one side, or striped along its own axis."""
    size = instances.shape[0]
    flat = instances.ravel()
    area = np.maximum(np.bincount(flat), 1)
    x = np.tile(np.arange(size, dtype=np.float32), size)
    y = np.repeat(np.arange(size, dtype=np.float32), size)
    cy, cx = ((np.bincount(flat, at) / area).astype(np.float32) for at in (y, x))
    scale = (1 / np.sqrt(area / np.pi)).astype(np.float32)[flat]
    u = ((y - cy[flat]) * scale).reshape(size, size)
    v = ((x - cx[flat]) * scale).reshape(size, size)
    kind = rng.integers(3)
    if kind == 0:
        dome = np.clip(1 - u * u - v * v, -1, 1) * rng.choice([-1, 1])
        return np.asarray(dome, np.float32)
    angle = np.full(len(area), rng.uniform(0, 2 * np.pi))
    if kind == 2:
        angle = rng.uniform(0, np.pi, len(area))
    along = u * np.sin(angle).astype(np.float32)[instances]
    along += v * np.cos(angle).astype(np.float32)[instances]
    if kind == 1:
        return np.asarray(np.clip(along, -1, 1), np.float32)
    return np.asarray(np.sin(along * np.float32(rng.uniform(3, 15))), np.float32)


def _surface(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """One of the textures that ground and objects share: flat to grainy."""
    kind = rng.choice(6, p=[0.15, 0.12, 0.15, 0.05, 0.13, 0.4])
    if kind == 0:
        return np.zeros(shape, np.float32)
    if kind == 1:
        return texture.ramp(rng, shape)
    if kind == 2:
        period = float(np.exp(rng.uniform(np.log(4), np.log(40))))
        return texture.stripes(rng, shape, period, rng.uniform(0, period))
    if kind == 3:
        step = rng.uniform(4, 30)
        y, x = (np.arange(n) // step for n in shape)
        return np.asarray((y[:, None] + x[None]) % 2 * 2 - 1, np.float32)
    if kind == 4:  # grains: sharp-edged patches of a few tones
        field = texture.smooth_noise(rng, shape, rng.uniform(6, 40), 2)
        return np.asarray(np.round(field * 3) / 3, np.float32)
    cell = float(np.exp(rng.uniform(np.log(2), np.log(80))))
    return texture.smooth_noise(rng, shape, cell, int(rng.integers(1, 5)))


def _add_marks(rng: np.random.Generator, canvas: Canvas) -> None:
    """Draw what is no object: scratches, spots, lettering; then uneven light over all."""
    size = canvas.shape[0]
    if rng.random() < 0.3:
        sheet = Image.new("F", (size, size))
        draw = ImageDraw.Draw(sheet)
        for _ in range(rng.integers(1, 6)):
            tone = float(rng.uniform(-0.35, 0.35))
            x, y, dx, dy = rng.uniform(0, size, 4)
            kind = rng.integers(3)
            if kind == 0:
                draw.line((x, y, dx, dy), fill=tone, width=int(rng.integers(1, 3)))
            elif kind == 1:
                draw.ellipse((x, y, x + 1 + dx / size * 3, y + 1 + dy / size * 3), fill=tone)
            else:  # a row of short strokes reads as a scale bar's lettering
                for stroke in rng.uniform(0, 6, (5, 2)):
                    x += 5
                    draw.line((x, y, x + stroke[0], y + stroke[1]), fill=tone)
        canvas += np.asarray(sheet, np.float32)[..., None]
    if rng.random() < 0.4:
        light = texture.smooth_noise(rng, (size, size), size) + texture.ramp(rng, (size, size))
        canvas *= 1 + light[..., None] * np.float32(rng.uniform(0, 0.3))


def _expose(rng: np.random.Generator, canvas: Canvas, contrast: float) -> npt.NDArray[np.uint8]:
    """Record the canvas: gamma, blur, sensor noise, quantisation to (S, S, 3)."""
    size = canvas.shape[0]
    light = np.clip(canvas, 0, 1)
    if rng.random() < 0.3:
        light **= np.float32(rng.uniform(0.6, 1.7))
    film = (light * 255).astype(np.uint8)
    film = film[..., 0] if film.shape[2] == 1 else film
    sigma = float(rng.choice([0.0, 0.5, rng.uniform(0.5, 1.8)]))
    film = texture.blur(film, sigma) if sigma else film
    film = film if film.ndim == 3 else film[..., None]
    exposed = film.astype(np.float32)
    level = np.float32(rng.choice([0.0, rng.uniform(1, 6), rng.uniform(6, 28)]))
    level = min(level, np.float32(300 * contrast))  # noise never hides every object
    if level:
        grain = rng.standard_normal((size, size, 1), dtype=np.float32) * level
        if rng.random() < 0.3:  # coarse grain, as after a detector's interpolation
            half = rng.standard_normal((size // 2, size // 2), dtype=np.float32)
            grain = texture.resize(half, (size, size))[..., None] * level
        if rng.random() < 0.4:  # counting noise grows with the root of the signal
            grain = grain * np.sqrt(exposed / 128 + 0.05)
        exposed += grain
    if rng.random() < 0.06:
        where = rng.integers(0, size, (2, size * size // 200))
        exposed[where[0], where[1]] = rng.choice([0.0, 255.0])
    np.clip(exposed, 0, 255, out=exposed)
    return np.broadcast_to(exposed.astype(np.uint8), (size, size, 3)).copy()
