"""One row of a comparison: the runs of one method that differ in seed and fold only."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from bench.report.columns import COLUMNS, Column
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


@dataclass(frozen=True, eq=False)
class Row:
    """Runs that differ in seed and fold only.

    Attributes:
        label: the method with its non-default options, and what else tells it from other rows.
        prompts: where prompts came from.
        records: the rows of the frame, failed ones included.
        ok: those that ended well.
        values: by `Column.key`.
    """

    label: str
    backbone: str
    weights: str
    prompts: str
    records: pd.DataFrame
    ok: pd.DataFrame
    values: Mapping[str, Value]

    @property
    def complete(self) -> bool:
        """Whether every run ended well."""
        return len(self.ok) == len(self.records)

    @property
    def status(self) -> str:
        """How many runs ended how, as in `2 ok, 1 oom`."""
        counts = Counter(self.records["status"])
        return ", ".join(
            f"{counts[name]} {name}"
            for name in sorted(counts, key=lambda name: (name != "ok", name))
        )

    @property
    def name(self) -> str:
        """Label, backbone and weights in one phrase."""
        return f"{self.label} ({self.backbone}, {self.weights})"


def gather(records: pd.DataFrame) -> list[Row]:
    """The rows of one table.

    Runs whose prompts came from different places never share a row. A failed run may have ended
    before its prompts were known: it joins the runs of the same cell that ended well.
    """
    groups: dict[Key, list[Any]] = defaultdict(list)
    for index, status, cell, prompts in zip(
        records.index, records["status"], records["cell"], records["prompts"], strict=True
    ):
        if status == "ok":
            groups[(*_identity(cell), prompts)].append(index)
    known = {key[:-1]: key for key in groups}
    for index, status, cell, prompts in zip(
        records.index, records["status"], records["cell"], records["prompts"], strict=True
    ):
        if status != "ok":
            identity = _identity(cell)
            groups[known.get(identity, (*identity, prompts))].append(index)
    parts = [records.loc[sorted(indices)] for indices in groups.values()]
    labels = _tell_apart([cast(Cell, part["cell"].iloc[0]) for part in parts])
    return [
        _row(label, key[-1], part) for label, key, part in zip(labels, groups, parts, strict=True)
    ]


def _identity(cell: Cell) -> Key:
    """All of a cell but its seed, fold and table."""
    task = cell.task
    return (cell.label, task.backbone, task.weights, cell.weights_sha, cell.recipe)


def _row(label: str, prompts: str, records: pd.DataFrame) -> Row:
    ok = records[records["status"] == "ok"]
    first = records.iloc[0]
    values = {column.key: _value(ok[column.key], column) for column in COLUMNS}
    return Row(label, first["backbone"], first["weights"], prompts, records, ok, values)


def _value(figures: "pd.Series[float]", column: Column) -> Value:
    defined = figures.dropna()
    if defined.empty:
        return Value(None, None, 0)
    spread = float(defined.std()) if len(defined) > 1 else None
    figure = defined.max() if column.best_of_runs else defined.mean()
    return Value(float(figure), spread, len(defined))


def _tell_apart(cells: Sequence[Cell]) -> list[str]:
    """Labels; rows that would look alike also show the recipe or weights in which they differ."""
    alike: dict[Key, list[int]] = defaultdict(list)
    for position, cell in enumerate(cells):
        alike[(cell.label, cell.task.backbone, cell.task.weights)].append(position)
    labels = [cell.label for cell in cells]
    for positions in alike.values():
        facts = [
            {**dataclasses.asdict(cells[p].recipe), "weights_sha": cells[p].weights_sha[:8]}
            for p in positions
        ]
        differing = [name for name in facts[0] if len({fact[name] for fact in facts}) > 1]
        for position, fact in zip(positions, facts, strict=True):
            labels[position] += "".join(f" {name}={fact[name]}" for name in differing)
    return labels
