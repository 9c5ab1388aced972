"""Find pairs of methods that two scoring conventions put in a different order."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from bench.metrics.conventions import CONVENTIONS, LOWER_IS_BETTER

MeasureKey = tuple[str, str]  # convention, measure
Scores = Mapping[str, Mapping[MeasureKey, float | None]]  # by method


@dataclass(frozen=True)
class OrderChange:
    """Two methods that two conventions put in a different order.

    Attributes:
        measure: a measure that both conventions have.
        conventions: names of the two conventions.
        methods: the first convention prefers the first method, the second convention the second.
        leads: lead of the preferred method in each convention, above 0, in the unit of the measure.
    """

    measure: str
    conventions: tuple[str, str]
    methods: tuple[str, str]
    leads: tuple[float, float]


def find_order_changes(scores: Scores) -> list[OrderChange]:
    """Return every pair of methods that two conventions order differently by the same measure.

    Methods with equal scores have no order. The pairs are sorted by the smaller of their two leads,
    the largest first.

    Args:
        scores: method to the score of each convention and measure, as in `CONVENTIONS`; None, or
            left out, if it has none.

    Returns:
        The changes; a pair of methods is in as many as there are pairs of conventions and measures
        that disagree on it.
    """
    changes = []
    for measure, one, other in common_measures(scores):
        for pair in itertools.combinations(scores, 2):
            first, second = (_lead(scores, pair, (name, measure)) for name in (one, other))
            if first is not None and second is not None and first * second < 0:
                methods = pair if first > 0 else (pair[1], pair[0])
                leads = abs(first), abs(second)
                changes.append(OrderChange(measure, (one, other), methods, leads))
    return sorted(changes, key=lambda change: -min(change.leads))


def common_measures(scores: Scores) -> list[tuple[str, str, str]]:
    """Return the measures that two conventions have in common.

    Args:
        scores: method to the score of each convention and measure.

    Returns:
        Measure, first and second convention of each pair, sorted by measure, then in the order of
        `CONVENTIONS`. A measure counts even if all its scores are None.
    """
    order = [convention.name for convention in CONVENTIONS]
    columns = {column: None for by_column in scores.values() for column in by_column}
    ordered = sorted(columns, key=lambda column: order.index(column[0]))
    pairs = itertools.combinations(ordered, 2)
    common = [(measure, one, other) for (one, measure), (other, same) in pairs if measure == same]
    return sorted(common, key=lambda entry: entry[0])


def _lead(scores: Scores, pair: tuple[str, str], column: MeasureKey) -> float | None:
    """Lead of the first method over the second; None if one of them has no score."""
    first, second = (scores[method].get(column) for method in pair)
    if first is None or second is None:
        return None
    return second - first if column[1] in LOWER_IS_BETTER else first - second
