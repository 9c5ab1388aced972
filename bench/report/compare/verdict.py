"""Say in one sentence what the ranking of a table shows, and which row to prefer."""

from collections.abc import Mapping, Sequence

from bench.report.records.columns import DICE
from bench.report.records.rows import Row
from bench.wording import counted

_NAMED = 4  # rows that a sentence names; more are counted
_STORED = "checkpoint_bytes"


def describe_ranking(
    rows: Sequence[Row], marks: Mapping[int, str], within: Mapping[int, float]
) -> str:
    """Return what is known of the Dice of the rows, as one sentence.

    Args:
        rows: the rows of a block, best Dice first.
        marks: position in `rows` to the mark of Dice, for the rows that are ranked; see `Mark`.
        within: of the rows with the mark "tied" and the best one, the largest amount by which its
            Dice may be below the best, in [0, 1]; see `Block.within`.

    Returns:
        The sentence; "" if there are not two different values.
    """
    by_mark = {
        mark: [rows[place] for place, other in sorted(marks.items()) if other == mark]
        for mark in ("best", "tied", "worse", "untestable")
    }
    best, others = by_mark["best"], sum(map(len, by_mark.values())) - len(by_mark["best"])
    if not best or not others:
        return ""
    if by_mark["untestable"]:
        ahead = best[0].values[DICE.key].figure or 0.0
        second = max(row.values[DICE.key].figure or 0.0 for row in by_mark["untestable"])
        return (
            f"{_named(best)} {_has(best)} the highest Dice, by {_points(ahead - second)}, but there"
            " are too few test specimens to test differences: the order can be chance."
        )
    first, worse = best + by_mark["tied"], by_mark["worse"]
    if len(first) == 1:
        return f"{best[0].label} has the highest Dice, significantly above all other rows."
    bound = f" within {_points(max(within.values()))} of Dice" if within else " in Dice"
    parts = [f"{_named(first)} are equal{bound}"]
    if worse:
        parts.append(f"{_named(worse)} {'is' if len(worse) == 1 else 'are'} worse")
    return "; ".join([*parts, *_smallest(best[0], first)]) + "."


def _smallest(best: Row, rows: Sequence[Row]) -> list[str]:
    """What the smallest checkpoint saves against the best row; nothing if it is unknown or 0."""
    sizes = {row: row.values[_STORED].figure for row in rows}
    known = {row: size for row, size in sizes.items() if size}
    if len(known) < len(rows):
        return []
    smallest = min(known, key=lambda row: known[row])
    saved = 1 - known[smallest] / known[best]
    if smallest is best:
        return [f"{best.label} stores the least of these"]
    return [f"{smallest.label} stores {saved:.0%} less than {best.label}"] if saved > 0.005 else []


def _named(rows: Sequence[Row]) -> str:
    labels = [row.label for row in rows]
    if len({row.label for row in rows}) < len(rows):
        labels = [row.name for row in rows]
    if len(labels) > _NAMED:
        rest = len(labels) - _NAMED + 1
        labels = [*labels[: _NAMED - 1], counted(rest, "other")]
    return " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))


def _has(rows: Sequence[Row]) -> str:
    return "has" if len(rows) == 1 else "have"


def _points(dice: float) -> str:
    return f"{100 * dice:.1f} points" if dice >= 0.0005 else "less than 0.1 points"
