"""The sums from which a value of a ledger and its interval are computed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.report.records.columns import get_column
from bench.spec import Cost, Record
from bench.stats.bootstrap import (
    ScoreSums,
    mean_score,
    pooled_accuracy,
    pooled_overlap,
    pooled_quality,
)

COST_FIELDS = {field.name for field in dataclasses.fields(Cost)}


def score_sums_of(ours: str, records: Sequence[Record]) -> ScoreSums | None:
    """Return the sums from which a score or cost of some runs is computed.

    A cost is not measured on specimens; it is treated as the value of a single specimen.

    Args:
        ours: name of the score or cost in records.
        records: the successful records of one line, for all its seeds and folds.

    Returns:
        None if there are no records, if a seed lacks folds or images that another has, or if a
        record is older than the score.
    """
    by_seed: dict[int, list[Record]] = {}
    for one in records:
        by_seed.setdefault(one.cell.seed, []).append(one)
    if not records or any(
        {one.cell.fold for one in runs_of_seed} != set(range(runs_of_seed[0].cell.folds))
        for runs_of_seed in by_seed.values()
    ):
        return None
    if ours in COST_FIELDS:
        return _cost(ours, list(by_seed.values()))
    measure, volumes, organ = ours.partition("_volume_mean")
    runs = [  # the folds of a seed test every image once
        [row for one in runs_of_seed for row in (one.per_volume if volumes else one.per_image)]
        for runs_of_seed in by_seed.values()
    ]
    if not all(runs) or len({frozenset(_images(rows)) for rows in runs}) > 1:
        return None
    if any(ours not in one.metrics for one in records):
        return None
    classes = records[0].classes
    match ours:
        case "dice_dataset" | "iou_dataset":
            return pooled_overlap(runs, classes, iou=ours == "iou_dataset")
        case "pixel_accuracy":
            return pooled_accuracy(runs, classes)
        case "pq_dataset":
            return pooled_quality(runs, classes)
    if volumes:
        organs = [organ] if organ else [f"/{name}" for name in classes[1:]]
        return mean_score(runs, *(measure + name for name in organs))
    return mean_score(runs, get_column(ours).image_score or ours)


def _images(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(row["group"], row["name"]) for row in rows]


def _cost(ours: str, seeds: Sequence[Sequence[Record]]) -> ScoreSums | None:
    sums = []
    for runs_of_seed in seeds:
        values = [getattr(one.cost, ours, None) for one in runs_of_seed]
        known = [float(value) for value in values if value is not None]
        if len(known) < len(values):
            return None
        sums.append([[[sum(known) / len(known), 1.0]]])
    return ScoreSums(np.array(sums))
