"""Where the figures come from: the runs of every row: request, measurements and machine."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from bench.report.compare.comparison import Comparison
from bench.report.records.columns import Column
from bench.spec import Record

# Rows of single images and points of training have plots of their own.
_APART = (
    *("id", "cell", "cost", "predicted", "metrics", "env"),
    *("per_image", "per_volume", "history", "classes"),
)


def provenance_of(comparison: Comparison, records: Mapping[str, Record]) -> dict[str, Any]:
    """The records behind every row of a comparison, unrounded.

    Args:
        comparison: whose figures are explained.
        records: by the id of the cell.

    Returns:
        "slug" and "title" of the comparison; "columns": how each figure is computed from its runs;
        "runs": for each row the request, status, metrics and costs of its runs, failed ones
        included, by seed and fold; "places": machines and packages, to which runs refer by
        position. Scores of single images and volumes and the history are not included.

    Raises:
        KeyError: a record of the comparison is not in `records`.
    """
    places: dict[str, int] = {}
    return {
        "slug": comparison.slug,
        "title": comparison.title,
        "columns": {column.key: _definition(column) for column in comparison.columns},
        "runs": [
            [_run(record, places) for record in _ordered(records[name] for name in names)]
            for names in ([cell.id for cell in row.cells] for row in comparison.rows)
        ],
        "places": [json.loads(place) for place in places],
    }


def _ordered(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.cell.seed, record.cell.fold, record.cell.id))


def _definition(column: Column) -> dict[str, Any]:
    made = "the best of its runs" if column.best_of_runs else "the mean over its runs"
    return {"title": column.title, "unit": column.unit, "scale": column.scale, "made": made}


def _run(record: Record, places: dict[str, int]) -> dict[str, Any]:
    whole = record.to_dict()
    place = json.dumps(whole["env"], sort_keys=True)
    return {
        "id": record.cell.id,
        "asked": whole["cell"],
        "told": {key: value for key, value in whole.items() if key not in _APART},
        "metrics": whole["metrics"],
        "cost": whole["cost"] or {},
        "place": places.setdefault(place, len(places)),
    }
