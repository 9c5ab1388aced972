"""Stacks of consecutive slices: what a method that sees in three dimensions is given at once."""

from collections.abc import Sequence
from itertools import groupby

from bench.data.items import Item
from bench.errors import UserError


def stacks(items: Sequence[Item], depth: int, step: int | None = None) -> list[tuple[Item, ...]]:
    """Runs of `depth` consecutive slices of one volume; each image alone where depth is 1.

    Args:
        items: slices lie as they are ordered.
        depth: slices of a stack.
        step: slices from one stack to the next; None for `depth`, so that stacks do not overlap.
            The last stack of a volume ends with it, so that none of its slices is left out.

    Raises:
        UserError: depth is above 1, and an image is no slice, or a volume has fewer slices.
    """
    if depth == 1:
        return [(item,) for item in items]
    found = []
    for volume, part in groupby(items, key=lambda item: item.volume):
        slices = tuple(part)
        if not volume:
            raise UserError(
                f"--depth {depth} takes slices of volumes, and '{slices[0].name}' is an image of "
                "its own: leave --depth out, or give a collection of volumes"
            )
        last = len(slices) - depth
        if last < 0:
            raise UserError(
                f"--depth {depth} is more than the {len(slices)} slices of volume '{volume}': "
                f"give {len(slices)} at most"
            )
        starts = [*range(0, last, step or depth), last]
        found += [slices[start : start + depth] for start in starts]
    return found
