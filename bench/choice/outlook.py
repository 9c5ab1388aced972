"""What more labels or more steps would bring, from records in the results folder."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.choice.arms import Evidence
from bench.choice.criterion import Criterion
from bench.choice.forecast import Forecast, Point, forecast
from bench.spec import Cell, Record


def outlook(best: Evidence, records: Iterable[Record], criterion: Criterion) -> list[str]:
    """Sentences on twice the labels and twice the steps; without records for it, how to get them.

    Args:
        best: the recommended method.
        records: of the results folder: those that differ from the method's runs only in seed, fold
            and number of labels (or steps) are used.
        criterion: only Dice and other scores in percent are forecast.
    """
    if not criterion.has_margin or criterion.unit != "points" or criterion.name.startswith("phase"):
        return []
    cell = best.arm.cells[0]
    stored = [record for record in records if record.status == "ok"]
    labels = _points(stored, cell, criterion, "labels")
    steps = _points(stored, cell, criterion, "steps")
    return [
        _sentence("Twice the labels", "labelled images", labels, criterion),
        _sentence("Twice the time", "steps", steps, criterion),
    ]


def _points(records: Sequence[Record], cell: Cell, criterion: Criterion, what: str) -> list[Point]:
    """Number of labels (or steps) and score of each run that differs in seed and fold only."""
    key = _without(cell, what).id
    points: list[Point] = []
    for record in records:
        score = criterion.of_set(record)
        if score is None or _without(record.cell, what).id != key:
            continue
        number = record.cell.recipe.steps
        if what == "labels":
            number = record.env.get("split", {}).get("train", 0)
        if number:
            points.append((float(number), score, (record.cell.seed, record.cell.fold)))
    return points


def _without(cell: Cell, what: str) -> Cell:
    """The cell without seed, fold, and labels or steps."""
    if what == "labels":
        return replace(cell, seed=0, fold=0, labels=None)
    return replace(cell, seed=0, fold=0, recipe=replace(cell.recipe, steps=1))


def _sentence(title: str, unit: str, points: Sequence[Point], criterion: Criterion) -> str:
    largest = max((number for number, _, _ in points), default=0.0)
    result = forecast(points, 2 * largest)
    if isinstance(result, Forecast):
        low, high = result.interval.low, result.interval.high
        return (
            f"{title} ({result.number:.0f} {unit}): {criterion.title} {result.value:.1f} %"
            f" (95 % prediction interval {low:.1f} to {high:.1f})."
        )
    return f"{title}: no forecast, {result.reason}."
