"""What the page's plots show: the figures of a comparison in the units of its table."""

import math
import statistics
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from bench.report.compare.across_datasets import Standing
from bench.report.compare.comparison import Comparison
from bench.report.compare.label_budgets import Budgets
from bench.report.compare.ranking import hindrance
from bench.report.compare.size_distributions import size_distributions
from bench.report.plots.label_budgets import budget_curves
from bench.report.plots.pareto import pareto_front
from bench.report.plots.style import Series
from bench.report.records.columns import COSTS, DICE, Column
from bench.report.records.image_scores import ImageScores
from bench.report.records.rows import Row

Looks = Mapping[Row, Series]

_MEMORY = {
    "weights_bytes": "weights",
    "gradients_bytes": "gradients",
    "optimizer_bytes": "optimizer state",
    "activations_bytes": "activations",
}
_DIGITS = 3  # after the point, in per cent: more than any plot can show


def charts_of(comparison: Comparison, looks: Looks) -> dict[str, Any]:
    """The data of all plots of a comparison, as values for JSON; rows are named by their position.

    Args:
        comparison: of one table.
        looks: look of each row.

    Returns:
        "rows" (names, looks, prompts and status), "accuracies" and "costs" (axes, of columns with a
        value), "columns" (title and unit of all), "figures" (of each column and row: figure and
        spread in the shown unit, None if there is none, and both as texts), "fronts" (by "cost
        accuracy" the Pareto fronts of ranked rows, one for each prompt origin whose costs can be
        compared), "curves" (loss and validation Dice in per cent by step, means over runs),
        "memory" (mean MiB of each part), "sizes" (of each class the histograms of
        `size_distributions`) and "images" (`images_of`).
    """
    accuracies = [
        column for column in comparison.columns if column.spread and _has(comparison, column)
    ]
    costs = [column for column in COSTS if _has(comparison, column)]
    rows = list(enumerate(comparison.rows))
    return {
        "rows": [_row(row, looks[row]) for row in comparison.rows],
        "accuracies": [_axis(column) for column in accuracies],
        "costs": [_axis(column) for column in costs],
        "columns": {
            column.key: {"title": column.title, "unit": column.unit}
            for column in comparison.columns
        },
        "figures": {column.key: _figures(comparison, column) for column in comparison.columns},
        "fronts": {
            f"{cost.key} {accuracy.key}": list(_fronts(comparison, cost, accuracy))
            for cost in costs
            for accuracy in accuracies
        },
        "curves": [point for place, row in rows for point in _curve(place, row)],
        "memory": [part for place, row in rows for part in _memory(place, row)],
        "sizes": [one for place, row in rows for one in _sizes(place, row)],
        "images": images_of(comparison),
    }


def images_of(comparison: Comparison) -> dict[str, Any]:
    """Dice of the test images in per cent, mean over the successful runs of a row.

    Returns:
        "names" and "groups" (specimens) of the images, lowest mean Dice first, and "scores": for
        each image one value per row, None if the row has none. Images for which no row has a Dice
        are left out.
    """
    scores = ImageScores([row.images for row in comparison.rows])
    means = scores.means("dice") * DICE.scale
    measured = np.flatnonzero(~np.isnan(means).all(axis=0))
    order = sorted(measured, key=lambda place: (np.nanmean(means[:, place]), scores.images[place]))
    return {
        "names": [scores.images[place][1] for place in order],
        "groups": [scores.images[place][0] for place in order],
        "scores": [
            [None if math.isnan(mean) else round(float(mean), _DIGITS) for mean in means[:, place]]
            for place in order
        ],
    }


def budgets_of(budgets: Budgets, looks: Looks) -> list[dict[str, Any]]:
    """Dice by number of labelled training images, as values for JSON.

    Args:
        budgets: comparisons that differ only in the label budget.
        looks: look of each row; rows with the same look are one method.

    Returns:
        One dict for each point of `budget_curves`: what "rows" of `charts_of` holds of the row,
        "images" (training images), "figure" and "spread" (mean and standard deviation of Dice over
        runs, in per cent; "spread" is None for a single run).
    """
    return [
        {**_row(row, looks[row]), "images": images}
        | {"figure": _scaled(value.figure, DICE), "spread": _scaled(value.spread, DICE)}
        for points in budget_curves(budgets, looks).values()
        for images, row in points
        for value in (row.values[DICE.key],)
    ]


def ranks_of(standing: Standing, looks: Looks) -> dict[str, Any]:
    """Ranks of methods over datasets, as values for JSON.

    Args:
        standing: the ranks.
        looks: look of each row.

    Returns:
        "rows" (as of `charts_of`, best average first, each with its "average" and its "ranks" in
        the order of "datasets"), "datasets", and "cliques" (positions of first and last method).
    """
    averages = standing.ranks.mean(0).tolist()
    rows = zip(standing.methods, averages, standing.ranks.T.tolist(), strict=True)
    return {
        "rows": [
            {**_row(row, looks[row]), "average": round(average, _DIGITS), "ranks": ranks}
            for row, average, ranks in rows
        ],
        "datasets": list(standing.datasets),
        "cliques": [list(clique) for clique in standing.cliques],
    }


def _row(row: Row, look: Series) -> dict[str, Any]:
    return {
        "name": look.name,
        "colour": look.colour,
        "ink": to_hex(look.ink),
        "marker": look.marker,
        "line": look.line,
        "prompts": row.prompts,
        "status": row.status,
    }


def _axis(column: Column) -> dict[str, Any]:
    names = {"key": column.key, "title": column.axis or column.title, "unit": column.unit}
    return {**names, "better": column.better}


def _figures(comparison: Comparison, column: Column) -> list[list[Any]]:
    """Of every row figure and spread in the shown unit, then both as the table has them."""
    return [
        [
            _scaled(value.figure, column),
            _scaled(value.spread, column),
            column.format(value.figure),
            "" if value.spread is None else f" ± {column.format(value.spread)}",
        ]
        for value in (row.values[column.key] for row in comparison.rows)
    ]


def _scaled(value: float | None, column: Column) -> float | None:
    return None if value is None else value * column.scale


def _has(comparison: Comparison, column: Column) -> bool:
    return any(row.values[column.key].figure is not None for row in comparison.rows)


def _fronts(comparison: Comparison, cost: Column, accuracy: Column) -> Iterator[list[int]]:
    """One for each origin of prompts, of its ranked rows; positions by cost."""
    sign = 1 if accuracy.better == "higher" else -1
    for block in comparison.blocks:
        rows = block.measured(cost, accuracy)
        if rows and hindrance(cost, rows) is None:
            costs = [row.values[cost.key].figure or 0.0 for row in rows]
            merits = [sign * (row.values[accuracy.key].figure or 0.0) for row in rows]
            front = pareto_front(costs, merits, cost.better)
            yield [comparison.rows.index(rows[i]) for i in front]


def _curve(place: int, row: Row) -> Iterator[dict[str, Any]]:
    """Loss and validation Dice by step: mean over the runs."""
    points: dict[float, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for history in row.column("history"):
        for point in history:
            for key in ("loss", "val_dice"):
                if point.get(key) is not None:
                    points[point["step"]][key].append(point[key])
    for step, values in sorted(points.items()):
        loss, dice = _mean(values["loss"]), _mean(values["val_dice"])
        shown = None if dice is None else round(dice * DICE.scale, _DIGITS)
        yield {"row": place, "step": step, "loss": loss, "dice": shown}


def _memory(place: int, row: Row) -> Iterator[dict[str, Any]]:
    parts = row.select(*_MEMORY).dropna().astype(float)
    if not parts.empty:
        for key, mean in parts.mean().items():
            yield {"row": place, "part": _MEMORY[str(key)], "mib": round(mean / 2**20, _DIGITS)}


def _sizes(place: int, row: Row) -> Iterator[dict[str, Any]]:
    for one in size_distributions(row):
        figures = {"edges": one.edges, "truth": one.truth, "prediction": one.prediction}
        yield {"row": place, "class": one.name} | {
            key: np.round(values, _DIGITS).tolist() for key, values in figures.items()
        }


def _mean(values: Sequence[float]) -> float | None:
    return round(statistics.fmean(values), 5) if values else None


def failures_of(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Every run with a status other than "ok", sorted by id; folds are counted from 1.

    Args:
        frame: result of `to_frame`.

    Returns:
        One dict for each run: id, dataset, label, backbone, weights, seed, fold, status and error
        ("no reason recorded" if there is none).
    """
    failed = frame[frame["status"] != "ok"]
    names = ["id", "dataset", "label", "backbone", "weights", "seed", "fold", "status"]
    reasons = failed["error"].fillna("no reason recorded")
    lines = failed[names].assign(error=reasons, fold=failed["fold"] + 1)
    return [dict(line) for line in lines.sort_values("id").to_dict("records")]
