"""Write comparisons as Markdown, CSV and LaTeX."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from bench.files import atomic_path, write_atomic
from bench.report.compare.comparison import Comparison, make_comparisons
from bench.report.compare.ranking import Block, Mark
from bench.report.records.columns import DICE, IN_DOMAIN_DICE, MISSING, Column
from bench.report.records.frame import NESTED
from bench.report.records.rows import Value
from bench.report.tables.delimited import to_csv
from bench.report.tables.markdown import markdown_code, markdown_table
from bench.report.tables.tex import tex_comment, tex_lines, tex_row, tex_text
from bench.wording import plain_field, plain_markdown

# Marks of values that are not the best, see `Mark`.
SIGNS: Mapping[Mark, str] = {"tied": "≈", "worse": "↓", "untestable": "?"}
TEXT_HEADERS = ("Method", "Backbone", "Weights", "Prompts", "Runs")  # columns left of the numbers


def write_tables(
    frame: pd.DataFrame, folder: Path, comparisons: Sequence[Comparison] | None = None
) -> list[Path]:
    """Write every comparison as `<slug>.md`, `.csv` and `.tex`, and all runs as `records.csv`.

    `records.csv` has no `NESTED` columns, and in-domain Dice only if a run has one.

    Args:
        frame: result of `to_frame`.
        folder: is created if needed; files with the same names are replaced, others stay.
        comparisons: of the frame; None: they are made here.

    Returns:
        The files.

    Raises:
        UserError: a file cannot be written.
    """
    written = [folder / "records.csv"]
    with atomic_path(written[0]) as temporary, temporary.open("wb") as file:
        unused = [] if frame[IN_DOMAIN_DICE.key].notna().any() else [IN_DOMAIN_DICE.key]
        shown = frame.drop(columns=[*NESTED, *unused]).map(plain_field)
        shown.to_csv(file, index=False, lineterminator="\n")
    for comparison in make_comparisons(frame) if comparisons is None else comparisons:
        written += [
            write_atomic(
                folder / f"{comparison.slug}.md",
                f"# {plain_markdown(comparison.title)}\n\n{markdown(comparison)}",
            ),
            write_atomic(folder / f"{comparison.slug}.csv", to_csv(unrounded(comparison))),
            write_atomic(folder / f"{comparison.slug}.tex", latex(comparison)),
        ]
    return written


def cells(
    block: Block, columns: Sequence[Column], decorate: Callable[[str, Mark | None], str]
) -> list[list[str]]:
    """Return the texts of a block's rows: those of `TEXT_HEADERS`, then one for each column.

    Args:
        block: rows and marks.
        columns: the columns to show.
        decorate: adds the mark (None for no mark) to the text of a number, which has " ± " and the
            spread in columns that show it, and is a dash if there is no value.

    Returns:
        One list of texts for each row, in the order of `block.rows`.
    """
    marks = block.marks.get
    return [
        [
            *line[: len(TEXT_HEADERS)],
            *(
                decorate(text, marks((place, column.key)))
                for text, column in zip(line[len(TEXT_HEADERS) :], columns, strict=True)
            ),
        ]
        for place, line in enumerate(_texts(block, tuple(columns)))
    ]


@lru_cache(maxsize=4)  # a block is written in several formats
def _texts(block: Block, columns: tuple[Column, ...]) -> list[list[str]]:
    """Texts of every row, without marks."""
    return [
        [row.label, row.backbone, row.weights, row.prompts, row.status]
        + [value_text(column, row.value(column)) for column in columns]
        for row in block.rows
    ]


def value_text(column: Column, value: Value) -> str:
    """A value in the unit of its column, with " ± " and the spread where the column shows it."""
    text = column.format(value.figure)
    if column.spread and value.spread is not None:
        text += f" ± {column.format(value.spread)}"
    return text


def markdown(comparison: Comparison) -> str:
    """Return tables of the blocks, then the notes as a list; there is no title.

    Best values are bold, others have the marks of `SIGNS`. The Dice of each class has the last
    columns.
    """
    parts = []
    columns = comparison.all_columns
    alignments = ["left"] * len(TEXT_HEADERS) + ["right"] * len(columns)
    for block in comparison.blocks:
        shown = cells(block, columns, _mark_markdown)
        lines = [[markdown_code(label), *rest] for label, *rest in shown]
        if len(comparison.blocks) > 1:
            parts.append(f"**Prompts: {block.prompts}**")
        parts.append(markdown_table(_headers(columns), lines, alignments))
    parts.append("\n".join(f"- {plain_markdown(note)}" for note in comparison.notes))
    return "\n\n".join(parts) + "\n"


def latex(comparison: Comparison) -> str:
    """Return a booktabs `tabular` for LaTeX; title and notes are comments above it.

    Best values are bold, others have the marks of `SIGNS`; a rule separates the blocks. The Dice of
    each class has the last columns.
    """
    columns = comparison.all_columns
    alignment = "l" * len(TEXT_HEADERS) + "r" * len(columns)
    body = [
        *map(tex_comment, (comparison.title, *comparison.notes)),
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        tex_row([*map(tex_text, _headers(columns))]),
    ]
    for block in comparison.blocks:
        body.append(r"\midrule")
        for line in cells(block, columns, _mark_latex):
            texts, figures = line[: len(TEXT_HEADERS)], line[len(TEXT_HEADERS) :]
            body.append(tex_row([*map(tex_text, texts), *figures]))
    return tex_lines([*body, r"\bottomrule", r"\end{tabular}"])


def unrounded(comparison: Comparison) -> dict[str, list[object]]:
    """Return the rows as columns of values that are not rounded, in the units of the records.

    Returns:
        "label", "backbone", "weights", "prompts" and "runs" (their statuses); for each column its
        `key` (mean or best over runs), `<key>_sd` (standard deviation, even where tables do not
        show it) and `<key>_mark` (see `Mark`, or None), for Dice also `<key>_within` (`Block`);
        last, the Dice of each class as `dice/<class>` and `dice/<class>_sd`, which is not ranked.
        Each is a list with one value per row, None if there is no value.
    """
    lines: dict[str, list[object]] = {
        "label": [row.label for row in comparison.rows],
        "backbone": [row.backbone for row in comparison.rows],
        "weights": [row.weights for row in comparison.rows],
        "prompts": [row.prompts for row in comparison.rows],
        "runs": [row.status for row in comparison.rows],
    }
    places = [(block, place) for block in comparison.blocks for place in range(len(block.rows))]
    for column in comparison.columns:
        key = column.key
        values = [row.values[key] for row in comparison.rows]
        lines[key] = [value.figure for value in values]
        lines[f"{key}_sd"] = [value.spread for value in values]
        lines[f"{key}_mark"] = [block.marks.get((place, key)) for block, place in places]
        if column is DICE:
            lines[f"{key}_within"] = [block.within.get(place) for block, place in places]
    for column in comparison.class_columns:
        values = [row.value(column) for row in comparison.rows]
        lines[column.key] = [value.figure for value in values]
        lines[f"{column.key}_sd"] = [value.spread for value in values]
    return lines


def _headers(columns: Sequence[Column]) -> list[str]:
    return [*TEXT_HEADERS, *(column.header for column in columns)]


def _mark_markdown(text: str, mark: Mark | None) -> str:
    return f"**{text}**" if mark == "best" else f"{text} {SIGNS[mark]}" if mark else text


def _mark_latex(text: str, mark: Mark | None) -> str:
    shown = text.replace("±", r"$\pm$").replace(MISSING, "---")
    signs = {"tied": r" $\approx$", "worse": r" $\downarrow$", "untestable": " ?"}
    return rf"\textbf{{{shown}}}" if mark == "best" else shown + (signs[mark] if mark else "")
