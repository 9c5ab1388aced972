"""Compare the figures of the present code with those of a baseline."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, TypeVar

from bench.guard.baseline import Figures, Run
from bench.guard.differences import Difference, loss_differences, method_differences
from bench.guard.machine import same_machine
from bench.stats.prediction_interval import prediction_interval
from bench.wording import counted

Number = TypeVar("Number", int, float)

SEEDS = 6  # of each method in a baseline
RUNS = 1  # seeds of each method in a comparison
DICE_CONFIDENCE = 0.99  # of the prediction interval of Dice
MEMORY = 0.02  # relative
SLOWER = 1.5  # times


@dataclass(frozen=True)
class Change:
    """What differs from the baseline, and for which methods.

    Attributes:
        text: one line.
        cause: what differs, without its size and the names.
        names: of the methods, the losses, or the entries of `Figures.contents`.
    """

    text: str
    cause: str
    names: tuple[str, ...]


def compare(
    baseline: Figures,
    now: Figures,
    unavailable: Mapping[str, str] | None = None,
    lacking: Collection[str] = (),
) -> tuple[list[Change], list[str]]:
    """The changes, one for each cause, and notes on what could not be compared.

    Args:
        baseline: figures of the same grid, with two seeds or more of each method.
        now: figures of the present code; its runs have the first seeds of the baseline.
        unavailable: files of methods that cannot be imported, with the reason.
        lacking: those of them that only need a library that is not installed; not a change.

    Returns:
        The changes: failed, new and missing methods, counts and contents that differ, and values
        that differ in any digit on the baseline's machine, or by more than the limits (here and in
        `bench.guard.differences`) on another one; memory and speed always have limits. And the
        notes: what was not compared, or not digit by digit, because the environment differs.
    """
    exact = same_machine(baseline.env, now.env)
    trained_env = baseline.runs_env or baseline.env
    reasons, excused = _elsewhere(trained_env, now.env)
    gone = _gone(baseline.counts, now.counts, unavailable or {})
    absent = {name: why for name, (file, why) in gone.items() if file in lacking}
    notes = [f"not compared here: {name} ({why})" for name, why in absent.items()]
    if not exact:
        notes.append("another machine than the baseline's: limits instead of equal digits")
    if excused:
        measures = ", ".join(sorted(excused))
        notes.append(f"not compared: {measures} ({'; '.join(reasons)})")
    losses = loss_differences(baseline.losses, now.losses, exact)
    contents = [] if "contents" in excused else list(_contents(baseline.contents, now.contents))
    differences = [
        Difference(name, f"method no longer exists ({why})" if why != "-" else GONE)
        for name, (_, why) in gone.items()
        if name not in absent
    ]
    differences += [Difference(name, why) for name, why in now.failures.items()]
    changed_losses = {difference.name for difference in losses}
    for name in sorted({*baseline.counts} & {*now.counts} & {*now.fingerprints}):
        counts = baseline.counts[name], now.counts[name]
        prints = baseline.fingerprints[name], now.fingerprints[name]
        differences += method_differences(name, counts, prints, exact, changed_losses)
    new = sorted({*now.counts} - {*baseline.counts})
    differences += [Difference(name, "method is new: not in the baseline") for name in new]
    same_runs = same_machine(trained_env, now.env)
    for name, runs in baseline.runs.items():
        differences += _trained(name, runs, now.runs.get(name, ()), excused, same_runs)
    groups = (contents, "input"), (losses, "loss function"), (differences, "method")
    return [change for group, noun in groups for change in _grouped(group, noun)], notes


GONE = "method no longer exists"


def _grouped(differences: Iterable[Difference], noun: str) -> list[Change]:
    """One change for each cause, with its sizes and the names concerned."""
    causes: dict[str, list[Difference]] = defaultdict(list)
    for difference in differences:
        causes[difference.cause].append(difference)
    changes = []
    for cause, group in causes.items():
        names = tuple(difference.name for difference in group)
        text = f"{cause}{_sizes(group)} in {counted(len(names), noun)}: {', '.join(names)}"
        changes.append(Change(text, cause, names))
    return changes


def _sizes(group: Sequence[Difference]) -> str:
    """By how much: one size, or the most frequent one and the range of the others."""
    counts = Counter(difference.count for difference in group if difference.count)
    if counts:
        (most, times), *_ = counts.most_common(1)
        others = sorted(set(counts) - {most})
        if not others:
            return f" by {most:,}"
        ends = f"{others[0]:,}" + (f" to {others[-1]:,}" if len(others) > 1 else "")
        return f" by {most:,} ({times} times) or {ends}"
    ratios = sorted({d.ratio for d in group if d.ratio is not None})
    if not ratios:
        return ""
    words = list(dict.fromkeys(f"{ratio:.4g}" for ratio in (ratios[0], ratios[-1])))
    return f" (norm {' to '.join(words)} times the baseline's)"


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


def _contents(baseline: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Difference]:
    for name, digest in baseline.items():
        if now.get(name) != digest:
            yield Difference(name, "contents differ from the baseline's (SHA-256)")


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


def _trained(
    name: str, baseline: Sequence[Run], now: Sequence[Run], excused: Collection[str], exact: bool
) -> Iterator[Difference]:
    if not now:
        yield Difference(name, "training: not in the grid any more")
        return
    failed = [run.error for run in now if run.error]
    if failed:
        yield Difference(name, f"training failed: {failed[0]}")
        return
    scores, here = (_known(run.dice for run in runs) for runs in (baseline, now))
    low, high = prediction_interval(scores, len(now), DICE_CONFIDENCE)
    dice = fmean(here) if len(here) == len(now) else math.nan
    before = [run.dice for run in baseline[: len(now)]]
    if exact and before != [run.dice for run in now]:
        words = f"{fmean(scores[: len(now)]):.6f} in the baseline, {dice:.6f} now"
        yield Difference(name, f"training: Dice of the same seeds differs, {words},")
    elif not low <= dice <= high:  # NaN is not within the interval either
        words = f"{dice:.3f} instead of {low:.3f} to {high:.3f}"
        yield Difference(name, f"training: Dice is {words}")
    peaks = [_known(run.train_peak_bytes for run in runs) for runs in (baseline, now)]
    if peaks[0] and "memory" not in excused:
        old, new = max(peaks[0]), max(peaks[1], default=0)
        if abs(new / old - 1) > MEMORY:
            words = f"{old:,} B in the baseline, {new:,} B now"
            yield Difference(name, f"training: peak memory {new / old - 1:+.1%}, {words},")
    yield from _slower(name, baseline, now, excused)


def _slower(
    name: str, baseline: Sequence[Run], now: Sequence[Run], excused: Collection[str]
) -> Iterator[Difference]:
    ratios = [_known(run.speed_ratio for run in runs) for runs in (baseline, now)]
    if not ratios[0] or "speed" in excused:
        return
    if not ratios[1]:
        yield Difference(name, "training: speed was not measured")
        return
    usual, here = map(median, ratios)
    if usual / here > SLOWER:
        words = f"{usual:.2f} of the reference step in the baseline, {here:.2f} now"
        yield Difference(name, f"training: speed {usual / here:.2f} times slower, {words},")


def _known(values: Iterable[Number | None]) -> list[Number]:
    return [value for value in values if value is not None]
