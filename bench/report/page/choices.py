"""What the page needs to name the methods that fit a user's limits: needs and results of rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.report.compare.comparison import Comparison
from bench.report.page.pairs import Pairs, results_of
from bench.report.page.tables import section_of
from bench.report.plots.families import family_of
from bench.report.plots.style import Series
from bench.report.records.columns import DICE
from bench.report.records.rows import Row

FAMILIES = {
    "frozen": "Frozen encoder",
    "low_rank": "Low-rank updates",
    "adapters": "Adapters and learned prompts",
    "few": "Few parameters of the encoder",
    "everything": "All of SAM",
    "scratch": "Trained from scratch",
    "": "In no family",
}
_STEPS = (1, 1.5, 2, 3, 5, 7)  # of a slider in each decade
_DIGITS = 4  # significant ones of a need, which has three in tables


@dataclass(frozen=True)
class Limit:
    """What a user may have little of.

    Attributes:
        name: in the address of the page.
        title: of its slider.
        unit: of the needs.
        key: name in the frame.
        scale: factor from the unit of the record to `unit`.
    """

    name: str
    title: str
    unit: str
    key: str
    scale: float

    def need(self, row: Row) -> float | None:
        """Return what a row needs in `unit`: the least of its runs; None if it is not known.

        What trains nothing needs no memory and no time of a training.
        """
        if self.key not in row.runs.frame:
            return None
        values = pd.to_numeric(row.column(self.key)).dropna()
        if not values.empty:
            return _rounded(float(values.min()) * self.scale)
        return 0.0 if row.values["trainable_params"].figure == 0 else None

    def text(self, value: float) -> str:
        """A value with its unit; long times in minutes or hours."""
        if self.unit != "s" or value < 120:
            return f"{value:,.6g} {self.unit}"
        return f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"


LIMITS = (
    Limit("memory", "Training memory", "MiB", "train_peak_bytes", 2.0**-20),
    Limit("trainable", "Trainable parameters", "M", "trainable_params", 1e-6),
    Limit("time", "Training time", "s", "train_wall_s", 1.0),
)


def choices_of(
    comparisons: Sequence[Comparison],
    looks: Mapping[Row, Series],
    pairs: Mapping[Comparison, Pairs],
) -> list[dict[str, Any]]:
    """Rows with their needs, and which of them are worse than which, as values for JSON.

    Args:
        comparisons: of the report.
        looks: names of the rows.
        pairs: of every comparison.

    Returns:
        One dict for each comparison: "id" and "title" of its section, "rows" in the order of the
        comparison, and "results" as of `results_of`.
    """
    return [
        {
            "id": section_of(one),
            "title": one.short_title,
            "rows": [
                _row(row, looks[row], place in block.ranked)
                for block in one.blocks
                for place, row in enumerate(block.rows)
            ],
            "results": results_of(one, pairs[one]),
        }
        for one in comparisons
    ]


def sliders_of(choices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The limits that some row has a need of, with the values and texts of their sliders.

    Args:
        choices: of `choices_of`.
    """
    rows = [row for one in choices for row in one["rows"]]
    sliders = []
    for limit in LIMITS:
        needs = [row["needs"][limit.name] for row in rows]
        steps = nice_steps(need for need in needs if need)
        if steps:
            texts = [limit.text(step) for step in steps]
            names = {"name": limit.name, "title": limit.title, "unit": limit.unit}
            sliders.append({**names, "steps": steps, "texts": texts})
    return sliders


def nice_steps(values: Iterable[float]) -> list[float]:
    """Return round numbers from the largest one below all values to the first above them.

    Args:
        values: positive numbers.

    Returns:
        The numbers, smallest first; empty without values.
    """
    known = sorted(values)
    if not known:
        return []
    powers = range(math.floor(math.log10(known[0])) - 1, math.ceil(math.log10(known[-1])) + 2)
    steps = [float(f"{factor}e{power}") for power in powers for factor in _STEPS]
    first = max(place for place, step in enumerate(steps) if step <= known[0])
    last = min(place for place, step in enumerate(steps) if step >= known[-1])
    return steps[first : last + 1]


def filters_of(choices: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The values by which rows can be filtered: "family", "prompts" and "backbone".

    Args:
        choices: of `choices_of`.

    Returns:
        For each filter, the values that occur with their titles.
    """
    rows = [row for one in choices for row in one["rows"]]
    prompts = {"none": "no prompts", "automatic": "automatic", "oracle": "from the truth (oracle)"}
    titles: dict[str, Mapping[str, str]] = {"family": FAMILIES, "prompts": prompts}
    backbones = sorted({row["backbone"] for row in rows}, key=lambda name: (name == "none", name))
    titles["backbone"] = {
        name: "none (from scratch)" if name == "none" else name for name in backbones
    }
    return {
        key: {
            value: title for value, title in names.items() if any(row[key] == value for row in rows)
        }
        for key, names in titles.items()
    }


def _row(row: Row, look: Series, ranked: bool) -> dict[str, Any]:
    dice = row.values[DICE.key].figure
    return {
        "name": look.name,
        "label": row.label,
        "method": row.cells[0].method,
        "family": family_of(row.cells[0].method),
        "backbone": row.backbone,
        "prompts": row.prompts,
        "ranked": ranked and dice is not None,
        "dice": None if dice is None else round(dice * DICE.scale, _DIGITS),
        "text": f"{DICE.format(dice)} {DICE.unit}",
        "needs": {limit.name: limit.need(row) for limit in LIMITS},
        "texts": {
            limit.name: "—" if need is None else limit.text(float(f"{need:.3g}"))
            for limit in LIMITS
            for need in (limit.need(row),)
        },
    }


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
