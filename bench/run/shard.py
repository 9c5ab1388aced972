"""Divide a grid among machines that share nothing but the command."""

from collections.abc import Sequence

from bench.errors import UserError, read_number, shorten
from bench.spec import Cell


def read_shard(text: str) -> tuple[int, int]:
    """Number and count of a shard as "3/16".

    Raises:
        UserError: it is not a number from 1 to N, a slash, and N.
    """
    number, _, count = text.partition("/")
    try:
        shard = int(read_number("shard", number)), int(read_number("shard", count))
    except UserError:
        shard = 1, 0
    if shard[0] > shard[1]:
        raise UserError(
            f"--shard is {shorten(text) or repr('')}: give I/N with I from 1 to N, as 3/16"
        )
    return shard


def shard_of(cells: Sequence[Cell], text: str) -> list[Cell]:
    """The cells of one shard, in their order.

    Cells are dealt out in the order of the hashes at the end of their ids, so each shard has a
    mixture of methods and its size differs by 1 at most. The shards 1/N to N/N of one grid are
    disjoint and hold all its cells.

    Args:
        cells: the grid, the same for all shards.
        text: as "3/16", the third of 16 shards; "" for the whole grid.

    Raises:
        UserError: as `read_shard`.
    """
    if not text:
        return list(cells)
    number, count = read_shard(text)
    ids = sorted((cell.id for cell in cells), key=shard_order)
    chosen = set(ids[number - 1 :: count])
    return [cell for cell in cells if cell.id in chosen]


def shard_order(cell_id: str) -> str:
    """By what the cells of a grid are sorted before they are dealt out."""
    return cell_id.rpartition("_")[2]
