"""Compute the scores of the test set again from the scores of its images in a record."""

import math
from collections.abc import Iterator

from bench.metrics.overlap import mean_defined
from bench.spec import Record
from bench.stats.bootstrap import pooled_overlap
from bench.verify.values import differences

_MEANS = {  # metric of the test set: score of the images that it is the mean of
    "dice_image_mean": "dice",
    "iou_image_mean": "iou",
    "boundary_iou": "boundary_iou",
    "hd95_pooled_px": "hd95",
    "hd95_max_px": "hd95_max",
}


def wrong_summaries(record: Record) -> Iterator[str]:
    """Compute the metrics of the test set from its images, and yield a message for each difference.

    Checked are Dice and IoU of the set, of each class and their means, and the means over images
    (`_MEANS`); no other metric. Rows from which these cannot be computed give one message. A record
    with a status other than "ok" gives none.

    Args:
        record: its `metrics` are compared with its `per_image`.
    """
    if record.status != "ok":
        return
    try:
        expected = _summarise(record)
    except (LookupError, TypeError) as error:
        yield f"the rows of its images cannot be summarised ({type(error).__name__}: {error})"
        return
    yield from differences(record.metrics, expected, "its images give")


def _summarise(record: Record) -> dict[str, float | None]:
    rows, classes = record.per_image, record.classes
    summary = {metric: mean_defined(row[score] for row in rows) for metric, score in _MEANS.items()}
    for measure in ("dice", "iou"):
        scores = [pooled_overlap([rows], ("", name), iou=measure == "iou") for name in classes]
        values = [None if math.isnan(one.value) else one.value for one in scores]
        summary |= {f"{measure}/{name}": value for name, value in zip(classes, values, strict=True)}
        summary[f"{measure}_dataset"] = mean_defined(values[1:])
    return summary
