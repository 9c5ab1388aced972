"""Every two methods of a comparison, side by side, as `report --against` compares them."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from bench.report.compare.against import Difference, all_differences
from bench.report.compare.comparison import Comparison
from bench.report.records.columns import DICE
from bench.report.records.rows import Row
from bench.report.tables.against import p_text

PAIRED = 40  # rows of a block that are compared with each other, best Dice first

Pairs = Mapping[str, Mapping[tuple[Row, Row], Difference]]


def find_pairs(comparison: Comparison) -> Pairs:
    """Return the differences of the first `PAIRED` ranked rows of each origin from each other.

    Returns:
        `Column.key` of each tested column to the differences by reference and other row.
    """
    pairs: dict[str, dict[tuple[Row, Row], Difference]] = defaultdict(dict)
    for block in comparison.blocks:
        for reference, one in all_differences(block, comparison.columns, PAIRED):
            pairs[one.column.key][reference, one.row] = one
    return pairs


def pairs_of(comparison: Comparison, pairs: Pairs) -> dict[str, list[list[Any]]]:
    """The differences as values for JSON.

    Returns:
        `Column.key` to one list for each pair: positions of reference and other row, the texts of
        difference, interval (a dash if there is none) and corrected p-value, and the result.
    """
    places = {row: place for place, row in enumerate(comparison.rows)}
    return {
        key: [
            [places[reference], places[row], *_texts(one)]
            for (reference, row), one in differences.items()
        ]
        for key, differences in pairs.items()
    }


def results_of(comparison: Comparison, pairs: Pairs) -> dict[int, dict[int, list[Any]]]:
    """What is known of the Dice of every two rows, by position of reference and other row.

    Returns:
        The result, and the largest number of points by which the other row may be below the
        reference, None if that is not known.
    """
    places = {row: place for place, row in enumerate(comparison.rows)}
    results: dict[int, dict[int, list[Any]]] = defaultdict(dict)
    for (reference, row), one in pairs.get(DICE.key, {}).items():
        results[places[reference]][places[row]] = [one.result, _below(one)]
    return results


def _below(one: Difference) -> float | None:
    if one.interval is None:
        return None
    return round(max(-one.interval[0], 0.0) * DICE.scale, 2)


def _texts(one: Difference) -> list[str]:
    column = one.column
    signed = [_signed(column.format(value)) for value in (one.typical, *(one.interval or ()))]
    interval = f"{signed[1]} to {signed[2]}" if one.interval else "—"
    return [signed[0], interval, p_text(one.p_corrected), one.result]


def _signed(text: str) -> str:
    """A difference with its sign, also where it is rounded to 0."""
    return text if text.startswith(("-", "—")) else f"+{text}"
