"""Differences of methods and losses from a baseline, each with the cause that it shows.

What follows from another difference is left out: a skipped block also changes the logits, a frozen
module also makes the checkpoint smaller.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.guard.fingerprint import LOSS, Fingerprint
from bench.guard.trace import part_of

# Largest relative differences between machines; how they were measured: docs/benchmarks.md.
# The first of each pair is for values before the first optimiser step, the second for those after.
LOGITS, LOSSES, GRADIENTS = (1e-4, 0.15), (1e-5, 5e-3), (5e-3, 0.3)
SMALL_SHARE = 1e-2  # gradients below this share of the whole norm are compared relative to it

Counts = Mapping[str, int]
Differences = list["Difference"]


@dataclass(frozen=True)
class Difference:
    """One way in which a method, or a loss, differs from the baseline.

    Attributes:
        name: of the method or the loss.
        cause: what differs, in words that are the same for every method concerned.
        count: size of the change of a count, above 0; 0 if the difference is not one of a count.
        ratio: for an input or output of a module, its present norm divided by that of the baseline;
            None for all else, or if the norm was 0.
    """

    name: str
    cause: str
    count: int = 0
    ratio: float | None = None


def method_differences(
    name: str,
    counts: tuple[Counts, Counts],
    prints: tuple[Fingerprint, Fingerprint],
    exact: bool,
    changed_losses: Collection[str] = (),
) -> Differences:
    """Differences of a method, without those that follow from others; empty if there are none.

    Args:
        name: of the method.
        counts: of the baseline and of the present code, by "part: measure".
        prints: the same of its fingerprints.
        exact: whether both are from the same machine.
        changed_losses: names of loss functions that differ by themselves; what follows from them in
            the training is left out.
    """
    old, new = counts
    deltas = {key: new.get(key, 0) - old.get(key, 0) for key in {**old, **new}}
    deltas = {key: delta for key, delta in deltas.items() if delta}
    structure: Differences = []
    values: Differences = []
    if prints_differ(*prints, exact):
        structure = [*_calls(name, *prints, deltas), *_no_longer_trained(name, *prints, deltas)]
        if not structure:
            values = _first_divergence(name, *prints, exact, changed_losses)
    return [*structure, *_counts(name, deltas, bool(structure)), *values]


def loss_differences(
    old: Mapping[str, Sequence[float]], new: Mapping[str, Sequence[float]], exact: bool
) -> Differences:
    """Differences of the loss functions by themselves, on fixed logits, sorted by name.

    Args:
        old: result of `loss_values` in the baseline.
        new: result of the present code.
        exact: whether both are from the same machine, so that all digits must be equal.
    """
    differences = []
    for name in sorted(set(old) | set(new)):
        if name not in old or name not in new:
            cause = "loss function is new" if name in new else "loss function no longer exists"
            differences.append(Difference(name, cause))
        elif apart(old[name][2:], new[name][2:], LOSSES[0]) == math.inf:
            cause = "loss is not finite where a class is neither labelled nor predicted"
            differences.append(Difference(name, cause))
        elif apart(old[name], new[name], _limit(exact, LOSSES[0])):
            differences.append(Difference(name, "loss or its gradient differs on fixed logits"))
    return differences


def prints_differ(old: Fingerprint, new: Fingerprint, exact: bool) -> bool:
    """Whether logits, losses or gradients of two fingerprints differ; `modules` do not count.

    Args:
        old: of the baseline.
        new: of the present code.
        exact: whether both are from the same machine, so that all bits must be equal; otherwise
            they differ if a value is outside the limits of this module.
    """
    if exact:
        return old.digest != new.digest
    return bool(
        _logits(old, new, 0, exact)
        or apart(old.losses[:1], new.losses[:1], LOSSES[0])
        or _gradients(old, new, 0, exact)
        or _logits(old, new, 1, exact)
        or apart(old.losses[1:], new.losses[1:], LOSSES[1])
        or _gradients(old, new, 1, exact)
    )


def apart(old: Sequence[float], new: Sequence[float], limit: float) -> float:
    """Largest difference of two lists of values, relative to the root mean square of `old`.

    Args:
        old: values; infinite ones and NaN are left out if both lists have them in the same places.
        new: as many values.
        limit: relative difference that is allowed.

    Returns:
        0 if the relative difference is within the limit, otherwise that difference. It is infinite
        if the lengths differ, if only one of two values is finite, or if all of `old` are 0 and not
        all of `new`.
    """
    if len(old) != len(new):
        return math.inf
    pairs = list(zip(old, new, strict=True))
    if any(math.isfinite(a) != math.isfinite(b) for a, b in pairs):
        return math.inf
    pairs = [(a, b) for a, b in pairs if math.isfinite(a)]
    size = math.sqrt(sum(a * a for a, _ in pairs) / max(1, len(pairs)))
    largest = max((abs(a - b) for a, b in pairs), default=0.0)
    if not largest:
        return 0.0
    relative = largest / size if size else math.inf
    return relative if relative > limit else 0.0


def _limit(exact: bool, limit: float) -> float:
    return 0.0 if exact else limit


def _logits(old: Fingerprint, new: Fingerprint, step: int, exact: bool) -> float:
    """How far the logits after `step` steps are apart; 0 within the limit."""
    if len(old.logits) != len(new.logits):
        return math.inf
    if step >= len(old.logits):  # a method that does not train
        return 0.0
    limit = _limit(exact, LOGITS[step])
    return apart(old.logits[step], new.logits[step], limit)


def _gradients(old: Fingerprint, new: Fingerprint, step: int, exact: bool) -> list[str]:
    """Owners of parameters whose gradient norms in `step` are apart."""
    if set(old.gradients) != set(new.gradients):
        return sorted(set(old.gradients) ^ set(new.gradients))
    whole = math.sqrt(sum(norms[step] ** 2 for norms in old.gradients.values()))
    limit = _limit(exact, GRADIENTS[step])
    different = []
    for owner, norms in old.gradients.items():
        before, now = norms[step], new.gradients[owner][step]
        floor = 0.0 if exact else SMALL_SHARE * whole
        if not abs(now - before) <= limit * max(before, floor):  # true for NaN, too
            different.append(owner)
    return different


def _calls(
    name: str, old: Fingerprint, new: Fingerprint, deltas: dict[str, int]
) -> Iterator[Difference]:
    """Modules that run more or less often; takes what follows from it out of `deltas`."""
    times = {
        path: tuple(len(p.modules.get(path, ())) // 2 for p in (old, new))
        for path in {**old.modules, **new.modules}
    }
    changed = {path for path, (before, now) in times.items() if before != now}
    for path in sorted(changed):
        if any(path.startswith(f"{other}.") for other in changed):
            continue  # inside another one
        part, (before, now) = part_of(path), times[path]
        inside = path.partition(".")[2] or path
        cause = f"{part}: {inside} runs {_often(now)} instead of {_often(before)}"
        flops = deltas.pop(f"{part}: forward FLOPs", 0)
        for key in [key for key in deltas if key.startswith(f"{part}: ")]:
            del deltas[key]
        yield Difference(name, f"{cause}{_direction(', forward FLOPs', flops)}", abs(flops))


def _often(times: int) -> str:
    return {0: "never", 1: "once"}.get(times, f"{times} times")


def _no_longer_trained(
    name: str, old: Fingerprint, new: Fingerprint, deltas: dict[str, int]
) -> Iterator[Difference]:
    """Modules that lost or gained a gradient; takes what follows from it out of `deltas`."""
    for owner in sorted(set(old.gradients) ^ set(new.gradients)):
        state = "is no longer trained" if owner in old.gradients else "is trained now"
        delta = deltas.pop(f"{part_of(owner.replace(':', '.'))}: trainable parameters", 0)
        words = _direction(", trainable parameters", delta)
        yield Difference(name, f"{owner} {state}{words}", abs(delta))


def _counts(name: str, deltas: Mapping[str, int], explained: bool) -> Iterator[Difference]:
    """Counts that differ, apart from those that follow from other counts."""
    parts = {key: delta for key, delta in deltas.items() if not key.startswith(WHOLE)}
    for key, delta in (parts or ({} if explained else deltas)).items():
        part, _, measure = key.partition(": ")
        if measure == "trainable parameters" and deltas.get(f"{part}: parameters") == delta:
            continue  # new parameters that are all trained
        yield Difference(name, _direction(key, delta), abs(delta))


WHOLE = ("training step: ", "checkpoint: ")  # counts of the whole model, which follow from others


def _direction(words: str, delta: int) -> str:
    return f"{words} {'higher' if delta > 0 else 'lower'}" if delta else ""


def _first_divergence(
    name: str, old: Fingerprint, new: Fingerprint, exact: bool, changed_losses: Collection[str]
) -> Differences:
    """The first value of the forward pass and the training step that differs."""
    for path, index in new.trace.events:
        before, now = old.modules[path][index], new.modules[path][index]
        if apart([before], [now], _limit(exact, LOGITS[0])):
            side = "output" if index % 2 else "input"
            cause = f"{part_of(path)}: {side} of {new.trace.kinds[path]} differs"
            return [Difference(name, cause, ratio=now / before if before else None)]
    if _logits(old, new, 0, exact):
        return [Difference(name, "logits differ")]
    if apart(old.losses[:1], new.losses[:1], _limit(exact, LOSSES[0])):
        differs = Difference(name, "loss of the first training step differs")
        return [] if LOSS in changed_losses else [differs]
    owners = _gradients(old, new, 0, exact)
    if owners:
        cause = f"gradients of the first step differ in {', '.join(owners)}"
        return [] if LOSS in changed_losses else [Difference(name, cause)]
    if _logits(old, new, 1, exact) or old.losses != new.losses or old.gradients != new.gradients:
        return [Difference(name, "result of the first optimiser step differs")]
    return [Difference(name, "only the last digits of logits or gradients differ")]
