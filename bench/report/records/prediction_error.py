"""How far predictions were from what was measured, over the records of a folder."""

import pandas as pd

from bench.wording import counted

PEAK = ("predicted/train_peak_bytes", "train_peak_bytes")
TIME = ("predicted/train_wall_s", "train_wall_s")


def prediction_error(frame: pd.DataFrame) -> str:
    """A sentence on the errors of predicted peak memory and time; "" without both in a record.

    The error of the memory is a share of the measured peak. The time is off by a factor: the larger
    of predicted and measured seconds divided by the smaller.

    Args:
        frame: of `bench.report.records.frame.to_frame`.
    """
    parts = []
    peaks = _pairs(frame, PEAK)
    if len(peaks):
        errors = (peaks["predicted"] / peaks["measured"] - 1).abs() * 100
        parts.append(
            f"the peak memory of a training step in {counted(len(errors), 'run')}: median error"
            f" {errors.median():.2g} %, largest {errors.max():.2g} % ({_worst(peaks, errors)})"
        )
    times = _pairs(frame, TIME)
    if len(times):
        ratios = times["predicted"] / times["measured"]
        factors = ratios.where(ratios >= 1, 1 / ratios)
        parts.append(
            f"the training time in {counted(len(factors), 'run')}: off by a factor of"
            f" {factors.median():.2f} (median), {factors.max():.2f} (largest,"
            f" {_worst(times, factors)})"
        )
    return f"Predicted before the runs, against measured: {'; '.join(parts)}." if parts else ""


def _pairs(frame: pd.DataFrame, columns: tuple[str, str]) -> pd.DataFrame:
    """Label, predicted and measured value of the runs that have both, above 0."""
    if not {*columns} <= {*frame.columns}:
        return pd.DataFrame()
    pairs = frame[["label", *columns]].set_axis(["label", "predicted", "measured"], axis=1)
    numbers = pairs[["predicted", "measured"]].apply(pd.to_numeric)
    return pairs.assign(**numbers)[(numbers > 0).all(axis=1)]


def _worst(pairs: pd.DataFrame, errors: pd.Series) -> str:
    return str(pairs["label"].iloc[int(errors.to_numpy().argmax())])
