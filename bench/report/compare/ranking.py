"""Mark the best rows, and the rows that do not differ significantly from them."""

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
)
from bench.wording import counted

Mark = Literal["best", "tied"]


@dataclass(frozen=True, eq=False)
class Block:
    """The rows of one prompt origin, which are ranked only among themselves.

    Attributes:
        prompts: the prompt origin.
        rows: best Dice first, rows without a Dice last.
        marks: (position in `rows`, `Column.key`) to "best" or "tied", for all of `COLUMNS`;
            entries without a mark are left out.
        notes: sentences that explain the marks, and that name the rows without a rank of which a
            run was successful.
        ranked: positions of the rows that are ranked.
    """

    prompts: str
    rows: tuple[Row, ...]
    marks: Mapping[tuple[int, str], Mark]
    notes: tuple[str, ...] = field(default=())
    ranked: tuple[int, ...] = field(default=())

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
    visible = []
    for column in COLUMNS:
        measured = [p for p in ranked if ordered[p].values[column.key].figure is not None]
        judgement = _judge(column, ordered, measured, images)
        marks |= {(p, column.key): mark for p, mark in judgement.marks.items()}
        if judgement.note is not None:
            titles_of.setdefault(judgement.note, []).append(column.title)
        if judgement.visible is not None:
            visible.append(_amount(column, judgement.visible))
    notes = [f"{', '.join(titles)}: {note}" for note, titles in titles_of.items()]
    if visible:
        notes.append(
            f"Smallest mean difference from the best that is detected with {POWER:.0%} "
            f"probability (median over the rows): {', '.join(visible)}."
        )
    skipped = [row for p, row in enumerate(ordered) if p not in ranked and row.succeeded]
    if skipped:
        names = ", ".join(row.name for row in skipped)
        notes.append(f"Not ranked because runs failed or folds are missing: {names}.")
    return Block(prompts, tuple(ordered), marks, tuple(notes), tuple(ranked))


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
    """Result for one column: marks by position, note on ties, smallest detectable difference."""

    marks: Mapping[int, Mark] = field(default_factory=dict)
    note: str | None = None
    visible: float | None = None


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
    ties = zip(others, tied_with_best(differences), strict=True)
    marks |= {p: "tied" for p, tie in ties if tie}
    return _Judgement(marks, _test(differences), detectable_difference(differences))


def _test(differences: Sequence[Floats]) -> str:
    """Describe the test that marks the ties."""
    specimens, fewest = min(map(len, differences)), min_specimens(len(differences))
    tested = counted(specimens, "test specimen")
    comparisons = counted(len(differences), "comparison")
    if specimens < fewest:
        return (
            f"no difference can be significant with {tested} and {comparisons}, so all other rows "
            f"are marked as not significantly different from the best (≈); at least {fewest} "
            "specimens are needed."
        )
    return (
        f"≈ marks rows that do not differ significantly from the best (Wilcoxon signed-rank test "
        f"on {tested}, Holm-corrected for {comparisons}, {SIGNIFICANCE:.0%} level)."
    )


def _amount(column: Column, difference: float) -> str:
    unit = "points" if column.unit == "%" else column.unit
    return f"{column.title} {column.format(difference)} {unit}"


def _dice(row: Row) -> float:
    mean = row.values[DICE.key].figure
    return float("-inf") if mean is None else mean
