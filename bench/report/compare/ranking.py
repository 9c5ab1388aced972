"""Mark the best rows of each column, and say of the others what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.report.records.columns import COLUMNS, DICE, Column
from bench.report.records.image_scores import Floats, ImageScores
from bench.report.records.rows import Row
from bench.stats.paired import (
    POWER,
    SIGNIFICANCE,
    detectable_difference,
    min_specimens,
    tied_with_best,
    typical_difference,
)
from bench.wording import counted

_NAMED = 4  # rows that a sentence names; more are counted
_STORED = "checkpoint_bytes"

# The best; not significantly different from it; significantly worse; too few specimens to test.
Mark = Literal["best", "tied", "worse", "untestable"]


@dataclass(frozen=True, eq=False)
class Block:
    """The rows of one prompt origin, which are ranked only among themselves.

    Attributes:
        prompts: the prompt origin.
        rows: best Dice first, rows without a Dice last.
        marks: (position in `rows`, `Column.key`) to a mark, for all of `COLUMNS`; entries without
            a mark are left out. Only columns with an `image_score` have other marks than "best".
        notes: sentences that explain the marks, and that name the rows without a rank of which a
            run was successful.
        ranked: positions of the rows that are ranked.
        verdict: one sentence on Dice, see `describe_ranking`; "" if there is nothing to say.
        within: position of each row whose Dice has the mark "tied" to the largest amount, in
            [0, 1], by which it may be below that of the best: the upper end of the interval of
            the signed-rank test, made together with those of all other rows.
        specimens: smallest number of test specimens on which two rows are compared in Dice; 0
            without a comparison.
        visible: difference in Dice from the best, in [0, 1], that is detected with a probability
            of `POWER` (median over the rows); None if differences are not tested.
    """

    prompts: str
    rows: tuple[Row, ...]
    marks: Mapping[tuple[int, str], Mark]
    notes: tuple[str, ...] = field(default=())
    ranked: tuple[int, ...] = field(default=())
    verdict: str = ""
    within: Mapping[int, float] = field(default_factory=dict)
    specimens: int = 0
    visible: float | None = None

    def measured(self, *columns: Column) -> list[Row]:
        """The ranked rows that have a value of all these columns, in their order."""
        ranked = (self.rows[place] for place in self.ranked)
        return [row for row in ranked if all(row.values[c.key].figure is not None for c in columns)]


def rank(prompts: str, rows: Sequence[Row], folds: set[int]) -> Block:
    """Sort the rows, and mark the best of every column.

    A row is ranked only if all its runs were successful and cover `folds`. Otherwise its mean would
    be over fewer runs or over other test images. A column has marks only if at least two ranked
    rows have different values and `hindrance` finds nothing. Equal best values are all marked;
    ties are tested only in columns with an `image_score`.

    Args:
        prompts: the prompt origin of the rows.
        rows: the rows of a block.
        folds: all folds of the table.

    Returns:
        The sorted rows with their marks and notes.
    """
    ordered = sorted(rows, key=lambda row: (-_dice(row), row.name))
    ranked = [p for p, row in enumerate(ordered) if row.complete and row.folds == folds]
    images = ImageScores([row.images for row in ordered])
    marks: dict[tuple[int, str], Mark] = {}
    titles_of: dict[str, list[str]] = {}  # note to the columns it holds for
    verdict, dice = "", _Judgement()
    for column in COLUMNS:
        measured = [p for p in ranked if ordered[p].values[column.key].figure is not None]
        judgement = _judge(column, ordered, measured, images)
        marks |= {(p, column.key): mark for p, mark in judgement.marks.items()}
        if judgement.note is not None:
            titles_of.setdefault(judgement.note, []).append(column.title)
        if column is DICE:
            dice = judgement
            verdict = describe_ranking(ordered, dice.marks, dice.within)
    notes = [f"{', '.join(titles)}: {note}" for note, titles in titles_of.items()]
    if dice.visible is not None:
        notes.append(
            f"A mean difference of {_amount(DICE, dice.visible)} from the best is detected with "
            f"{POWER:.0%} probability (median over the rows)."
        )
    skipped = [row for p, row in enumerate(ordered) if p not in ranked and row.succeeded]
    if skipped:
        names = ", ".join(row.name for row in skipped)
        notes.append(f"Not ranked because runs failed or folds are missing: {names}.")
    return Block(
        *(prompts, tuple(ordered), marks, tuple(notes), tuple(ranked), verdict),
        within=dice.within,
        specimens=dice.specimens,
        visible=dice.visible,
    )


def hindrance(column: Column, rows: Sequence[Row]) -> str | None:
    """Return a sentence that says why the values of a column are not ranked; None if they are.

    Args:
        column: its `comparable_within` names the conditions that must be the same for all
            successful runs.
        rows: the rows that would be ranked.

    Returns:
        The rest of a sentence after the title of the column, with a full stop.
    """
    if not column.comparable_within:
        return None
    settings = sorted({one for row in rows for one in row.settings(column.comparable_within)})
    if len(settings) < 2:
        return None
    return f"not ranked because it was measured under different conditions: {'; '.join(settings)}."


@dataclass(frozen=True)
class _Judgement:
    """Result for one column: marks by position, note on them, and of Dice the fields of `Block`."""

    marks: Mapping[int, Mark] = field(default_factory=dict)
    note: str | None = None
    specimens: int = 0
    visible: float | None = None
    within: Mapping[int, float] = field(default_factory=dict)


def _judge(
    column: Column, rows: Sequence[Row], measured: Sequence[int], images: ImageScores
) -> _Judgement:
    """Judge the rows at these positions; the images are those of all rows."""
    if len(measured) < 2:
        return _Judgement()
    if (note := hindrance(column, [rows[p] for p in measured])) is not None:
        return _Judgement(note=note)
    sign = 1 if column.better == "higher" else -1
    merits = {p: sign * (rows[p].values[column.key].figure or 0.0) for p in measured}
    top = max(merits.values())
    others = [p for p in measured if merits[p] != top]
    if not others:
        return _Judgement()
    marks: dict[int, Mark] = {p: "best" for p in measured if merits[p] == top}
    if column.image_score is None:
        return _Judgement(marks)
    raw = images.differences(next(iter(marks)), others, column.image_score)
    differences = [sign * values for values in raw]
    note, specimens = _test(differences), min(map(len, differences))
    if specimens < min_specimens(len(differences)):
        return _Judgement(marks | dict.fromkeys(others, "untestable"), note, specimens)
    ties = tied_with_best(differences)
    marks |= {p: "tied" if tie else "worse" for p, tie in zip(others, ties, strict=True)}
    if column is not DICE:
        return _Judgement(marks, note, specimens)
    within = {}
    for place, tie, values in zip(others, ties, differences, strict=True):
        _, interval = typical_difference(values, len(differences)) if tie else (0.0, None)
        if interval is not None:
            within[place] = max(interval[1], 0.0)
    return _Judgement(marks, note, specimens, detectable_difference(differences), within)


def _test(differences: Sequence[Floats]) -> str:
    """Describe the test behind the marks."""
    specimens, fewest = min(map(len, differences)), min_specimens(len(differences))
    tested = counted(specimens, "test specimen")
    comparisons = counted(len(differences), "comparison")
    if specimens < fewest:
        return (
            f"not testable (?): no difference can be significant with {tested} and {comparisons}; "
            f"at least {fewest} specimens are needed."
        )
    return (
        f"not distinguishable from the best (≈) or worse (↓) by Wilcoxon's signed-rank test on "
        f"{tested}, Holm-corrected for {comparisons}, {SIGNIFICANCE:.0%} level."
    )


def _amount(column: Column, difference: float) -> str:
    unit = "points" if column.unit == "%" else column.unit
    return f"{column.format(difference)} {unit} of {column.title}"


def _dice(row: Row) -> float:
    mean = row.values[DICE.key].figure
    return float("-inf") if mean is None else mean


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
