"""Show and write the differences of all rows of a table from one row."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from bench.report.compare.against import Difference, differences
from bench.report.compare.comparison import Comparison
from bench.report.compare.ranking import Block
from bench.report.records.columns import DICE
from bench.report.tables.delimited import to_csv

NOTE = (
    "Difference: typical difference (Hodges-Lehmann) over test specimens, with an interval that "
    "holds for all rows together (95 %). p: Wilcoxon's signed-rank test, without and with Holm's "
    "correction. tied: not significant; untestable: too few specimens."
)


def against_table(comparison: Comparison, blocks: Sequence[Block], name: str) -> Table:
    """Return the differences in Dice as a table of the library rich.

    Args:
        comparison: of the blocks.
        blocks: from `find_references`.
        name: of the row with which the others are compared.
    """
    table = Table(
        title=Text(f"{comparison.title}; Dice against {name}", style="bold"),
        title_justify="left",
        caption=Text(NOTE),
        caption_justify="left",
        caption_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("Method", overflow="fold")
    for header in (
        "Difference\n(points)",
        "95 % interval\n(points)",
        "p",
        "p\n(Holm)",
        "Specimens",
    ):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("Result")
    for block in blocks:
        if len(comparison.blocks) > 1:
            table.add_row(Text(f"prompts: {block.prompts}", style="italic"))
        ones = differences(block, [DICE], name)
        alike = len({one.row.label for one in ones}) < len(ones)
        for one in ones:
            table.add_row(Text(one.row.name if alike else one.row.label), *map(Text, _texts(one)))
    return table


def against_csv(comparison: Comparison, blocks: Sequence[Block], name: str) -> str:
    """Return the differences in all tested scores as CSV, not rounded, in the units of records."""
    found = [
        (block, one) for block in blocks for one in differences(block, comparison.columns, name)
    ]
    ones = [one for _, one in found]
    return to_csv(
        {
            "score": [one.column.key for one in ones],
            "label": [one.row.label for one in ones],
            "backbone": [one.row.backbone for one in ones],
            "weights": [one.row.weights for one in ones],
            "prompts": [block.prompts for block, _ in found],
            "against": [name for _ in ones],
            "specimens": [one.specimens for one in ones],
            "difference": [one.typical for one in ones],
            "low": [one.interval and one.interval[0] for one in ones],
            "high": [one.interval and one.interval[1] for one in ones],
            "p": [one.p for one in ones],
            "p_holm": [one.p_corrected for one in ones],
            "result": [one.result for one in ones],
        }
    )


def p_text(p: float | None) -> str:
    """A p-value with three decimals, or "<0.001"; a dash if there is none."""
    return "—" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _texts(one: Difference) -> list[str]:
    points = [100 * value for value in (one.typical, *(one.interval or ()))]
    interval = f"{points[1]:+.1f} to {points[2]:+.1f}" if one.interval else "—"
    return [
        f"{points[0]:+.1f}",
        interval,
        p_text(one.p),
        p_text(one.p_corrected),
        str(one.specimens),
        one.result,
    ]
