"""Compare two results folders from Python."""

from pathlib import Path

from bench.report.compare.before_after import BeforeAfter, compare_records, get_metric
from bench.run.folders import find_records, stream_records


def compare_results(before: str | Path, after: str | Path, *, metric: str = "dice") -> BeforeAfter:
    """Compare the scores of two results folders: before and after a change, or mine and theirs.

    Runs are paired by their request: method with options, dataset, backbone, weights, image size,
    protocol, labels, fold and seed; recipe and fingerprints only decide between several candidates.
    Each row holds the pairs that differ in seed and fold only. Differences are tested over
    specimens, by the signed-rank test with Holm's correction for all rows.

    Args:
        before: results folder.
        after: results folder.
        metric: a score of single images, such as "dice", "iou", "boundary_iou", "hd95" or "pq".

    Returns:
        The rows with differences, intervals and outcomes; the cells that are only on one side; and
        notes on code and machine. Values are in the units of records.

    Raises:
        UserError: there is no such metric, a folder has no records, or a file is not a record.

    Example:
        >>> comparison = bench.compare_results("results/before", "results/after")
        >>> [(row.label, row.difference, row.outcome) for row in comparison.rows]
    """
    column = get_metric(metric)
    earlier, later = (find_records([Path(folder)]) for folder in (before, after))
    return compare_records(stream_records(earlier), stream_records(later), column)
