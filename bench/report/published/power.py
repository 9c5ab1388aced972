"""The ledger of the suite `reference`: what the tables of each dataset can tell apart."""

from collections.abc import Mapping, Sequence

from bench.ask.reference import TITLE
from bench.report.compare.comparison import make_comparisons
from bench.report.compare.ranking import Block
from bench.report.records.columns import DICE, MISSING
from bench.report.records.frame import to_frame
from bench.report.tables.markdown import markdown_code, markdown_table
from bench.spec import Cell, Record
from bench.stats.paired import POWER, SIGNIFICANCE
from bench.wording import plain_markdown

_NOTE = (
    "Specimens: of the test images on which a row is compared with the one of the highest Dice."
    f" Difference: in Dice, in points, detected with a probability of {POWER:.0%} (median over the"
    f" rows) by Wilcoxon's signed-rank test, Holm-corrected, {SIGNIFICANCE:.0%} level; none if"
    " there are too few specimens to test. Equal: rows that are not distinguishable from the best."
    " Rows with prompts from the ground truth are compared only among themselves."
)
_TITLES = ["table", "prompts", "rows", "specimens", "difference", "best", "equal", "worse"]


def power_markdown(cells: Sequence[Cell], records: Mapping[str, Record]) -> str:
    """One table with a line for each origin of prompts of each comparison, and how to read it.

    Args:
        cells: result of `bench.ask.reference.expand_reference`.
        records: the records by the id of their cell.
    """
    found = [records[cell.id] for cell in cells if cell.id in records]
    comparisons = make_comparisons(to_frame(found)) if found else []
    lines = [
        [plain_markdown(comparison.title), block.prompts, *_line(block)]
        for comparison in comparisons
        for block in comparison.blocks
        if block.specimens
    ]
    table = markdown_table(_TITLES, lines, ["left", "left", *["right"] * 3, "left", *["right"] * 2])
    progress = f"{len(found)} of {len(cells)} runs have a record."
    return "\n\n".join([f"# {TITLE}", progress, table, _NOTE]) + "\n"


def _line(block: Block) -> list[str]:
    marks = [block.marks.get((place, DICE.key)) for place in range(len(block.rows))]
    difference = MISSING if block.visible is None else f"{100 * block.visible:.1f}"
    tested = "untestable" not in marks
    counts = [str(marks.count(mark)) if tested else MISSING for mark in ("tied", "worse")]
    best = markdown_code(block.rows[marks.index("best")].label)
    return [str(len(block.ranked)), str(block.specimens), difference, best, *counts]
