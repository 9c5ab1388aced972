"""Tables of cross-validation: Dice of every fold, their spread, and Dice of all folds together."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.report.compare.comparison import Comparison
from bench.report.records.columns import DICE
from bench.report.records.rows import Row
from bench.report.tables.markdown import markdown_table
from bench.report.tables.pages import write_pages
from bench.stats.bootstrap import pooled_overlap

_WHO = ("label", "backbone", "weights", "prompts")  # columns that identify a row, prompts last


def write_folds(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write `<slug>_folds.md` and `.csv` for every comparison of more than one fold.

    Args:
        comparisons: some of them, or all.
        folder: is created if needed; files of the same names are replaced.

    Returns:
        The files.

    Raises:
        UserError: a file cannot be written.
    """
    return write_pages(comparisons, folder, "folds", folds_table, _page)


def _page(comparison: Comparison) -> str:
    return f"# {comparison.title}\n\n{folds_markdown(comparison)}\n"


def folds_table(comparison: Comparison) -> pd.DataFrame:
    """Return Dice in [0, 1] of every row: `fold_1` to `fold_K`, `mean`, `sd` and `pooled`.

    The columns before these are `label`, `backbone`, `weights` and `prompts`. The value of a fold
    is the mean over seeds; `mean` and `sd` are over the folds that have one. `pooled` is Dice of
    the pixels of all folds together, in which every image is tested once; it is the mean over the
    seeds for which all folds were successful. A value that does not exist is None or NaN. With only
    one fold, the table is empty and has no columns.
    """
    lines = []
    for row in comparison.rows:
        folds = {cell.folds for cell in row.cells}
        if folds == {1}:
            continue
        by_fold = row.select("fold", DICE.key).groupby("fold")[DICE.key].mean()
        line: dict[str, object] = {"label": row.label, "backbone": row.backbone}
        line |= {"weights": row.weights, "prompts": row.prompts}
        line |= {f"fold_{fold + 1}": by_fold.get(fold) for fold in range(max(folds))}
        line |= {"mean": by_fold.mean(), "sd": by_fold.std(), "pooled": _pooled(row, max(folds))}
        lines.append(line)
    return pd.DataFrame(lines)


def folds_markdown(comparison: Comparison) -> str:
    """Return the table of `folds_table` in per cent, with a sentence that explains it.

    Args:
        comparison: of more than one fold.

    Raises:
        KeyError: the comparison has only one fold.
    """
    table = folds_table(comparison)
    figures = table.drop(columns=list(_WHO))
    headers = ["Method", *(name.replace("_", " ").capitalize() for name in figures.columns)]
    lines = [
        [name, *map(DICE.format, values)]
        for name, values in zip(_names(table), figures.itertuples(index=False), strict=True)
    ]
    text = markdown_table(headers, lines, ["left"] + ["right"] * len(figures.columns))
    return (
        f"{text}\n\nDice ({DICE.unit}) of the test part of every fold, mean over seeds; mean and "
        "standard deviation over folds; pooled: the pixels of all folds together."
    )


def _names(table: pd.DataFrame) -> list[str]:
    """Labels; rows with equal labels also show backbone, weights and prompts."""
    who = table[list(_WHO)].itertuples(index=False)
    shared = table["label"].duplicated(keep=False)
    return [
        f"`{label}` ({', '.join(rest if rest[-1] != 'none' else rest[:-1])})"
        if more
        else f"`{label}`"
        for (label, *rest), more in zip(who, shared, strict=True)
    ]


def _pooled(row: Row, folds: int) -> float | None:
    """Dice of the pixels of all folds together, mean over complete seeds; None if there is none."""
    scores = []
    for _, runs in row.select("seed", "per_image", "classes").groupby("seed"):
        if len(runs) == folds:
            images = [one for images in runs["per_image"] for one in images]
            scores.append(pooled_overlap([images], runs["classes"].iloc[0]).value)
    return sum(scores) / len(scores) if scores else None
