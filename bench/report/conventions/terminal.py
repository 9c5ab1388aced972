"""Show the scores of several conventions as tables in the terminal."""

import math
from collections import defaultdict
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from bench.metrics.conventions import CONVENTIONS, LOWER_IS_BETTER
from bench.report.conventions.order_changes import MeasureKey, OrderChange, common_measures
from bench.report.conventions.scores import ScoredBlock, ScoredComparison

# Title, factor, decimals
_MEASURES = {
    "dice": ("Dice (%)", 100, 1),
    "iou": ("IoU (%)", 100, 1),
    "hd95_px": ("HD95 (px)", 1, 1),
    "ber": ("BER (%)", 1, 1),
    "s_alpha": ("S-measure (%)", 100, 1),
    "e_phi_mean": ("E-measure, mean (%)", 100, 1),
    "mae": ("MAE (%)", 100, 2),
}


def conventions_tables(comparisons: Sequence[ScoredComparison]) -> list[Table]:
    """Return the tables of each comparison: one for each measure, then one of order changes.

    Measures that only one convention has are in one common table before that of order changes, and
    measures without any score in none. The notes are the caption of the last table of a comparison.
    """
    tables = []
    for one in comparisons:
        alone = []
        for measure, (title, *_) in _MEASURES.items():
            columns = _columns(one, measure)
            if len(columns) > 1:
                tables.append(_scores(one, f"{title} by convention", columns))
            else:
                alone += columns
        if alone:
            tables.append(_scores(one, "Measures of one convention", alone))
        tables.append(_order_changes(one))
    return tables


def _scores(comparison: ScoredComparison, title: str, columns: Sequence[MeasureKey]) -> Table:
    """A table of methods by conventions; every score with its rank within the block."""
    table = _empty(f"{title}: {comparison.title}")
    table.add_column("Method", overflow="fold", max_width=30)
    several = len({measure for _, measure in columns}) > 1
    for convention, measure in columns:
        header = convention.replace(" ", "\n", 1)
        if several:
            header += "\n" + _MEASURES[measure][0].replace(" ", "\n", 1)
        table.add_column(header, justify="right", no_wrap=True)
    for block in comparison.blocks:
        if len(comparison.blocks) > 1:
            table.add_row(Text(f"prompts: {block.prompts}", style="italic"))
        ranks = {column: _ranks(block, column) for column in columns}
        first = ranks[columns[0]]
        for method in sorted(block.scores, key=lambda name: first.get(name, len(first) + 1)):
            texts = [_cell(block, method, column, ranks[column]) for column in columns]
            table.add_row(Text(method), *texts)
        table.add_section()
    table.caption = Text("Rank among the methods in brackets.")
    return table


def _order_changes(comparison: ScoredComparison) -> Table:
    """A table with the number of pairs that change order between two conventions."""
    table = _empty(f"Where the order of methods changes: {comparison.title}")
    for title in ("Measure", "Conventions"):
        table.add_column(title, no_wrap=True)
    table.add_column("Pairs", justify="right", no_wrap=True)
    table.add_column("Clearest change", overflow="fold")
    for block in comparison.blocks:
        changes: dict[tuple[str, tuple[str, str]], list[OrderChange]] = defaultdict(list)
        for change in block.order_changes:
            changes[change.measure, change.conventions].append(change)
        compared = common_measures(block.scores)
        table.add_row(
            Text(f"prompts: {block.prompts}", style="italic"),
            Text(f"order changes in {len(changes)} of {len(compared)} comparisons", style="italic"),
        )
        pairs = math.comb(len(block.scores), 2)
        for (measure, names), group in sorted(changes.items(), key=lambda one: -len(one[1])):
            texts = [
                *(_MEASURES[measure][0], " | ".join(names), f"{len(group)}/{pairs}"),
                _describe(group[0]),
            ]
            table.add_row(*map(Text, texts))
        table.add_section()
    table.caption = Text("\n".join(comparison.notes))
    return table


def _describe(change: OrderChange) -> str:
    leads = [_figure(change.measure, lead) for lead in change.leads]
    one, other = change.methods
    return f"{one} leads {other} by {leads[0]}, then trails by {leads[1]}"


def _empty(title: str) -> Table:
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        caption_justify="left",
        caption_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )


def _columns(comparison: ScoredComparison, measure: str) -> list[MeasureKey]:
    """The conventions that have a score for at least one method."""
    return [
        column
        for convention in CONVENTIONS
        if any(
            figures.get(column := (convention.name, measure)) is not None
            for block in comparison.blocks
            for figures in block.scores.values()
        )
    ]


def _ranks(block: ScoredBlock, column: MeasureKey) -> dict[str, int]:
    """Rank of each method that has a score, 1 for the best; equal scores have equal ranks."""
    sign = 1 if column[1] in LOWER_IS_BETTER else -1
    merits = {
        method: sign * value
        for method, figures in block.scores.items()
        if (value := figures.get(column)) is not None
    }
    return {
        method: 1 + sum(other < merit for other in merits.values())
        for method, merit in merits.items()
    }


def _cell(block: ScoredBlock, method: str, column: MeasureKey, ranks: dict[str, int]) -> Text:
    value = block.scores[method].get(column)
    if value is None:
        return Text("-")
    place = ranks[method]
    text = f"{_figure(column[1], value)} {f'({place})':>4}"
    return Text(text, style="bold" if place == 1 else "")


def _figure(measure: str, value: float) -> str:
    _, factor, decimals = _MEASURES[measure]
    return f"{factor * value:.{decimals}f}"
