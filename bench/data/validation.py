"""Which images of the validation part are looked at during and after a training."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from bench.data.items import Item
from bench.data.stacks import stacks

VALIDATION_IMAGES = 24  # at most; enough for a curve, and to choose between trained models


def validation_stacks(items: Sequence[Item], depth: int = 1) -> list[tuple[Item, ...]]:
    """The stacks of a validation part that represent it: all, or some of every specimen.

    Where there are more than `VALIDATION_IMAGES` images, each specimen gives equally many, as far
    as it has them, at equal distances in its order: slices of a volume differ more when they are
    far apart. Where there are more specimens than that, they are chosen at equal distances, too.

    Args:
        items: of the validation part.
        depth: slices of a stack, as of `bench.data.stacks.stacks`.

    Returns:
        The stacks in the order of the items; single images where `depth` is 1.

    Raises:
        UserError: as `bench.data.stacks.stacks`.
    """
    everything = stacks(items, depth)
    most = max(1, VALIDATION_IMAGES // depth)
    by_group: dict[str, list[int]] = defaultdict(list)
    for place, stack in enumerate(everything):
        by_group[stack[0].group].append(place)
    groups = [list(by_group.values())[place] for place in _spread(len(by_group), most)]
    turns = sorted((turn, number) for number, one in enumerate(groups) for turn in range(len(one)))
    counts = Counter(number for _, number in turns[:most])
    chosen = (groups[n][place] for n in counts for place in _spread(len(groups[n]), counts[n]))
    return [everything[place] for place in sorted(chosen)]


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers from 0 to `count` - 1, at equal distances."""
    if count <= most:
        return list(range(count))
    return [int(place) for place in (np.arange(most) + 0.5) * count / most]
