import pytest
from records import make_cell

from bench.errors import UserError
from bench.run.shard import shard_of

GRID = [make_cell(method, seed=seed) for method in ("lora", "full", "unet") for seed in range(7)]


@pytest.mark.parametrize("count", [1, 2, 3, 16, 40])
def test_all_shards_together_are_the_grid_and_share_no_cell(count: int) -> None:
    shards = [shard_of(GRID, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(cell.id for shard in shards for cell in shard) == sorted(cell.id for cell in GRID)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_shard_does_not_depend_on_the_order_of_the_grid() -> None:
    ids = {cell.id for cell in shard_of(GRID, "2/4")}
    assert {cell.id for cell in shard_of(GRID[::-1], "2/4")} == ids
    assert shard_of(GRID, "") == GRID


@pytest.mark.parametrize("text", ["17/16", "0/16", "3", "a/b", "1/0", "-1/4"])
def test_a_shard_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"--shard is {text}: give I/N"):
        shard_of(GRID, text)
