"""Records as a data frame, one row a record."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import UserError
from bench.report.columns import COLUMNS, HARDWARE
from bench.report.packed import pack
from bench.spec import SCHEMA, Cell, Cost, Record

UNREADABLE = "unknown schema"  # status of a record that this version cannot interpret

NESTED = ("cell", "classes", "per_image", "history")  # not numbers or text: kept out of CSV

_COST_FIELDS = tuple(field.name for field in dataclasses.fields(Cost))


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record, in the units of the record.

    Columns: what was asked (`id`, `label`, `dataset`, ..., `recipe/<field>`), `status` and
    `error`, every metric and cost by its name, `env/<fact>`, and the `NESTED` ones. A record of
    another schema becomes a failure that says so: its figures may mean something else.

    Args:
        records: taken one by one; none is kept, so that a stream of many fits into memory.

    Raises:
        UserError: there are no records.
    """
    columns: dict[str, list[Any]] = {}
    count = 0
    for record in records:
        for name, value in _row(record).items():
            column = columns.setdefault(name, [])
            if len(column) < count:  # records before had no such fact
                column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    if not columns:
        raise UserError("there are no records to report; run some cells first")
    for name in (*(column.key for column in COLUMNS), *_COST_FIELDS, *HARDWARE):
        columns.setdefault(name, [])
    for name, values in columns.items():
        values.extend([None] * (count - len(values)))
        if name in NESTED:  # an object each, not a line of a table
            columns[name] = np.fromiter(values, object, count)
    frame = pd.DataFrame(columns)
    for column in COLUMNS:
        frame[column.key] = pd.to_numeric(frame[column.key])
    return frame.astype({"labels": "Int64"})


def _row(record: Record) -> dict[str, Any]:
    if record.schema != SCHEMA:
        told = f"written with schema {record.schema}, this version reads schema {SCHEMA}"
        return {**_asked(record.cell), "prompts": "none", "status": UNREADABLE, "error": told}
    cost = {} if record.cost is None else vars(record.cost)
    return {
        **_asked(record.cell),
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
        "weights": PurePath(cell.task.weights).stem,
        "image_size": cell.task.image_size,
        "protocol": cell.protocol,
        "labels": cell.labels,
        "fold": cell.fold,
        "seed": cell.seed,
        "cell": cell,
        **{f"recipe/{name}": value for name, value in vars(cell.recipe).items()},
        "classes": (),
        "per_image": (),
        "history": (),
    }
