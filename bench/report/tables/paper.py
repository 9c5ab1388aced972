"""Write a comparison as a LaTeX table for a paper: chosen columns, ranks, marks, caption, label."""

import re
from collections.abc import Iterator, Mapping, Sequence

from bench.report.compare.against import differences, find_row
from bench.report.compare.comparison import Comparison
from bench.report.compare.ranking import Block
from bench.report.records.columns import DICE, MISSING, Column
from bench.report.tables.tex import tex_comment, tex_lines, tex_row, tex_text
from bench.report.tables.write import value_text
from bench.stats.paired import SIGNIFICANCE

# Results of a test, the sign of each and what it means in the caption.
SIGNS: Mapping[str, tuple[str, str]] = {
    "better": (r"$^{+}$", "significantly better"),
    "tied": (r"$^{\approx}$", "not significantly different"),
    "worse": (r"$^{-}$", "significantly worse"),
    "untestable": (r"$^{?}$", "too few specimens to test"),
}
_DAGGER = r"$^{\dagger}$"

Results = dict[tuple[int, str], str]  # (position in a block, `Column.key`) to a key of `SIGNS`


def paper_table(
    comparison: Comparison, columns: Sequence[Column], against: str | None = None
) -> str:
    """Return a comparison as a `table` of LaTeX in the style of booktabs.

    Rows are ranked by Dice in each block. Values are means ± standard deviations over runs; the
    best are bold. Signs tell the result of the test against the best row or against `against`; the
    caption explains every sign that occurs. The notes of the comparison are comments above.

    Args:
        comparison: at least one row.
        columns: some of `COLUMNS`, in the order in which they are shown.
        against: label or full name of the row with which the others are compared; blocks without
            this row have no signs. None: the best row of each column.
    """
    texts = _texts(comparison)
    headers = ["Rank", "Method", *map(str.capitalize, texts[1:])]
    width = len(headers) + len(columns)
    units = [f"({column.unit})" if column.unit else "" for column in columns]
    results = [_results(block, columns, against) for block in comparison.blocks]
    lines = [
        *map(tex_comment, (comparison.title, *comparison.notes)),
        r"\begin{table}",
        r"\centering\setlength{\belowcaptionskip}{6pt}",
        rf"\caption[{{{tex_text(comparison.title)}}}]{{%",
        *_caption(comparison, columns, texts, against, results),
        "}",
        rf"\label{{tab:{_label(comparison.slug)}}}",
        r"\small\setlength{\tabcolsep}{5pt}",
        rf"\begin{{tabular}}{{r{'l' * len(texts)}{'r' * len(columns)}}}",
        r"\toprule",
        tex_row([tex_text(text) for text in (*headers, *(c.title for c in columns))]),
        tex_row([*[""] * len(headers), *map(tex_text, units)]),
    ]
    for block, of_block in zip(comparison.blocks, results, strict=True):
        lines.append(r"\midrule")
        if len(comparison.blocks) > 1:
            title = rf"\multicolumn{{{width}}}{{l}}{{\emph{{Prompts: {tex_text(block.prompts)}}}}}"
            lines.append(tex_row([title]))
        lines += _rows(block, columns, texts, against, of_block)
    return tex_lines([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _texts(comparison: Comparison) -> list[str]:
    """Attributes of rows that have a column: not those that the caption says of all rows."""
    pairs = {(row.backbone, row.weights) for row in comparison.rows}
    backbones = {backbone for backbone, _ in pairs}
    several = ["backbone"] if len(backbones) > 1 else []
    return ["label", *several, *(["weights"] if len(pairs) > len(backbones) else [])]


def _results(block: Block, columns: Sequence[Column], against: str | None) -> Results:
    """Results of the tests in a block; those of the best rows and of the reference are left out."""
    if against is None:
        shown = {column.key for column in columns}
        return {
            (p, k): mark for (p, k), mark in block.marks.items() if mark != "best" and k in shown
        }
    places = {id(row): place for place, row in enumerate(block.rows)}
    found = differences(block, columns, against)
    return {(places[id(one.row)], one.column.key): one.result for one in found}


def _rows(
    block: Block,
    columns: Sequence[Column],
    texts: Sequence[str],
    against: str | None,
    results: Results,
) -> Iterator[str]:
    ranks = _ranks(block)
    reference = None if against is None else find_row(block, against)
    for place, row in enumerate(block.rows):
        names = [tex_text(getattr(row, text)) for text in texts]
        if place == reference:
            names[0] += _DAGGER
        cells = []
        for column in columns:
            text = value_text(column, row.value(column))
            text = text.replace("±", r"$\pm$").replace(MISSING, "---")
            best = block.marks.get((place, column.key)) == "best"
            result = results.get((place, column.key))
            # The sign takes no width, so that digits are below each other.
            sign = rf"\rlap{{{SIGNS[result][0]}}}" if result else ""
            cells.append((rf"\textbf{{{text}}}" if best else text) + sign)
        yield tex_row([str(ranks.get(place, "---")), *names, *cells])


def _ranks(block: Block) -> dict[int, int]:
    """Position of each ranked row to 1 + the number of ranked rows with a higher Dice."""
    dice = {place: block.rows[place].values[DICE.key].figure for place in block.ranked}
    known = {place: figure for place, figure in dice.items() if figure is not None}
    return {p: 1 + sum(other > figure for other in known.values()) for p, figure in known.items()}


def _caption(
    comparison: Comparison,
    columns: Sequence[Column],
    texts: Sequence[str],
    against: str | None,
    results: Sequence[Results],
) -> Iterator[str]:
    """Sentences in LaTeX, one for each line; only what the table shows is explained."""
    rows, blocks = comparison.rows, comparison.blocks
    yield f"{tex_text(comparison.title)}."
    if "backbone" not in texts:
        yield f"Backbone: {tex_text(rows[0].backbone)}."
    if "weights" not in texts:
        pairs = sorted({(row.backbone, row.weights) for row in rows})
        shown = [f"{weights} ({backbone})" for backbone, weights in pairs]
        yield f"Weights: {tex_text(', '.join(shown))}."
    among = " among the rows with the same prompts" if len(blocks) > 1 else ""
    yield f"Rank: by Dice{among}."
    if any(block.prompts == "oracle" for block in blocks):
        yield "Oracle prompts are made from the ground truth."
    if any(len(_ranks(block)) < len(block.rows) for block in blocks):
        yield "No rank (---): a run failed or a fold is missing."
    if any(row.value(c).spread is not None for row in rows for c in columns if c.spread):
        counts = sorted({len(row.succeeded) for row in rows})
        number = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        yield rf"Mean $\pm$ standard deviation over {number} runs (seeds and folds)."
    if any(column.best_of_runs for column in columns):
        yield "Speeds are those of the fastest run."
    if any(b.marks.get((p, c.key)) == "best" for b in blocks for p in b.ranked for c in columns):
        yield "Bold: best value."
    yield from _test(against, results, len(blocks) > 1)


def _test(against: str | None, results: Sequence[Results], several: bool) -> Iterator[str]:
    """The signs that occur, and the test that they come from."""
    found = {result for one in results for result in one.values()}
    if not found:
        return
    reference = "the best" if against is None else f"{tex_text(against)}{_DAGGER}"
    signs = [f"{sign} {words}" for result, (sign, words) in SIGNS.items() if result in found]
    among = " with the same prompts" if several else ""
    yield f"Compared with {reference}: {', '.join(signs)}"
    yield (
        "(two-sided Wilcoxon signed-rank test over the test specimens, Holm's correction for all "
        rf"rows{among} of a column, level {100 * SIGNIFICANCE:.0f}\,\%)."
    )


def _label(slug: str) -> str:
    """A slug in characters that a label may have in every engine."""
    return re.sub(r"[^A-Za-z0-9_.-]", lambda match: f"u{ord(match[0]):04x}", slug)
