"""One row of a comparison: the runs of one method that differ in seed and fold only."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.report.columns import COLUMNS
from bench.report.packed import Rows
from bench.report.runs import Floats, Runs
from bench.spec import Cell

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Value:
    """A figure over the runs that ended well.

    Attributes:
        figure: their mean, or the best of them where the column says so; None where no run has it.
        spread: sample standard deviation over runs; None with fewer than two.
        runs: number of runs that have it.
    """

    figure: float | None
    spread: float | None
    runs: int


_NOT_MEASURED = Value(None, None, 0)


@dataclass(frozen=True, eq=False)
class Row:
    """Runs that differ in seed and fold only.

    Attributes:
        label: the method with its non-default options, and what else tells it from other rows.
        prompts: where prompts came from.
        values: by `Column.key`.
        runs: those of all rows.
        places: of its own runs among them, failed ones included.
        ended_well: of those that ended well.
    """

    label: str
    backbone: str
    weights: str
    prompts: str
    values: Mapping[str, Value]
    runs: Runs
    places: Sequence[int]
    ended_well: Sequence[int]

    @cached_property
    def records(self) -> pd.DataFrame:
        """The lines of the frame, failed ones included."""
        return self.runs.frame.iloc[self.places]

    @cached_property
    def ok(self) -> pd.DataFrame:
        """Those that ended well."""
        return self.runs.frame.iloc[self.ended_well]

    @property
    def cells(self) -> list[Cell]:
        """What was asked, failed runs included."""
        return [self.runs.cells[place] for place in self.places]

    @property
    def folds(self) -> set[int]:
        """Which of the table's folds it has, failed runs included."""
        return {cell.fold for cell in self.cells}

    @property
    def images(self) -> list[Rows]:
        """The scores of the images of each run that ended well."""
        return [self.runs.images[place] for place in self.ended_well]

    def settings(self, facts: Sequence[str]) -> set[str]:
        """What the runs that ended well were measured with, by these columns of the frame."""
        told = self.runs.settings(facts)
        return {told[place] for place in self.ended_well}

    @property
    def complete(self) -> bool:
        """Whether every run ended well."""
        return len(self.ended_well) == len(self.places)

    @property
    def status(self) -> str:
        """How many runs ended how, as in `2 ok, 1 oom`."""
        counts = Counter(self.runs.statuses[place] for place in self.places)
        return ", ".join(
            f"{counts[name]} {name}"
            for name in sorted(counts, key=lambda name: (name != "ok", name))
        )

    @property
    def name(self) -> str:
        """Label, backbone and weights in one phrase."""
        return f"{self.label} ({self.backbone}, {self.weights})"


def gather(runs: Runs, places: Sequence[int]) -> list[Row]:
    """The rows of one table.

    Runs whose prompts came from different places never share a row. A failed run may have ended
    before its prompts were known: it joins the runs of the same cell that ended well.

    Args:
        runs: of all tables.
        places: of those of this one.
    """
    groups: dict[Key, list[int]] = defaultdict(list)
    failed = []
    for place in places:
        identity = _identity(runs.cells[place])
        if runs.statuses[place] == "ok":
            groups[(*identity, runs.prompts[place])].append(place)
        else:
            failed.append((place, identity))
    known = {key[:-1]: key for key in groups}
    for place, identity in failed:
        groups[known.get(identity, (*identity, runs.prompts[place]))].append(place)
    parts = [sorted(part) for part in groups.values()]
    labels = _tell_apart([runs.cells[part[0]] for part in parts])
    return [
        _row(label, key[-1], runs, part)
        for label, key, part in zip(labels, groups, parts, strict=True)
    ]


def _identity(cell: Cell) -> Key:
    """All of a cell but its seed, fold and table."""
    task = cell.task
    return (cell.label, task.backbone, task.weights, cell.weights_sha, cell.recipe)


def _row(label: str, prompts: str, runs: Runs, places: Sequence[int]) -> Row:
    ok = [place for place in places if runs.statuses[place] == "ok"]
    first = places[0]
    values = _values(np.take(runs.figures, ok, axis=1))
    backbone = runs.cells[first].task.backbone
    return Row(label, backbone, runs.weights[first], prompts, values, runs, places, ok)


def _values(figures: Floats) -> dict[str, Value]:
    """By column; figures (columns, runs) with NaN where a run has none."""
    defined = ~np.isnan(figures)
    counts = defined.sum(1)
    everywhere = np.flatnonzero((counts > 0) & (counts == figures.shape[1]))
    somewhere = np.flatnonzero((counts > 0) & (counts < figures.shape[1]))
    values = _summaries(everywhere, figures[everywhere]) if everywhere.size else {}
    for place in somewhere:
        values |= _summaries([place], figures[place : place + 1, defined[place]])
    return {c.key: values.get(place, _NOT_MEASURED) for place, c in enumerate(COLUMNS)}


def _summaries(columns: Iterable[int], figures: Floats) -> dict[int, Value]:
    """By place of the column; figures (columns, runs), all of them defined."""
    runs = figures.shape[1]
    means, highest = figures.mean(1).tolist(), figures.max(1).tolist()
    spreads = figures.std(1, ddof=1).tolist() if runs > 1 else [None] * len(means)
    return {
        place: Value(top if COLUMNS[place].best_of_runs else mean, spread, runs)
        for place, mean, top, spread in zip(columns, means, highest, spreads, strict=True)
    }


def _tell_apart(cells: Sequence[Cell]) -> list[str]:
    """Labels; rows that would look alike also show the recipe or weights in which they differ."""
    alike: dict[Key, list[int]] = defaultdict(list)
    for position, cell in enumerate(cells):
        alike[(cell.label, cell.task.backbone, cell.task.weights)].append(position)
    labels = [cell.label for cell in cells]
    for positions in alike.values():
        if len(positions) == 1:
            continue
        facts = [
            {**vars(cells[p].recipe), "weights_sha": cells[p].weights_sha[:8]} for p in positions
        ]
        differing = [name for name in facts[0] if len({fact[name] for fact in facts}) > 1]
        for position, fact in zip(positions, facts, strict=True):
            labels[position] += "".join(f" {name}={fact[name]}" for name in differing)
    return labels
