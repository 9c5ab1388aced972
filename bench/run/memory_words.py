"""Sentences on predicted memory: a warning before a run, the error of one that ran out of it."""

from dataclasses import replace

from bench.record_values import PredictedCost
from bench.spec import Cell, Record


def memory_warning(cell: Cell, predicted: PredictedCost) -> str:
    """A sentence on a run that does not fit, or may not; "" for one that fits or is not known."""
    if predicted.fits in (None, "fits") or predicted.run_peak_bytes is None:
        return ""
    where = "" if cell.task.backbone == "none" else f" on {cell.task.backbone}"
    verb = "does not fit" if predicted.fits == "no" else "may not fit"
    return f"{cell.label}{where} {verb}: {_amounts(predicted, 'are')}; {_way_out(predicted)}"


def explain(record: Record, predicted: PredictedCost, smaller: str | None = None) -> Record:
    """The record of a run that ran out of memory, with its prediction; the error names it.

    Args:
        record: with the status "oom", or "failed" where the system may have killed the process.
        predicted: what was predicted before the run.
        smaller: of `bench.run.predictor.send_smaller_change`, where the prediction fits.
    """
    words = [record.error or "out of memory", _amounts(predicted, "were")]
    if predicted.fits == "fits":
        words.append(f"{smaller} needs less" if smaller else "")
    elif predicted.fits is not None:
        words.append(_way_out(predicted))
    return replace(record, predicted=predicted, error="; ".join(filter(None, words)))


def _way_out(predicted: PredictedCost) -> str:
    if predicted.reason:
        return f"the search of a change ended ({predicted.reason})"
    if predicted.change is None:
        return "no change of the recipe makes it fit"
    return f"{predicted.change} makes it fit"


def _amounts(predicted: PredictedCost, verb: str) -> str:
    """As "the predicted peak is 9.3 GiB, 7.9 GiB were free"; "" if neither is known."""
    parts = []
    if predicted.run_peak_bytes is not None:
        parts.append(f"the predicted peak is {gib(predicted.run_peak_bytes)}")
    if predicted.available_bytes is not None:
        parts.append(f"{gib(predicted.available_bytes)} {verb} free")
    return ", ".join(parts)


def gib(size: int) -> str:
    """Bytes in words, as "9.3 GiB" or "0.25 GiB"."""
    return f"{size / 2**30:.2g} GiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
