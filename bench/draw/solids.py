"""Solids in a volume: slightly bent ellipsoids and tubes, with partial volume at their surface.

Lengths are in mm. A volume is a grid (D, H, W) from feet to head, front to back, right to left. Its
coordinates are x to the left, y to the back and z to the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.draw import exact, texture

Grid = npt.NDArray[np.float32]  # (D, H, W)
Level = float | npt.NDArray[np.floating[Any]]  # grey level: one value, or (d, h, w)
Point = tuple[float, float, float]  # mm to the left, back and head
Place = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Solid:
    """A body: the part of the volume that contains it, and the distance from its surface.

    Attributes:
        place: slices of the volume that contain the body.
        away: distance (d, h, w) in mm from the surface, negative inside the body.
    """

    place: Place
    away: Grid

    def shrunk(self, depth: float | Grid) -> "Solid":
        """Return the part that is more than `depth` mm below the surface.

        A negative `depth` gives a larger body.
        """
        return Solid(self.place, self.away + depth)

    def within(self, away: Grid) -> "Solid":
        """Return the part inside another body.

        Args:
            away: distance (D, H, W) in mm from the surface of the other body, negative inside it.
        """
        return Solid(self.place, np.maximum(self.away, away[self.place]))


class Volume:
    """A volume while it is drawn: grey levels and class labels.

    x = y = 0 is near the centre of each slice. Coordinates, radii and distances of bodies are in mm
    before they are multiplied by `scale`.

    Args:
        rng: source of randomness.
        shape: number of slices, height and width in voxels, each at least 2.
        spacing: distance between slices, height and width of a pixel, in mm.
        lowest: z of the first slice in mm.
        scale: factor of the size of the drawn bodies and of the coordinates of their places.
        turn: rotation about the long axis, in radians.
        outside: grey level of the empty volume.

    Attributes:
        levels: grey levels (D, H, W) float32.
        labels: class indices (D, H, W) uint8, 0 at first.
        bent: coordinates x, y, z of each voxel in mm, turned, and bent at random, so that every
            volume has another shape.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int, int],
        spacing: Point,
        *,
        lowest: float = 0.0,
        scale: float = 1.0,
        turn: float = 0.0,
        outside: float = 0.0,
    ) -> None:
        self.rng, self.shape, self.spacing = rng, shape, spacing
        self.levels = np.full(shape, outside, np.float32)
        self.labels = np.zeros(shape, np.uint8)
        middle = np.array([0, shape[1] / 2 + rng.normal(0, 3), shape[2] / 2 + rng.normal(0, 3)])
        start = np.array([lowest, 0, 0]) - middle * spacing
        self.axes = [
            ((first + step * np.arange(count)) / scale).astype(np.float32)
            for first, step, count in zip(start, spacing, shape, strict=True)
        ]
        z, y, x = np.ix_(*self.axes)
        c, s = float(exact.cos(turn)), float(exact.sin(turn))
        bends = [reach * self.field(90) + 2 * self.field(22) for reach in (8, 6, 12)]
        self.bent = c * x + s * y + bends[0], c * y - s * x + bends[1], z + bends[2]

    def field(self, cell: float) -> Grid:
        """Return smooth noise (D, H, W) with features about `cell` mm wide.

        Its standard deviation is about 0.5.
        """
        counts = [int(np.ptp(axis) / cell) + 2 for axis in self.axes]
        nodes = self.rng.standard_normal(counts, dtype=np.float32) * np.float32(0.6)
        at = np.linspace(0, counts[0] - 1.001, self.shape[0], dtype=np.float32)
        below = at.astype(int)
        part = (at - below)[:, None, None]
        layers = nodes[below] * (1 - part) + nodes[below + 1] * part
        return np.stack([texture.resize(layer, self.shape[1:]) for layer in layers])

    def box(self, low: Sequence[float], high: Sequence[float]) -> Place:
        """Return the slices of the volume from one corner to another, with a margin of 18 mm.

        The margin is needed because coordinates are bent. The slices are clipped to the volume, but
        have at least two voxels along each axis, even for a box outside the volume.

        Args:
            low: x, y and z of the lower corner in mm.
            high: x, y and z of the upper corner in mm.
        """
        ends = []
        for axis, first, last in zip(self.axes, low[::-1], high[::-1], strict=True):
            step = float(axis[1] - axis[0])
            start = int(np.floor((first - 18 - axis[0]) / step))
            stop = int(np.ceil((last + 18 - axis[0]) / step)) + 1
            start = min(max(start, 0), len(axis) - 2)  # at least two voxels: gradients need them
            ends.append(slice(start, max(min(stop, len(axis)), start + 2)))
        return ends[0], ends[1], ends[2]

    def ellipsoid(self, centre: Point, radii: Point, lean: float = 0.0) -> Solid:
        """Return an ellipsoid; with a `lean` above 0 its lower end is shifted to the left.

        The distance from its surface is approximate.

        Args:
            centre: x, y and z in mm.
            radii: along x, y and z in mm.
            lean: shift to the left in mm for each mm below the centre; 0 for no shift.
        """
        reach = (radii[0] + abs(lean) * radii[2], radii[1], radii[2])
        place = self.box(np.subtract(centre, reach).tolist(), np.add(centre, reach).tolist())
        x, y, z = (a[place] - float(at) for a, at in zip(self.bent, centre, strict=True))
        along = ((x + lean * z) / radii[0], y / radii[1], z / radii[2])
        rho = np.sqrt(sum(a * a for a in along)) + 1e-6
        steep = np.sqrt(sum((a / r) ** 2 for a, r in zip(along, radii, strict=True))) + 1e-6
        return Solid(place, np.asarray(rho * (rho - 1) / steep, np.float32))

    def tube(self, points: Sequence[Point], radii: Sequence[float]) -> Solid:
        """Return a tube through `points` whose radius in mm changes linearly between them.

        Args:
            points: two or more, x, y and z in mm; neighbours differ.
            radii: one for each point.
        """
        course = np.column_stack([points, radii])
        low, high = (course[:, :3].T + side * course[:, 3] for side in (-1, 1))
        place = self.box(low.min(1).tolist(), high.max(1).tolist())
        x, y, z = (axis[place] for axis in self.bent)
        away = np.full(x.shape, np.inf, np.float32)
        for (x0, y0, z0, radius), step in zip(course, np.diff(course, axis=0), strict=False):
            dx, dy, dz, wider = step.tolist()
            px, py, pz = x - float(x0), y - float(y0), z - float(z0)
            t = (px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz)
            t = np.clip(t, 0, 1)
            apart = np.sqrt((px - t * dx) ** 2 + (py - t * dy) ** 2 + (pz - t * dz) ** 2)
            np.minimum(away, apart - float(radius) - t * wider, out=away)
        return Solid(place, away)

    def everywhere(self, away: Grid) -> Solid:
        """Return a solid from the distance `away` (D, H, W) in mm for the whole volume."""
        return Solid((slice(None), slice(None), slice(None)), away)

    def distance(self, *solids: Solid) -> Grid:
        """Return the distance (D, H, W) in mm to the nearest of some solids, at most 99 mm.

        It is negative inside a solid, and 99 mm outside the places of all solids.
        """
        away = np.full(self.shape, 99, np.float32)
        for solid in solids:
            np.minimum(away[solid.place], solid.away, out=away[solid.place])
        return away

    def paint(
        self, solid: Solid, level: Level, label: int | None = 0, only: int | None = None
    ) -> None:
        """Draw a solid over the present contents of the volume.

        Args:
            solid: the body. A voxel that is cut by its surface gets a mixture of the two grey
                levels.
            level: grey level, one for all voxels or (d, h, w) of the place of the solid.
            label: class index, set where a voxel is covered by more than half; None does not
                change the classes.
            only: draw only on voxels that now have this class; None draws on all.
        """
        place, away = solid.place, solid.away
        thickness, height, _ = self.spacing
        smear = np.minimum(np.abs(np.gradient(away, axis=0)), thickness) + height
        cover = np.clip(0.5 - away / smear, 0, 1)
        if only is not None:
            cover *= self.labels[place] == only
        self.levels[place] += cover * (level - self.levels[place])
        if label is not None:
            self.labels[place][cover > 0.5] = label
