"""Tables of what is read off predictions: number, sizes and share of objects, with their errors."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.files import write_atomic
from bench.report.compare.comparison import Comparison
from bench.report.records.columns import MISSING
from bench.report.records.rows import Row
from bench.report.tables.markdown import markdown_code, markdown_table
from bench.stats.bootstrap import RowsBySeed, mean_score, percentile_interval, resample
from bench.wording import plain_markdown

# Keys of `bench.metrics.readings` without the class, names, and factors to the units shown.
READINGS = (
    ("particles/", "objects in an image", 1.0),
    ("d10/", "D10 (px)", 1.0),
    ("d50/", "D50 (px)", 1.0),
    ("d90/", "D90 (px)", 1.0),
    ("phase_fraction/", "phase fraction (%)", 100.0),
)
NOTE = (
    "Means over the test images; error: prediction - truth, with its 95 % interval over specimens"
    " and seeds. An interval without 0 is a bias. There is no interval with fewer than two"
    " specimens, or where the value is missing in too many images."
)


def write_readings(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write `<slug>_readings.md` and `.csv` for every comparison whose objects were measured.

    Args:
        comparisons: some of them, or all.
        folder: is created if needed; files of the same names are replaced.

    Returns:
        The files.

    Raises:
        UserError: a file cannot be written.
    """
    written = []
    for comparison in comparisons:
        table = readings_table(comparison)
        if not table.empty:
            path = folder / f"{comparison.slug}_readings.md"
            title = plain_markdown(comparison.title)
            text = f"# {title}: readings\n\n{_markdown(table)}\n\n{NOTE}\n"
            written += [
                write_atomic(path, text),
                write_atomic(path.with_suffix(".csv"), table.to_csv(index=False)),
            ]
    return written


def readings_table(comparison: Comparison) -> pd.DataFrame:
    """Return readings of every row, class and quantity, as they are shown.

    The columns are `label`, `backbone`, `weights`, `prompts`, `class`, `reading`, `truth`,
    `prediction`, `error`, `low` and `high`, the interval of the error; None or NaN where a value is
    not defined. Only seeds in which all specimens were tested count. Without measured objects, the
    table is empty and has no columns.
    """
    lines: list[dict[str, object]] = []
    for row in comparison.rows:
        runs = _by_seed(row)
        if not runs or not any(key.startswith("particles_truth/") for key in runs[0][0]):
            continue
        who = {"label": row.label, "backbone": row.backbone}
        who |= {"weights": row.weights, "prompts": row.prompts}
        lines += [who | line for line in _readings(runs)]
    return pd.DataFrame(lines)


def _by_seed(row: Row) -> list[list[Mapping[str, Any]]]:
    """Test images of each seed, of all folds, where they show all specimens."""
    runs = [
        [image for images in group["per_image"] for image in images]
        for _, group in row.select("seed", "per_image").groupby("seed")
    ]
    specimens = {image["group"] for images in runs for image in images}
    return [images for images in runs if {image["group"] for image in images} == specimens]


def _readings(runs: RowsBySeed) -> Iterator[dict[str, object]]:
    names = [key.partition("/")[2] for key in runs[0][0] if key.startswith("particles_truth/")]
    for name in names:
        for figure, title, scale in READINGS:
            short = figure.removesuffix("/")
            keys = (f"{short}_truth/{name}", f"{figure}{name}", f"{short}_error/{name}")
            truth, prediction, error = (mean_score(runs, key) for key in keys)
            interval = None
            if error.sums.shape[1] > 1:
                interval = percentile_interval(resample([error])[0])
            yield {
                "class": name,
                "reading": title,
                "truth": scale * truth.value,
                "prediction": scale * prediction.value,
                "error": scale * error.value,
                "low": None if interval is None else scale * interval.low,
                "high": None if interval is None else scale * interval.high,
            }


def _markdown(table: pd.DataFrame) -> str:
    headers = ["Method", "Class", "Reading", "Truth", "Prediction", "Error, 95 % interval"]
    lines = []
    for line in table.to_dict("records"):
        error = _number(line["error"], signed=True)
        if not pd.isna(line["low"]):
            low, high = (_number(line[end], signed=True) for end in ("low", "high"))
            error = f"{error} [{low}, {high}]"
        values = [_number(line["truth"]), _number(line["prediction"]), error]
        who = markdown_code(str(line["label"]))
        lines.append([who, plain_markdown(str(line["class"])), str(line["reading"]), *values])
    return markdown_table(headers, lines, ["left"] * 3 + ["right"] * 3)


def _number(value: Any, signed: bool = False) -> str:
    if pd.isna(value):
        return MISSING
    return f"{value:{'+' if signed else ''}.1f}"
