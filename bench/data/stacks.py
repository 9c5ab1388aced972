"""Stacks of consecutive slices, the input of methods that work in three dimensions."""

from collections.abc import Sequence
from itertools import groupby

from bench.data.items import Item
from bench.errors import UserError


def stacks(items: Sequence[Item], depth: int, step: int | None = None) -> list[tuple[Item, ...]]:
    """Stacks of `depth` consecutive slices of one volume; single images where `depth` is 1.

    Args:
        items: images; the slices of a volume one after the other, in their order.
        depth: slices of a stack.
        step: slices from one stack to the next; None: `depth`, without overlap. The last stack of
            a volume ends with the volume and may overlap the one before, so that no slice is left
            out (unless `step` is above `depth`).

    Raises:
        UserError: `depth` is above 1 and an image is not a slice, or a volume has fewer slices.
    """
    if depth == 1:
        return [(item,) for item in items]
    result: list[tuple[Item, ...]] = []
    for volume, part in groupby(items, key=lambda item: item.volume):
        slices = tuple(part)
        if not volume:
            raise UserError(
                f"--depth {depth} needs slices of volumes, but '{slices[0].name}' is a single "
                "image: leave --depth out, or use a collection of volumes"
            )
        if len(slices) < depth:
            raise UserError(
                f"--depth {depth} is more than the {len(slices)} slices of volume '{volume}': "
                f"use {len(slices)} at most"
            )
        starts = stack_starts(len(slices), depth, step)
        result += [slices[start : start + depth] for start in starts]
    return result


def stack_starts(count: int, depth: int, step: int | None = None) -> list[int]:
    """Number of the first slice, from 0, of each stack of a volume.

    Args:
        count: slices of the volume, at least `depth`.
        depth: slices of a stack.
        step: as in `stacks`.
    """
    last = count - depth
    return [*range(0, last, step or depth), last]
