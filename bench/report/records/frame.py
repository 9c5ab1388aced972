"""Records as a data frame, one row a record."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.errors import UserError
from bench.report.records.columns import COLUMNS, HARDWARE
from bench.report.records.packed import pack
from bench.report.records.weights import name_weights
from bench.spec import Cell, Cost, Recipe, Record

NESTED = ("cell", "classes", "per_image", "history")  # not numbers or text: kept out of CSV

_Values = list[Any] | npt.NDArray[Any]

_BATCH = 1024  # records whose values are held one by one

_RECIPE = tuple(f"recipe/{field.name}" for field in dataclasses.fields(Recipe))
_COST_FIELDS = tuple(field.name for field in dataclasses.fields(Cost))


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record, in the units of the record.

    Columns: what was asked (`id`, `label`, `dataset`, ..., `recipe/<field>`), `status` and
    `error`, every metric and cost by its name, `env/<fact>`, and the `NESTED` ones.

    Args:
        records: taken one by one; none is kept, so that a stream of many fits into memory.

    Raises:
        UserError: there are no records.
    """
    names: dict[str, None] = {}  # in the order in which they turn up
    batches = []
    known: dict[str, Any] = {}
    rows = (_row(record, known) for record in records)
    while batch := list(islice(rows, _BATCH)):
        names |= dict.fromkeys(name for row in batch for name in row)
        batches.append({name: _packed([row.get(name) for row in batch]) for name in names})
    if not batches:
        raise UserError("there are no records to report; run some cells first")
    sizes = [len(batch["id"]) for batch in batches]
    columns = {
        name: _joined(name, [b.pop(name, [None] * n) for b, n in zip(batches, sizes, strict=True)])
        for name in names
    }
    columns["weights"] = name_weights(list(columns["cell"]))
    for name in (*(column.key for column in COLUMNS), *_COST_FIELDS, *HARDWARE):
        columns.setdefault(name, [None] * sum(sizes))
    frame = pd.DataFrame(columns)
    for column in COLUMNS:
        frame[column.key] = pd.to_numeric(frame[column.key])
    return frame.astype({"labels": "Int64"})


def _sharing(cell: Cell, known: dict[str, Any]) -> Cell:
    """The same cell; a task and a recipe like one before are that one, for many are alike."""
    parts = {
        name: known.setdefault(name + repr(tuple(vars(part).values())), part)
        for name, part in (("task", cell.task), ("recipe", cell.recipe))
    }
    return Cell(**{**vars(cell), **parts})


def _packed(values: list[Any]) -> _Values:
    """Numbers take a quarter of the memory as an array, equal texts that of one."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return np.array(values)
    known: dict[str, str] = {}
    return [known.setdefault(value, value) for value in values] if kinds == {str} else values


def _joined(name: str, parts: list[_Values]) -> _Values:
    """The values of all batches; those of `NESTED` columns are objects, not tables."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    values = [value for part in parts for value in part]
    return np.fromiter(values, object, len(values)) if name in NESTED else values


def _row(record: Record, known: dict[str, Any]) -> dict[str, Any]:
    cost = {} if record.cost is None else vars(record.cost)
    return {
        **_asked(_sharing(record.cell, known)),
        "prompts": record.prompts,
        "status": record.status,
        "error": record.error,
        **record.metrics,
        **cost,
        **dict(_facts("env", record.env)),
        "classes": record.classes,
        "per_image": pack(record.per_image),
        "history": pack(record.history),
    }


def _facts(prefix: str, facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Nested facts under one name each, as in `env/packages/torch`."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _facts(f"{prefix}/{name}", value)
        else:
            yield f"{prefix}/{name}", value


def _asked(cell: Cell) -> dict[str, Any]:
    return {
        "id": cell.id,
        "label": cell.label,
        "method": cell.method,
        "dataset": cell.dataset_name,
        "backbone": cell.task.backbone,
        "weights": cell.task.weights,
        "image_size": cell.task.image_size,
        "protocol": cell.protocol,
        "labels": cell.labels,
        "fold": cell.fold,
        "seed": cell.seed,
        "cell": cell,
        **dict(zip(_RECIPE, vars(cell.recipe).values(), strict=True)),
        "classes": (),
        "per_image": (),
        "history": (),
    }
