"""Contents of the page's tables, with the texts and digits of the other tables."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.report.compare.comparison import Comparison
from bench.report.compare.ranking import Block, Mark
from bench.report.compare.readings import readings_of
from bench.report.plots.style import Series
from bench.report.records.columns import DICE, MISSING
from bench.report.records.rows import Row
from bench.report.tables.folds import folds_table
from bench.report.tables.readings import reading_texts
from bench.report.tables.write import TEXT_HEADERS, cells

_WHO = ("label", "backbone", "weights")


@dataclass(frozen=True)
class Figure:
    """One number of a table.

    Attributes:
        key: `Column.key` of its column, or `dice/<name>` of a class.
        text: the number as it is shown.
        spread: "± " and the standard deviation as it is shown; "" if there is none.
        value: the number, not rounded and in the unit of records, by which the page sorts; None if
            there is none.
        mark: see `bench.report.compare.ranking.Mark`; None without a mark.
        place: id of the section of the comparison, and position of the row in the comparison.
    """

    key: str
    text: str
    spread: str
    value: float | None
    mark: Mark | None
    place: tuple[str, int]


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        label: the method with its options.
        backbone: name of the backbone; a dash in the overview if its rows differ in model.
        weights: name of the weights; a dash likewise.
        status: how its runs ended; "" in the overview and in the table of folds.
        figures: one for each column; None in the overview if the comparison has no such row. Empty
            in the table of folds.
    """

    label: str
    backbone: str
    weights: str
    status: str
    figures: Sequence[Figure | None]


@dataclass(frozen=True)
class Part:
    """Lines with one origin of prompts, which are sorted only among themselves.

    Attributes:
        prompts: the origin of prompts.
        lines: the rows.
    """

    prompts: str
    lines: Sequence[Line]


def section_of(comparison: Comparison) -> str:
    """The id of the section of a comparison; no other element of the page has it."""
    return f"comparison-{comparison.slug}"


def figures_table(comparison: Comparison) -> list[Part]:
    """The table of a comparison: one part for each block, with all of `comparison.columns`."""
    start, parts = 0, []
    for block in comparison.blocks:
        lines = []
        shown = cells(block, comparison.columns, lambda text, _: text)
        for position, (row, texts) in enumerate(zip(block.rows, shown, strict=True)):
            figures = [
                _figure(comparison, block, position, start, column.key, text)
                for column, text in zip(comparison.columns, texts[len(TEXT_HEADERS) :], strict=True)
            ]
            lines.append(_line(row, figures))
        parts.append(Part(block.prompts, lines))
        start += len(block.rows)
    return parts


def overview_table(
    comparisons: Sequence[Comparison],
    looks: Mapping[Row, Series],
    ranks: Mapping[str, Sequence[float]],
) -> list[Part]:
    """The table of Dice of every method (row) in every comparison (column).

    Args:
        comparisons: the columns.
        looks: names of the rows; rows of different comparisons with one name are one line. Of rows
            of one block with one name, the last is shown.
        ranks: average ranks of a name, as of `rank_order`.

    Returns:
        One part for each origin of prompts; methods with the best rank come first, then those in
        most comparisons.
    """
    parts: dict[str, dict[str, dict[str, tuple[Row, Figure]]]] = {}
    for one in comparisons:
        start = 0
        for block in one.blocks:
            lines = parts.setdefault(block.prompts, {})
            texts = cells(block, [DICE], lambda text, _: text)
            for position, row in enumerate(block.rows):
                figure = _figure(one, block, position, start, DICE.key, texts[position][-1])
                lines.setdefault(looks[row].name, {})[one.slug] = (row, figure)
            start += len(block.rows)
    return [
        Part(prompts, list(_overview_lines(lines, [one.slug for one in comparisons], ranks)))
        for prompts, lines in parts.items()
    ]


def classes_table(comparison: Comparison) -> tuple[list[str], list[Part]]:
    """The table of the Dice of each class.

    Returns:
        Names of the classes, background included, that have a Dice in any row, and one part for
        each block that has rows; rows without a successful run are left out.
    """
    rows = [row for row in comparison.rows if row.succeeded]
    named = dict.fromkeys(name for row in rows for name in row.column("classes").iloc[0])
    classes = [name for name in named if any(not _class_scores(row, name).empty for row in rows)]
    start, parts = 0, []
    for block in comparison.blocks:
        lines = [
            _line(
                row, [_class_figure(row, name, (section_of(comparison), place)) for name in classes]
            )
            for place, row in enumerate(block.rows, start)
            if row.succeeded
        ]
        parts.append(Part(block.prompts, lines))
        start += len(block.rows)
    return classes, [part for part in parts if part.lines]


FoldLines = list[tuple[Line, list[str]]]


def folds_lines(comparison: Comparison) -> tuple[list[str], dict[str, FoldLines]]:
    """The table of cross-validation, see `folds_table`.

    Returns:
        Headers of the columns of numbers, and origin of prompts to its lines: row, and texts of
        Dice in per cent (a dash if there is none). Both are empty if there is only one fold.
    """
    table = folds_table(comparison)
    if table.empty:
        return [], {}
    figures = table.drop(columns=[*_WHO, "prompts"])
    parts: dict[str, FoldLines] = {}
    who = zip(*(table[part] for part in (*_WHO, "prompts")), strict=True)
    for names, values in zip(who, figures.itertuples(index=False), strict=True):
        label, backbone, weights, prompts = names
        texts = [DICE.format(value) for value in values]
        parts.setdefault(prompts, []).append((Line(label, backbone, weights, "", ()), texts))
    return [str(name).replace("_", " ") for name in figures.columns], parts


ReadingLines = list[tuple[Line, list[tuple[str, ...]]]]


def readings_lines(comparison: Comparison) -> dict[str, ReadingLines]:
    """The table of readings.

    Returns:
        From origin of prompts to its lines: row, and for each class and reading the texts of
        `HEADERS`. Rows without measured objects are left out.
    """
    parts: dict[str, ReadingLines] = {}
    for block in comparison.blocks:
        for row in block.rows:
            texts: list[tuple[str, ...]] = [
                (one.name, one.quantity.title, *reading_texts(one)) for one in readings_of(row)
            ]
            if texts:
                parts.setdefault(block.prompts, []).append((_line(row, []), texts))
    return parts


def _class_scores(row: Row, name: str) -> "pd.Series[Any]":
    """Dice of a class in each successful run that has one."""
    key = f"dice/{name}"
    if key not in row.runs.frame:
        return pd.Series(dtype=float)
    return pd.to_numeric(row.column(key)).dropna()


def _class_figure(row: Row, name: str, place: tuple[str, int]) -> Figure:
    key = f"dice/{name}"
    scores = _class_scores(row, name)
    value = None if scores.empty else float(scores.mean())
    spread = f"± {DICE.format(scores.std())}" if len(scores) > 1 else ""
    return Figure(key, DICE.format(value), spread, value, None, place)


def _line(row: Row, figures: Sequence[Figure]) -> Line:
    return Line(row.label, row.backbone, row.weights, row.status, figures)


def _figure(
    comparison: Comparison, block: Block, position: int, start: int, key: str, text: str
) -> Figure:
    figure, _, spread = text.partition(" ± ")
    value = block.rows[position].values[key].figure
    mark = block.marks.get((position, key))
    shown = f"± {spread}" if spread else ""
    return Figure(key, figure, shown, value, mark, (section_of(comparison), start + position))


def _overview_lines(
    lines: Mapping[str, Mapping[str, tuple[Row, Figure]]],
    slugs: Sequence[str],
    ranks: Mapping[str, Sequence[float]],
) -> Iterator[Line]:
    last = (math.inf,)
    for _, there in sorted(
        lines.items(), key=lambda item: (*ranks.get(item[0], last), -len(item[1]), item[0])
    ):
        rows = [row for row, _ in there.values()]
        figures = [there[slug][1] if slug in there else None for slug in slugs]
        same = {(row.backbone, row.weights) for row in rows}
        backbone, weights = same.pop() if len(same) == 1 else (MISSING, MISSING)
        yield Line(rows[0].label, backbone, weights, "", figures)
