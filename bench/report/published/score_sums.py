"""The sums from which a value of a ledger and its interval are computed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.record_values import Cost
from bench.report.records.columns import get_column
from bench.spec import Record
from bench.stats.bootstrap import (
    ScoreSums,
    mean_score,
    pooled_accuracy,
    pooled_overlap,
    pooled_quality,
)

COST_FIELDS = {field.name for field in dataclasses.fields(Cost)}


def epoch_wall_s(record: Record) -> float | None:
    """Seconds of training per epoch; None if nothing was trained, or the time is not recorded.

    It is the time of the whole training, including making the views and validation, divided by the
    number of epochs. An epoch is a pass over the augmented views, or over `recipe.epoch_images`.
    """
    if record.cost is None or record.cost.train_wall_s is None or not record.history:
        return None
    return record.cost.train_wall_s / record.history[-1]["epoch"]


def last_epoch_loss(record: Record) -> float | None:
    """Mean training loss over the last epoch; None if nothing was trained.

    Each point of the curve has the mean loss since the point before. The result is the mean of the
    points whose steps are all in the last epoch, weighted by their numbers of steps; the last point
    always counts.
    """
    points, steps, total = record.history, 0.0, 0.0
    for index, point in enumerate(points):
        before = points[index - 1] if index else {"step": 0.0, "epoch": 0.0}
        if point is points[-1] or before["epoch"] >= points[-1]["epoch"] - 1:
            steps += point["step"] - before["step"]
            total += point["loss"] * (point["step"] - before["step"])
    return total / steps if steps else None


_DERIVED = {"epoch_wall_s": epoch_wall_s, "last_epoch_loss": last_epoch_loss}
RUN_FIGURES = COST_FIELDS | _DERIVED.keys()  # of a whole run, not of its test images


def score_sums_of(
    ours: str, records: Sequence[Record], specimens: Mapping[str, str] | None = None
) -> ScoreSums | None:
    """Return the sums from which a score or a value of whole runs is computed.

    A value of a whole run, such as a cost, is not measured on specimens; it is treated as the value
    of a single specimen.

    Args:
        ours: name of the score or cost in records, or `epoch_wall_s` or `last_epoch_loss`. Only
            Dice, IoU, PQ and accuracy of all images together are pooled.
        records: the successful records of one line, for all its seeds and folds.
        specimens: name of each dataset to the one specimen whose images count; None or empty for
            all. Values of whole runs do not depend on it.

    Returns:
        The sums by seed and specimen. None if there are no records, a seed lacks a fold, the seeds
        have different images, no image is of the specimen, or a record lacks the score or value.

    Raises:
        UserError: another pooled score, such as `aji_dataset`, whose mean over images is different;
            or the score is not pooled, not of volumes, and no column has its name.
    """
    by_seed: dict[int, list[Record]] = {}
    for one in records:
        by_seed.setdefault(one.cell.seed, []).append(one)
    if not records or any(
        {one.cell.fold for one in runs_of_seed} != set(range(runs_of_seed[0].cell.folds))
        for runs_of_seed in by_seed.values()
    ):
        return None
    if ours in RUN_FIGURES:
        return _of_runs(ours, list(by_seed.values()))
    volumes = "_volume_mean" in ours
    runs = [  # the folds of a seed test every image once
        [row for one in runs_of_seed for row in (one.per_volume if volumes else one.per_image)]
        for runs_of_seed in by_seed.values()
    ]
    if not all(runs) or len({frozenset(_images(rows)) for rows in runs}) > 1:
        return None
    if any(ours not in one.metrics for one in records):
        return None
    if specimens:
        specimen = specimens.get(records[0].cell.dataset_name)
        runs = [[row for row in rows if row["group"] == specimen] for rows in runs]
        if not all(runs):
            return None
    return _of_images(ours, runs, records[0].classes)


def _of_images(
    ours: str, runs: Sequence[Sequence[Mapping[str, Any]]], classes: Sequence[str]
) -> ScoreSums:
    """The sums of a score of images or volumes; of each seed, their scores in `runs`."""
    score, _, class_name = ours.partition("/")
    if class_name and score in ("dice", "iou"):
        return pooled_overlap(runs, ("", class_name), iou=score == "iou")
    match ours:
        case "dice_dataset" | "iou_dataset":
            return pooled_overlap(runs, classes, iou=ours == "iou_dataset")
        case "pixel_accuracy":
            return pooled_accuracy(runs, classes)
        case "pq_dataset":
            return pooled_quality(runs, classes)
    measure, volumes, organ = ours.partition("_volume_mean")
    if volumes:
        organs = [organ] if organ else [f"/{name}" for name in classes[1:]]
        return mean_score(runs, *(measure + name for name in organs))
    if score.endswith("_dataset"):
        raise UserError(f"ledgers do not pool '{score}' over images: add it to score_sums_of")
    return mean_score(runs, get_column(ours).image_score or ours)


def _images(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(row["group"], row["name"]) for row in rows]


def _of_runs(ours: str, seeds: Sequence[Sequence[Record]]) -> ScoreSums | None:
    sums = []
    for runs_of_seed in seeds:
        values = [_of_run(ours, one) for one in runs_of_seed]
        known = [float(value) for value in values if value is not None]
        if len(known) < len(values):
            return None
        sums.append([[[sum(known) / len(known), 1.0]]])
    return ScoreSums(np.array(sums))


def _of_run(ours: str, record: Record) -> float | None:
    derived = _DERIVED.get(ours)
    value: float | None = derived(record) if derived else getattr(record.cost, ours, None)
    return value
