"""Which rows are best, and which of the others the test images cannot tell apart from them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from bench.report.columns import COLUMNS, DICE, Column
from bench.report.rows import Row

Mark = Literal["best", "tied"]

LEVEL = 0.05  # of the family of comparisons in one column


@dataclass(frozen=True, eq=False)
class Block:
    """Rows whose prompts came from the same place, ranked among themselves only.

    Attributes:
        prompts: their origin.
        rows: best Dice first, rows without a figure last.
        marks: (position in `rows`, `Column.key`) to mark; unmarked ones are left out.
        notes: what the marks mean here, and what could not be ranked.
    """

    prompts: str
    rows: tuple[Row, ...]
    marks: Mapping[tuple[int, str], Mark]
    notes: tuple[str, ...] = field(default=())


def rank(prompts: str, rows: Sequence[Row], folds: set[int]) -> Block:
    """Order the rows and mark the best of every column.

    A row is ranked only if all its runs ended well and cover `folds`: the mean over the runs that
    happened to survive, or over other test images, is not the same quantity.
    """
    ordered = sorted(rows, key=lambda row: (-_dice(row), row.name))
    ranked = [
        position
        for position, row in enumerate(ordered)
        if row.complete and set(row.records["fold"]) == folds
    ]
    marks: dict[tuple[int, str], Mark] = {}
    told: dict[str, list[str]] = {}  # note to the columns it holds for
    for column in COLUMNS:
        measured = [p for p in ranked if ordered[p].values[column.key].figure is not None]
        if len(measured) < 2:
            continue
        note = hindrance(column, [ordered[p] for p in measured])
        if note is None:
            found, note = _mark_column(column, ordered, measured)
            marks |= found
        if note is not None:
            told.setdefault(note, []).append(column.title)
    notes = [f"{', '.join(titles)}: {note}" for note, titles in told.items()]
    skipped = [row for p, row in enumerate(ordered) if p not in ranked and not row.ok.empty]
    if skipped:
        names = ", ".join(row.name for row in skipped)
        notes.append(f"Not ranked, since runs failed or folds are missing: {names}.")
    return Block(prompts, tuple(ordered), marks, tuple(notes))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm, 1979), in the order given."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in corrected]


def specimen_differences(first: Row, second: Row, score: str) -> npt.NDArray[np.float64]:
    """Mean difference `first` - `second` on every test specimen, (specimens,) float.

    A score is averaged over the runs of a row for each image, paired by image, and the
    differences averaged over the images of a specimen: images of one specimen are no independent
    witnesses. Images that one of the two lacks are left out.
    """
    ours, theirs = _image_scores(first, score), _image_scores(second, score)
    by_specimen: dict[str, list[float]] = defaultdict(list)
    for (specimen, image), value in ours.items():
        if (specimen, image) in theirs:
            by_specimen[specimen].append(value - theirs[specimen, image])
    return np.array([np.mean(values) for values in by_specimen.values()], dtype=np.float64)


def hindrance(column: Column, rows: Sequence[Row]) -> str | None:
    """Why figures of this column must not be compared, if they must not."""
    settings = sorted({setting for row in rows for setting in _settings(row, column)})
    if not column.comparable_within or len(settings) < 2:
        return None
    return f"not ranked, since measured with different things: {'; '.join(settings)}."


def _dice(row: Row) -> float:
    mean = row.values[DICE.key].figure
    return float("-inf") if mean is None else mean


def _settings(row: Row, column: Column) -> Iterator[str]:
    """What each run was measured with, in words."""
    for facts in row.ok[list(column.comparable_within)].to_dict("records"):
        known = {str(name): value for name, value in facts.items() if pd.notna(value)}
        yield ", ".join(f"{name.removeprefix('env/')} {value}" for name, value in known.items())


def _mark_column(
    column: Column, rows: Sequence[Row], measured: Sequence[int]
) -> tuple[dict[tuple[int, str], Mark], str | None]:
    sign = 1 if column.better == "higher" else -1
    merits = {p: sign * (rows[p].values[column.key].figure or 0.0) for p in measured}
    top = max(merits.values())
    if min(merits.values()) == top:
        return {}, None
    best = [p for p in measured if merits[p] == top]
    marks: dict[tuple[int, str], Mark] = {(p, column.key): "best" for p in best}
    if column.image_score is None:
        return marks, None
    others = [p for p in measured if p not in best]
    tied, note = _tied(rows[best[0]], [rows[p] for p in others], column.image_score, sign)
    marks |= {(p, column.key): "tied" for p, equal in zip(others, tied, strict=True) if equal}
    return marks, note


def _tied(best: Row, others: Sequence[Row], score: str, sign: int) -> tuple[list[bool], str]:
    """For each of the others whether it cannot be told apart from the best, and how that was found.

    Wilcoxon's signed-rank test needs no normality and is exact at the small numbers of specimens
    that are usual here, where a bootstrap over specimens would be too sure of itself.
    """
    differences = [sign * specimen_differences(best, other, score) for other in others]
    specimens = min(len(values) for values in differences)
    if len(others) * 2.0 ** (1 - specimens) > LEVEL:
        return [True] * len(others), (
            f"with {specimens} test specimens and {len(others)} comparisons no "
            "difference can be significant, so nothing can be told apart from the best (≈)."
        )
    p_values = holm([_p_value(values) for values in differences])
    # A row that is significantly better image by image is no tie of the best, nor is it worse.
    tied = [p > LEVEL or v.mean() <= 0 for p, v in zip(p_values, differences, strict=True)]
    return tied, (
        f"≈ cannot be told apart from the best (Wilcoxon signed-rank test on "
        f"{specimens} test specimens, Holm-corrected for {len(others)} comparisons, "
        f"{LEVEL:.0%} level)."
    )


def _p_value(differences: npt.NDArray[np.float64]) -> float:
    """Two-sided; equal scores everywhere are no evidence at all."""
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def _image_scores(row: Row, score: str) -> dict[tuple[str, str], float]:
    """Mean over the runs by (specimen, image); images where no run defines it are left out."""
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for images in row.ok["per_image"]:
        for image in images:
            if image.get(score) is not None:
                scores[image["group"], image["name"]].append(image[score])
    return {key: float(np.mean(values)) for key, values in scores.items()}
