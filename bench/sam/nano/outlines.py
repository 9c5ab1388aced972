"""Outlines of procedural objects: closed polygons about the origin, of radius about 1.

Each function draws one outline with the source of randomness `rng`, and returns its corners (V, 2)
as x and y.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Outline = npt.NDArray[np.float64]  # corners (V, 2) as x, y
VERTICES = 40
_THETA = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
_CIRCLE = np.stack([np.cos(_THETA), np.sin(_THETA)], 1)


def ellipse(rng: np.random.Generator) -> Outline:
    """Draw an ellipse with the ratio of axes 1 to 2.5, most often almost a circle."""
    return _CIRCLE * (1.0, 1 / (1 + 1.5 * rng.random() ** 2))


def blob(rng: np.random.Generator) -> Outline:
    """Draw an irregular rounded outline, a sum of waves of the Fourier orders 2 to 6."""
    orders = np.arange(2, 7)
    amplitude = rng.uniform(0.05, 0.45) * rng.standard_normal(5) / orders
    phase = rng.uniform(0, 2 * np.pi, 5)
    radius = 1 + (amplitude * np.cos(_THETA[:, None] * orders + phase)).sum(1)
    return _CIRCLE * (np.clip(radius, 0.15, 2) / radius.max())[:, None]


def convex_polygon(rng: np.random.Generator) -> Outline:
    """Draw a polygon like a crystal: three to eight corners on an ellipse."""
    corners = int(rng.integers(3, 9))
    angles = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
    return np.stack([np.cos(angles), rng.uniform(0.5, 1) * np.sin(angles)], 1)


def concave_polygon(rng: np.random.Generator) -> Outline:
    """Draw a polygon like a shard: 5 to 12 corners at random distances from the centre."""
    corners = int(rng.integers(5, 13))
    angles = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
    return np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(0.3, 1, (corners, 1))


def star(rng: np.random.Generator) -> Outline:
    """Draw a star or gear with four to nine arms, sharp or rounded."""
    wave = np.cos(_THETA * rng.integers(4, 10))
    radius = 1 + rng.uniform(0.15, 0.5) * np.sign(wave) * np.abs(wave) ** rng.uniform(0.3, 1.5)
    return _CIRCLE * (radius / radius.max())[:, None]


def rod(rng: np.random.Generator) -> Outline:
    """Draw a rod, lath or needle: a superellipse three to ten times as long as wide."""
    power = rng.uniform(0.15, 1.0)
    return np.sign(_CIRCLE) * np.abs(_CIRCLE) ** power * (1.0, 1 / rng.uniform(3, 10))


def ring(rng: np.random.Generator) -> Outline:
    """Draw a ring: the outer outline, then the inner one backwards, so that it has a hole."""
    outer = np.concatenate([_CIRCLE, _CIRCLE[:1]])
    return np.concatenate([outer, rng.uniform(0.4, 0.8) * outer[::-1]]) * (1.0, rng.uniform(0.6, 1))


def crescent(rng: np.random.Generator) -> Outline:
    """Draw a crescent or bean: an arc that is thickest in its middle."""
    span = np.linspace(-1, 1, VERTICES // 2) * rng.uniform(0.9, 2.4)
    arc = np.stack([np.cos(span), np.sin(span)], 1)
    width = rng.uniform(0.2, 0.7) * np.cos(np.linspace(-1, 1, len(span)) * np.pi / 2)[:, None]
    return np.concatenate([arc, arc[::-1] * (1 - width)]) - (0.4, 0)


def curve(rng: np.random.Generator) -> Outline:
    """Draw a fibre or crack: a smooth random path of constant thickness."""
    heading = np.cumsum(rng.normal(0, 0.15)) + np.cumsum(
        np.repeat(rng.normal(0, 0.3, 6), VERTICES // 12 + 1)
    )
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0)
    path = path - path.mean(0)
    path /= np.abs(path).max()
    normal = np.stack([-np.sin(heading), np.cos(heading)], 1) * rng.uniform(0.02, 0.1)
    return np.concatenate([path + normal, (path - normal)[::-1]])


# Rounded bodies fill most scenes, as they fill most pictures of specimens.
KINDS: dict[Callable[[np.random.Generator], Outline], float] = {
    ellipse: 0.26,
    blob: 0.26,
    convex_polygon: 0.11,
    concave_polygon: 0.06,
    star: 0.05,
    rod: 0.1,
    ring: 0.05,
    crescent: 0.05,
    curve: 0.06,
}
