"""Write comparisons as a LaTeX table for a paper: columns, ranks, signs, caption, label."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.report.compare.against import differences, find_row
from bench.report.compare.comparison import PROMPTS, Comparison
from bench.report.compare.ranking import Block
from bench.report.records.columns import DICE, MISSING, Column
from bench.report.records.rows import Row
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
_DASH = "---"
_NARROW = r"\footnotesize\setlength{\tabcolsep}{3pt}"  # for tables of several datasets

Results = dict[tuple[int, str], str]  # (position in a block, `Column.key`) to a key of `SIGNS`


@dataclass(frozen=True)
class _Group:
    """Rows of one prompt origin, of all datasets of a table.

    Attributes:
        prompts: the origin.
        blocks: of each dataset; None where it has no such rows.
        results: of the tests in each block.
        places: name of each row to its place in each block; None where the dataset lacks it.
        ranks: name to rank by Dice, the mean over the datasets; rows that are not ranked in every
            dataset have none.
    """

    prompts: str
    blocks: list[Block | None]
    results: list[Results]
    places: dict[str, list[int | None]]
    ranks: dict[str, float]


def paper_table(
    comparisons: Sequence[Comparison], columns: Sequence[Column], against: str | None = None
) -> str:
    """Return comparisons as one `table` of LaTeX in the style of booktabs.

    Several have a group of columns each, and rows with the same label, backbone and weights share a
    line. Rows are ranked by Dice in each block; lines of several datasets are in the order of their
    mean rank. Values are means ± standard deviations over runs; the best are bold. Signs tell the
    result of the test against the best row or against `against`; the caption explains every sign
    that occurs. The notes of the comparisons are comments above.

    Args:
        comparisons: one, or one for each of several datasets; each has at least one row.
        columns: some of `COLUMNS`, in the order in which they are shown.
        against: label or full name of the row with which the others are compared; blocks without
            this row have no signs. None: the best row of each column.
    """
    title, slug = _title(comparisons), "_".join(one.slug for one in comparisons)
    rows = [row for one in comparisons for row in one.rows]
    texts = _texts(rows)
    groups = [
        group
        for prompts in PROMPTS
        if (group := _group(prompts, comparisons, columns, against)).places
    ]
    sets = len(comparisons)
    table = "table" if sets == 1 else "table*"  # as wide as the page in two columns
    left = ["Rank", "Method", *map(str.capitalize, texts[1:])]
    lines = [
        *(tex_comment(text) for one in comparisons for text in (one.title, *one.notes)),
        rf"\begin{{{table}}}",
        r"\centering\setlength{\belowcaptionskip}{6pt}",
        rf"\caption[{{{tex_text(title)}}}]{{%",
        *_caption(title, rows, columns, texts, against, groups, sets),
        "}",
        rf"\label{{tab:{_label(slug)}}}",
        r"\small\setlength{\tabcolsep}{5pt}" if sets == 1 else _NARROW,
        rf"\begin{{tabular}}{{r{'l' * len(texts)}{'r' * len(columns) * sets}}}",
        r"\toprule",
        *_spanning([one.dataset for one in comparisons], len(left), len(columns)),
        tex_row([tex_text(text) for text in (*left, *[c.title for c in columns] * sets)]),
        tex_row(
            [
                *[""] * len(left),
                *[tex_text(f"({column.unit})") if column.unit else "" for column in columns] * sets,
            ]
        ),
    ]
    for group in groups:
        lines.append(r"\midrule")
        if len(groups) > 1:
            width = len(left) + len(columns) * sets
            name = rf"\multicolumn{{{width}}}{{l}}{{\emph{{Prompts: {tex_text(group.prompts)}}}}}"
            lines.append(tex_row([name]))
        lines += _lines(group, columns, texts, against)
    return tex_lines([*lines, r"\bottomrule", r"\end{tabular}", rf"\end{{{table}}}"])


def _title(comparisons: Sequence[Comparison]) -> str:
    """The title of one; of several, the datasets and what their titles have in common."""
    if len(comparisons) == 1:
        return comparisons[0].title
    rests = {one.title.removeprefix(f"{one.dataset}: ") for one in comparisons}
    if len(rests) > 1:
        return "; ".join(one.title for one in comparisons)
    return f"{', '.join(one.dataset for one in comparisons)}: {rests.pop()}"


def _texts(rows: Sequence[Row]) -> list[str]:
    """Attributes of rows that have a column: not those that the caption says of all rows."""
    pairs = {(row.backbone, row.weights) for row in rows}
    backbones = {backbone for backbone, _ in pairs}
    several = ["backbone"] if len(backbones) > 1 else []
    return ["label", *several, *(["weights"] if len(pairs) > len(backbones) else [])]


def _group(
    prompts: str,
    comparisons: Sequence[Comparison],
    columns: Sequence[Column],
    against: str | None,
) -> _Group:
    blocks = [
        next((block for block in one.blocks if block.prompts == prompts), None)
        for one in comparisons
    ]
    of_names = [
        {} if block is None else {row.name: place for place, row in enumerate(block.rows)}
        for block in blocks
    ]
    names = list(dict.fromkeys(name for names in of_names for name in names))
    ranks = _ranks(blocks, of_names)
    if len(comparisons) > 1:
        names.sort(key=lambda name: ranks.get(name, float("inf")))  # stable: others stay last
    results = [{} if block is None else _results(block, columns, against) for block in blocks]
    places = {name: [one.get(name) for one in of_names] for name in names}
    return _Group(prompts, blocks, results, places, ranks)


def _ranks(
    blocks: Sequence[Block | None], of_names: Sequence[Mapping[str, int]]
) -> dict[str, float]:
    """1 + the number of rows with a higher Dice, mean over datasets, of rows ranked in all."""
    scores: list[dict[str, float]] = []
    for block, places in zip(blocks, of_names, strict=True):
        ranked = set() if block is None else set(block.ranked)
        figures = {
            name: block.rows[place].values[DICE.key].figure
            for name, place in places.items()
            if block is not None and place in ranked
        }
        scores.append({name: figure for name, figure in figures.items() if figure is not None})
    common = set.intersection(*map(set, scores))
    return {
        name: fmean(1 + sum(one[other] > one[name] for other in common) for one in scores)
        for name in common
    }


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


def _spanning(datasets: Sequence[str], before: int, width: int) -> Iterator[str]:
    """The names of datasets above their columns, with a rule below each; none for one dataset."""
    if len(datasets) < 2:
        return
    names = [rf"\multicolumn{{{width}}}{{c}}{{{tex_text(name)}}}" for name in datasets]
    yield tex_row([*[""] * before, *names])
    starts = range(before + 1, before + 1 + width * len(datasets), width)
    yield "".join(rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start in starts)


def _lines(
    group: _Group, columns: Sequence[Column], texts: Sequence[str], against: str | None
) -> Iterator[str]:
    sets = len(group.blocks)
    references = [
        None if against is None or block is None else find_row(block, against)
        for block in group.blocks
    ]
    for name, places in group.places.items():
        parts = list(zip(group.blocks, places, group.results, strict=True))
        row = next(block.rows[p] for block, p, _ in parts if block is not None and p is not None)
        shown = [tex_text(getattr(row, text)) for text in texts]
        if any(p is not None and p == one for p, one in zip(places, references, strict=True)):
            shown[0] += _DAGGER
        rank = group.ranks.get(name)
        number = _DASH if rank is None else f"{rank:.0f}" if sets == 1 else f"{rank:.1f}"
        cells = [cell for part in parts for cell in _cells(*part, columns)]
        yield tex_row([number, *shown, *cells])


def _cells(
    block: Block | None, place: int | None, results: Results, columns: Sequence[Column]
) -> Iterator[str]:
    """The values of a row on one dataset; dashes where it has none."""
    if block is None or place is None:
        yield from [_DASH] * len(columns)
        return
    for column in columns:
        text = value_text(column, block.rows[place].value(column))
        text = text.replace("±", r"$\pm$").replace(MISSING, _DASH)
        best = block.marks.get((place, column.key)) == "best"
        result = results.get((place, column.key))
        # The sign takes no width, so that digits are below each other.
        sign = rf"\rlap{{{SIGNS[result][0]}}}" if result else ""
        yield (rf"\textbf{{{text}}}" if best else text) + sign


def _caption(
    title: str,
    rows: Sequence[Row],
    columns: Sequence[Column],
    texts: Sequence[str],
    against: str | None,
    groups: Sequence[_Group],
    sets: int,
) -> Iterator[str]:
    """Sentences in LaTeX, one for each line; only what the table shows is explained."""
    yield f"{tex_text(title)}."
    if "backbone" not in texts:
        yield f"Backbone: {tex_text(rows[0].backbone)}."
    if "weights" not in texts:
        pairs = sorted({(row.backbone, row.weights) for row in rows})
        shown = [f"{weights} ({backbone})" for backbone, weights in pairs]
        yield f"Weights: {tex_text(', '.join(shown))}."
    among = " among the rows with the same prompts" if len(groups) > 1 else ""
    if sets > 1:
        yield f"Rank: by Dice{among}, mean over the datasets of the rows that all of them rank."
    else:
        yield f"Rank: by Dice{among}."
    if any(group.prompts == "oracle" for group in groups):
        yield "Oracle prompts are made from the ground truth."
    if any(len(group.ranks) < len(group.places) for group in groups):
        lacking = " or the row is not in every dataset" if sets > 1 else ""
        yield f"No rank ({_DASH}): a run failed or a fold is missing{lacking}."
    if any(row.value(c).spread is not None for row in rows for c in columns if c.spread):
        counts = sorted({len(row.succeeded) for row in rows})
        number = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        yield rf"Mean $\pm$ standard deviation over {number} runs (seeds and folds)."
    if any(column.best_of_runs for column in columns):
        yield "Speeds are those of the fastest run."
    blocks = [block for group in groups for block in group.blocks if block is not None]
    if any(b.marks.get((p, c.key)) == "best" for b in blocks for p in b.ranked for c in columns):
        yield "Bold: best value" + (" of a dataset." if sets > 1 else ".")
    yield from _test(against, [one for group in groups for one in group.results], len(groups) > 1)


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
