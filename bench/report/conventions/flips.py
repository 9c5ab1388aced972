"""Where two ways of scoring put two methods in a different order."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from bench.metrics.conventions import CONVENTIONS, LOWER_IS_BETTER

MeasureKey = tuple[str, str]  # convention, measure
Scores = Mapping[str, Mapping[MeasureKey, float | None]]  # by method


@dataclass(frozen=True)
class Flip:
    """Two methods that two conventions put in a different order.

    Attributes:
        measure: what both conventions have.
        conventions: the two.
        methods: the two; the first convention prefers the first, the second the second.
        leads: by how much, each above 0, in the unit of the measure.
    """

    measure: str
    conventions: tuple[str, str]
    methods: tuple[str, str]
    leads: tuple[float, float]


def find_flips(scores: Scores) -> list[Flip]:
    """Every two methods that two conventions with a common measure order differently.

    Equal figures have no order. Sorted by the smaller of the two leads, the largest first.
    """
    flips = []
    for measure, one, other in common_measures(scores):
        for pair in itertools.combinations(scores, 2):
            first, second = (_lead(scores, pair, (name, measure)) for name in (one, other))
            if first is not None and second is not None and first * second < 0:
                methods = pair if first > 0 else (pair[1], pair[0])
                flips.append(Flip(measure, (one, other), methods, (abs(first), abs(second))))
    return sorted(flips, key=lambda flip: -min(flip.leads))


def common_measures(scores: Scores) -> list[tuple[str, str, str]]:
    """Measures that two conventions have in common: measure, convention, convention."""
    order = [convention.name for convention in CONVENTIONS]
    columns = {column: None for figures in scores.values() for column in figures}
    ordered = sorted(columns, key=lambda column: order.index(column[0]))
    pairs = itertools.combinations(ordered, 2)
    common = [(measure, one, other) for (one, measure), (other, same) in pairs if measure == same]
    return sorted(common, key=lambda entry: entry[0])


def _lead(scores: Scores, pair: tuple[str, str], column: MeasureKey) -> float | None:
    """By how much the first is better than the second; None where either has no figure."""
    first, second = (scores[method].get(column) for method in pair)
    if first is None or second is None:
        return None
    return second - first if column[1] in LOWER_IS_BETTER else first - second
