"""Compare the figures of a small grid with those of a baseline."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, TypeVar

from bench.guard.baseline import Figures, Run
from bench.stats.prediction_interval import prediction_interval

Number = TypeVar("Number", int, float)

SEEDS = 6  # of each method in a baseline
RUNS = 2  # seeds of each method in a comparison
DICE_CONFIDENCE = 0.99  # of the prediction interval of Dice
MEMORY = 0.02  # relative
SLOWER = 1.5  # times


@dataclass(frozen=True)
class Change:
    """A figure outside the limits of the baseline, as a row of the table."""

    name: str
    measure: str
    baseline: str
    now: str
    change: str = ""


def compare(
    baseline: Figures,
    now: Figures,
    unavailable: Mapping[str, str] | None = None,
    lacking: Collection[str] = (),
) -> tuple[list[Change], list[str]]:
    """The changes, and notes on what could not be compared.

    Args:
        baseline: figures of the same grid.
        now: figures of the present code.
        unavailable: files of methods that cannot be imported, with the reason.
        lacking: those of them that only need a library that is not installed; not a change.
    """
    reasons, excused = _elsewhere(baseline.env, now.env)
    gone = _gone(baseline.counts, now.counts, unavailable or {})
    absent = {name: why for name, (file, why) in gone.items() if file in lacking}
    notes = [f"not counted here: {name} ({why})" for name, why in absent.items()]
    if excused:
        measures = ", ".join(sorted(excused))
        notes.append(f"not compared: {measures} ({'; '.join(reasons)})")
    changes = [] if "contents" in excused else list(_contents(baseline.contents, now.contents))
    changes += [
        Change(name, "method", "there", why, "gone")
        for name, (_, why) in gone.items()
        if name not in absent
    ]
    changes += _counts(baseline.counts, now.counts)
    for name, runs in baseline.runs.items():
        changes += _trained(name, runs, now.runs.get(name, ()), excused)
    return changes, notes


def _elsewhere(baseline: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], set[str]]:
    """How two environments differ, in words, and the measures that cannot be compared then.

    How PyTorch splits an operation into tensors, and the relative speed of its kernels, depend on
    its version; speed also depends on the processor. Procedural images depend on all of them.
    """
    old, new = (
        {"system": env["system"], "cpu": env["cpu"], **env["packages"]} for env in (baseline, now)
    )
    apart = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    excused = {"contents"} if apart else set()
    if "torch" in apart:
        excused |= {"memory", "speed"}
    if {"system", "cpu"} & set(apart):
        excused.add("speed")
    words = [f"{name} {old.get(name)} in the baseline, {new.get(name)} here" for name in apart]
    return words, excused


def _contents(baseline: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Change]:
    for name, digest in baseline.items():
        if now.get(name) != digest:
            yield Change(name, "contents", digest[:8], str(now.get(name))[:8], "other")


def _gone(
    baseline: Collection[str], now: Collection[str], unavailable: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Methods that are missing now, each with its file, if that still exists, and the reason.

    A file whose name is not its method's has a longer name, which is not the name of a method.
    """
    gone = {}
    for name in sorted(set(baseline).difference(now)):
        longer = [f for f in unavailable if f.startswith(f"{name}_") and f not in baseline]
        file = next((file for file in (name, *longer) if file in unavailable), "")
        gone[name] = file, unavailable.get(file, "-")
    return gone


def _counts(
    baseline: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]
) -> Iterator[Change]:
    for name in sorted(now):
        if name not in baseline:
            yield Change(name, "method", "-", "there", "new")
        else:
            for measure, before in baseline[name].items():
                after = now[name][measure]
                if before != after:
                    yield Change(name, measure, f"{before:,}", f"{after:,}", f"{after - before:+,}")


def _trained(
    name: str, baseline: Sequence[Run], now: Sequence[Run], excused: Collection[str]
) -> Iterator[Change]:
    if not now:
        yield Change(name, "training", "ok", "-", "not in the grid")
        return
    failed = [run.error for run in now if run.error]
    if failed:
        yield Change(name, "training", "ok", failed[0], "failed")
        return
    scores = _known(run.dice for run in baseline)
    low, high = prediction_interval(scores, len(now), DICE_CONFIDENCE)
    scores = _known(run.dice for run in now)
    dice = fmean(scores) if len(scores) == len(now) else math.nan
    if not low <= dice <= high:  # NaN is not within the interval either
        off = dice - (low if dice < low else high)
        yield Change(name, "Dice", f"{low:.3f} to {high:.3f}", f"{dice:.3f}", f"{off:+.3f}")
    peaks = [_known(run.train_peak_bytes for run in runs) for runs in (baseline, now)]
    if peaks[0] and "memory" not in excused:
        old, new = max(peaks[0]), max(peaks[1], default=0)
        if abs(new / old - 1) > MEMORY:
            yield Change(name, "memory", f"{old:,} B", f"{new:,} B", f"{new / old - 1:+.1%}")
    ratios = [_known(run.speed_ratio for run in runs) for runs in (baseline, now)]
    if ratios[0] and not ratios[1] and "speed" not in excused:
        yield Change(name, "speed", f"{median(ratios[0]):.2f} x reference", "-", "not measured")
    elif all(ratios) and "speed" not in excused:
        usual, here = map(median, ratios)
        if usual / here > SLOWER:
            slower = f"{usual / here:.2f} x slower"
            yield Change(name, "speed", f"{usual:.2f} x reference", f"{here:.2f} x", slower)


def _known(values: Iterable[Number | None]) -> list[Number]:
    return [value for value in values if value is not None]
