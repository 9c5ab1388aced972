"""Compare every row of a table with one row: differences, intervals and p-values."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from bench.errors import no_such
from bench.report.compare.comparison import Comparison
from bench.report.compare.ranking import Block
from bench.report.records.columns import Column
from bench.report.records.image_scores import ImageScores
from bench.report.records.rows import Row
from bench.stats.paired import (
    SIGNIFICANCE,
    holm,
    min_specimens,
    signed_rank,
    typical_difference,
)


@dataclass(frozen=True, eq=False)
class Difference:
    """The difference of a row from the reference in one score.

    Attributes:
        row: the other row.
        column: the column of the score.
        specimens: number of specimens that both rows have a score of.
        typical: Hodges-Lehmann estimate of row - reference over specimens, in the unit of records.
        interval: its ends, of all rows of the block together (95 %); None with too few specimens.
        p: two-sided p-value of the signed-rank test; None with too few specimens.
        p_corrected: by Holm's method, for all rows of the block; None likewise.
    """

    row: Row
    column: Column
    specimens: int
    typical: float
    interval: tuple[float, float] | None
    p: float | None
    p_corrected: float | None

    @property
    def result(self) -> str:
        """Whether the row is "better", "worse", "tied" (not significant) or "untestable"."""
        if self.p_corrected is None:
            return "untestable"
        if self.p_corrected > SIGNIFICANCE or not self.typical:
            return "tied"
        return "better" if (self.typical > 0) == (self.column.better == "higher") else "worse"


def find_references(comparisons: Sequence[Comparison], name: str) -> dict[Comparison, list[Block]]:
    """Return the comparisons with blocks in which a ranked row has this label.

    Args:
        comparisons: of a report.
        name: a label such as "lora[rank=8]", or the full name of a row with backbone and weights.

    Raises:
        UserError: no ranked row has this name.
    """
    blocks = {
        one: [block for block in one.blocks if find_row(block, name) is not None]
        for one in comparisons
    }
    labels = {
        block.rows[place].label for one in blocks for block in one.blocks for place in block.ranked
    }
    if not any(blocks.values()):
        raise no_such("ranked row", name, sorted(labels))
    return {one: found for one, found in blocks.items() if found}


def differences(block: Block, columns: Sequence[Column], name: str) -> list[Difference]:
    """Return the differences of the other ranked rows from the row of this name, best Dice first.

    Args:
        block: as from `find_references`.
        columns: those with an `image_score` are tested, each by itself.
        name: as for `find_references`; of several rows with this label, the best one.
    """
    place = find_row(block, name)
    if place is None:
        return []
    images = ImageScores([row.images for row in block.rows])
    return [
        one
        for column in columns
        if column.image_score is not None
        for one in _of_column(block, column, place, images)
    ]


def all_differences(
    block: Block, columns: Sequence[Column], most: int
) -> Iterator[tuple[Row, Difference]]:
    """Yield the differences of the best ranked rows from each other, as `differences` does.

    Args:
        block: rows with one prompt origin.
        columns: those with an `image_score` are tested, each by itself.
        most: number of ranked rows, best Dice first, that are compared with each other. Intervals
            and corrected p-values hold for all rows of the block.

    Yields:
        The reference, and the difference of another row from it.
    """
    images = ImageScores([row.images for row in block.rows])
    shown = set(block.ranked[:most])
    for column in columns:
        if column.image_score is not None:
            for place in block.ranked[:most]:
                for one in _of_column(block, column, place, images, shown):
                    yield block.rows[place], one


def _of_column(
    block: Block,
    column: Column,
    reference: int,
    images: ImageScores,
    shown: Container[int] | None = None,
) -> Iterator[Difference]:
    """Yield the differences of the rows at the places `shown`, None for all; all are tested."""
    assert column.image_score is not None
    measured = [p for p in block.ranked if block.rows[p].values[column.key].figure is not None]
    others = [place for place in measured if place != reference]
    raw = [-values for values in images.differences(reference, others, column.image_score)]
    kept = [(p, values) for p, values in zip(others, raw, strict=True) if values.size]
    if reference not in measured or not kept:
        return
    enough = min(values.size for _, values in kept) >= min_specimens(len(kept))
    single = signed_rank([values for _, values in kept]) if enough else [None] * len(kept)
    corrected = holm([p for p in single if p is not None]) if enough else [None] * len(kept)
    for (place, values), p, p_corrected in zip(kept, single, corrected, strict=True):
        if shown is None or place in shown:
            typical, interval = typical_difference(values, len(kept))
            row = block.rows[place]
            yield Difference(row, column, values.size, typical, interval, p, p_corrected)


def find_row(block: Block, name: str) -> int | None:
    """Position of the ranked row with this label or full name; the first of several."""
    named = (p for p in block.ranked if name in (block.rows[p].label, block.rows[p].name))
    return next(named, None)
