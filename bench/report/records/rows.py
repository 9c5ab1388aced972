"""One row of a comparison: the runs of one method that differ in seed and fold only."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.report.records.columns import COLUMNS, Column
from bench.report.records.image_scores import Images
from bench.report.records.runs import Floats, Runs
from bench.report.records.weights import weights_of
from bench.spec import Cell

Key = tuple[Any, ...]


class Value(NamedTuple):
    """The value of one column over the successful runs of a row.

    Attributes:
        figure: the mean, or the best of the runs for columns with `best_of_runs`; None if no run
            has a value.
        spread: sample standard deviation over the runs that have a value; None with fewer than two.
        runs: number of runs that have a value.
    """

    figure: float | None
    spread: float | None
    runs: int


_NOT_MEASURED = Value(None, None, 0)


@dataclass(frozen=True, eq=False)
class Row:
    """Runs that differ in seed and fold only.

    Attributes:
        label: the method with its non-default options, the grid of masks if it is not the default,
            and values of the recipe if rows of the table would otherwise have the same label,
            backbone and weights.
        backbone: name of the backbone, "none" for methods trained from scratch.
        weights: name of the weights in the report (`name_weights`).
        prompts: the prompt origin.
        values: value of each of `COLUMNS`, by `Column.key`.
        runs: the runs of all rows.
        places: positions of its own runs in `runs`, failed ones included.
        succeeded: positions of its successful runs.
    """

    label: str
    backbone: str
    weights: str
    prompts: str
    values: Mapping[str, Value]
    runs: Runs
    places: list[int]
    succeeded: list[int]

    @cached_property
    def records(self) -> pd.DataFrame:
        """The lines of the frame of its runs, failed ones included."""
        return self.runs.frame.iloc[self.places]

    @cached_property
    def ok(self) -> pd.DataFrame:
        """The lines of the frame of the successful runs.

        The frame has hundreds of columns: `column` and `select` are a hundred times faster.
        """
        return self.runs.frame.iloc[self.succeeded]

    def column(self, name: str) -> "pd.Series[Any]":
        """One column of the frame for the successful runs; KeyError if the frame lacks it."""
        return self.runs.frame[name].iloc[self.succeeded]

    def select(self, *names: str) -> pd.DataFrame:
        """Columns of the frame for the successful runs; KeyError if the frame lacks one."""
        return self.runs.frame[list(names)].iloc[self.succeeded]

    @property
    def cells(self) -> list[Cell]:
        """The cells of its runs, failed ones included."""
        return [self.runs.cells[place] for place in self.places]

    @property
    def folds(self) -> set[int]:
        """The folds of its runs, failed ones included."""
        return {cell.fold for cell in self.cells}

    @property
    def images(self) -> list[Images]:
        """The scores of the test images of each successful run."""
        return [self.runs.images[place] for place in self.succeeded]

    def class_value(self, key: str) -> Value:
        """The value of a metric of one class over the successful runs.

        Args:
            key: such as "dice/pearlite"; no run need have it.
        """
        if key not in self._class_values:
            self._class_values[key] = self._class_value(key)
        return self._class_values[key]

    @cached_property
    def _class_values(self) -> dict[str, Value]:
        return {}

    def _class_value(self, key: str) -> Value:
        if key not in self.runs.frame:
            return _NOT_MEASURED
        figures = self.column(key).to_numpy(np.float64, na_value=np.nan)
        known = figures[~np.isnan(figures)]
        spread = float(known.std(ddof=1)) if known.size > 1 else None
        return Value(float(known.mean()), spread, known.size) if known.size else _NOT_MEASURED

    def value(self, column: Column) -> Value:
        """The value of a column, one of `COLUMNS` or of a class."""
        known = self.values.get(column.key)
        return self.class_value(column.key) if known is None else known

    def settings(self, facts: Sequence[str]) -> set[str]:
        """The conditions of the measurements of its successful runs, as texts, each once.

        Facts that are not recorded are left out of a text, which can be "".

        Args:
            facts: columns of the frame, such as "env/cpu".
        """
        settings = self.runs.settings(facts)
        return {settings[place] for place in self.succeeded}

    @property
    def threads(self) -> set[int]:
        """Recorded numbers of CPU threads of its successful runs; empty if none is recorded."""
        numbers = (self.runs.threads[place] for place in self.succeeded)
        return {number for number in numbers if number is not None}

    @property
    def complete(self) -> bool:
        """Whether every run that has a record was successful; missing runs do not matter."""
        return len(self.succeeded) == len(self.places)

    @cached_property
    def status(self) -> str:
        """The number of runs with each status, successful ones first, as in `2 ok, 1 oom`."""
        counts = Counter(self.runs.statuses[place] for place in self.places)
        return ", ".join(
            f"{counts[name]} {name}"
            for name in sorted(counts, key=lambda name: (name != "ok", name))
        )

    @property
    def name(self) -> str:
        """Label, backbone and weights in one phrase; without the prompt origin."""
        return f"{self.label} ({self.backbone}, {self.weights})"


def gather(runs: Runs, places: Sequence[int]) -> list[Row]:
    """Collect the runs of one table in rows.

    Successful runs with different prompt origins are never in one row. A failed run is in the row
    of the successful runs that differ from it only in seed and fold, if there are any, whatever
    prompt origin its record names.

    Args:
        runs: the runs of all tables.
        places: positions in `runs` of the runs of this table.

    Returns:
        The rows, those with a successful run first, each kind in the order of `places`. Rows that
        would have the same label, backbone and weights also show the recipe values in which they
        differ.
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
    labels = _tell_apart(runs, [part[0] for part in parts])
    succeeded = [[place for place in part if runs.statuses[place] == "ok"] for part in parts]
    values = _values(runs.figures, succeeded)
    models = [(runs.cells[part[0]].task.backbone, runs.weights[part[0]]) for part in parts]
    return [
        Row(label, backbone, weights, key[-1], of_row, runs, part, ok)
        for label, (backbone, weights), key, of_row, part, ok in zip(
            labels, models, groups, values, parts, succeeded, strict=True
        )
    ]


def _identity(cell: Cell) -> Key:
    """All of a cell but its seed, fold and table."""
    return (cell.label, weights_of(cell), cell.recipe, cell.task.mask_grid)


def _values(figures: Floats, parts: Sequence[Sequence[int]]) -> list[dict[str, Value]]:
    """Of every row by column; figures (columns, runs) with NaN, parts the places of its runs."""
    values = [dict.fromkeys((column.key for column in COLUMNS), _NOT_MEASURED) for _ in parts]
    by_size: dict[int, list[int]] = defaultdict(list)
    for number, part in enumerate(parts):
        by_size[len(part)].append(number)
    by_size.pop(0, None)
    for numbers in by_size.values():
        taken = np.take(figures, [parts[number] for number in numbers], axis=1)
        for column, lines in zip(COLUMNS, taken, strict=True):
            for number, value in zip(numbers, _of_column(column, lines), strict=True):
                values[number][column.key] = value
    return values


def _of_column(column: Column, figures: Floats) -> list[Value]:
    """The value of every row; figures (rows, runs) with NaN where a run has none."""
    rows, runs = figures.shape
    defined = ~np.isnan(figures)
    if not defined.any():
        return [_NOT_MEASURED] * rows
    if not defined.all():
        return [
            _of_column(column, line[None, known])[0] if known.any() else _NOT_MEASURED
            for line, known in zip(figures, defined, strict=True)
        ]
    shown = figures.max(axis=1) if column.best_of_runs else figures.mean(axis=1)
    spreads = figures.std(axis=1, ddof=1).tolist() if runs > 1 else [None] * rows
    return [Value(*pair, runs) for pair in zip(shown.tolist(), spreads, strict=True)]


def _tell_apart(runs: Runs, places: Sequence[int]) -> list[str]:
    """Labels; rows that would look alike also show the recipe values in which they differ.

    Args:
        runs: of all tables.
        places: of one run of every row.
    """
    cells = [runs.cells[place] for place in places]
    alike: dict[Key, list[int]] = defaultdict(list)
    for position, (place, cell) in enumerate(zip(places, cells, strict=True)):
        alike[(cell.full_label, cell.task.backbone, runs.weights[place])].append(position)
    labels = [cell.full_label for cell in cells]
    for positions in alike.values():
        facts = [vars(cells[position].recipe) for position in positions]
        differing = [name for name in facts[0] if len({fact[name] for fact in facts}) > 1]
        for position, fact in zip(positions, facts, strict=True):
            labels[position] += "".join(f" {name}={fact[name]}" for name in differing)
    return labels
