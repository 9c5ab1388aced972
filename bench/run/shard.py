"""Divide a grid among machines that share nothing but the command."""

import re
from collections.abc import Sequence

from bench.errors import UserError
from bench.spec import Cell


def shard_of(cells: Sequence[Cell], text: str) -> list[Cell]:
    """The cells of one shard, in their order.

    Cells are dealt out in the order of the hashes at the end of their ids, so each shard has a
    mixture of methods and its size differs by 1 at most. The shards 1/N to N/N of one grid are
    disjoint and hold all its cells.

    Args:
        cells: the grid, the same for all shards.
        text: as "3/16", the third of 16 shards; "" for the whole grid.

    Raises:
        UserError: it is not a number from 1 to N, a slash, and N.
    """
    if not text:
        return list(cells)
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard is {text}: give I/N with I from 1 to N, as 3/16")
    number, count = int(match[1]), int(match[2])
    ids = sorted((cell.id for cell in cells), key=lambda name: name.rpartition("_")[2])
    chosen = set(ids[number - 1 :: count])
    return [cell for cell in cells if cell.id in chosen]
