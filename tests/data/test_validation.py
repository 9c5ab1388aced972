"""The images that stand for a validation part come from every specimen."""

from collections import Counter

import numpy as np
import pytest

from bench.data.items import Item
from bench.data.validation import VALIDATION_IMAGES, validation_stacks


def part(*sizes: int) -> list[Item]:
    """Items of as many specimens as there are sizes, one specimen after the other."""
    blank = np.zeros((4, 4), np.uint8)
    return [
        Item(f"{group:02}_{number:03}", blank, blank, f"v{group}", volume=f"v{group}")
        for group, size in enumerate(sizes)
        for number in range(size)
    ]


def groups(items: list[Item], depth: int = 1) -> dict[str, int]:
    return Counter(stack[0].group for stack in validation_stacks(items, depth))


def test_a_small_part_is_used_as_it_is() -> None:
    items = part(20, 4)
    assert validation_stacks(items) == [(item,) for item in items]
    assert validation_stacks([]) == []


def test_every_specimen_gives_equally_many() -> None:
    assert groups(part(150, 30, 100, 2)) == {"v0": 8, "v1": 7, "v2": 7, "v3": 2}
    assert sum(groups(part(*[1] * 60)).values()) == VALIDATION_IMAGES
    assert sum(groups(part(90, 90), depth=8).values()) == VALIDATION_IMAGES // 8
    assert groups(part(90, 90), depth=30) == {"v1": 1}


def test_they_are_spread_over_the_specimen_in_their_order() -> None:
    names = [item.name for (item,) in validation_stacks(part(240))]
    assert names == [f"00_{number:03}" for number in range(5, 240, 10)]


@pytest.mark.parametrize("sizes", [(500,), (150, 300), (30,) * 8, (1,) * 40])
def test_it_is_a_selection(sizes: tuple[int, ...]) -> None:
    items = part(*sizes)
    chosen = [item.name for (item,) in validation_stacks(items)]
    assert len(chosen) == len(set(chosen)) == VALIDATION_IMAGES
    assert chosen == sorted(chosen)
