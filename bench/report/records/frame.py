"""Records as a data frame, one row for each record."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.record_values import Cost
from bench.report.records.columns import COLUMNS, HARDWARE
from bench.report.records.weights import name_weights
from bench.spec import Cell, Recipe, Record, Task

NESTED = ("cell", "classes", "per_image", "history")  # not numbers or text: kept out of CSV

_RECIPE = tuple(f"recipe/{field.name}" for field in dataclasses.fields(Recipe))
_COST_FIELDS = tuple(field.name for field in dataclasses.fields(Cost))


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return a data frame with one row for each record, in the units of the record.

    Columns: the request (`id`, `label`, `dataset`, ..., `recipe/<field>`), `prompts`, `status` and
    `error`, every metric and cost by its name, `env/<fact>`, `predicted/<field>` where a run was
    predicted, and the `NESTED` ones. Values that a record does not have are missing (None or NaN).
    All of `COLUMNS`, costs and `HARDWARE` exist; `test_dataset`, `split`, predictions and other
    metrics and facts only if a record has them. `weights` holds the names of `name_weights`. Scores
    of single volumes are not included.

    Args:
        records: successful and failed ones, in the order of the rows.

    Raises:
        UserError: there are no records.
    """
    rows = [_row(record) for record in records]
    if not rows:
        raise UserError("there are no records to report; run some cells first")
    names = dict.fromkeys(name for row in rows for name in row)  # in order of first appearance
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in names}
    columns["weights"] = name_weights(columns["cell"])
    for name in (*(column.key for column in COLUMNS), *_COST_FIELDS, *HARDWARE):
        columns.setdefault(name, [None] * len(rows))
    frame = pd.DataFrame(columns)
    for column in COLUMNS:
        frame[column.key] = pd.to_numeric(frame[column.key])
    return frame.astype({"labels": "Int64"})


def _row(record: Record) -> dict[str, Any]:
    cost = {} if record.cost is None else vars(record.cost)
    return {
        **_request(record.cell),
        "prompts": record.prompts,
        "status": record.status,
        "error": record.error,
        **record.metrics,
        **cost,
        **dict(_facts("env", record.env)),
        **dict(_facts("predicted", vars(record.predicted) if record.predicted else {})),
        "classes": record.classes,
        "per_image": record.per_image,
        "history": record.history,
    }


def _facts(prefix: str, facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Nested facts under one name each, as in `env/packages/torch`."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _facts(f"{prefix}/{name}", value)
        else:
            yield f"{prefix}/{name}", value


def _request(cell: Cell) -> dict[str, Any]:
    grid = cell.task.mask_grid
    return {
        "id": cell.id,
        "label": cell.label,
        "method": cell.method,
        "dataset": cell.dataset_name,
        **({"test_dataset": cell.tested_name} if cell.test_dataset else {}),
        **({"split": cell.split} if cell.split else {}),
        "backbone": cell.task.backbone,
        "weights": cell.task.weights,
        "image_size": cell.task.image_size,
        **({"mask_grid": grid} if grid != Task.mask_grid else {}),
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
