"""The race: which methods get further runs, and which were dropped when and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bench.choice.arms import Evidence, uses_validation
from bench.choice.criterion import Criterion
from bench.choice.margins import (
    margin,
    planned_looks,
    run_spread,
    significantly_worse,
    specimen_differences,
)
from bench.spec import Cell
from bench.stats.paired import Floats
from bench.wording import counted

Cause = Literal["test", "margin", "limit", "failed", "no score", "prompts"]


@dataclass(frozen=True)
class Measured:
    """Limits on values that a run measures; None for no limit.

    Attributes:
        max_params: largest number of parameters of the whole model.
        min_speed: smallest number of images per second in inference.
    """

    max_params: int | None = None
    min_speed: float | None = None


NO_LIMITS = Measured()


@dataclass(frozen=True)
class Dropped:
    """A method that left the race.

    Attributes:
        evidence: its scores.
        runs: number of runs after which it left; 0 if it had none.
        cause: the kind of reason.
        reason: a phrase.
        behind: merit of the best minus its own when it left; None for other causes.
    """

    evidence: Evidence
    runs: int
    cause: Cause
    reason: str
    behind: float | None = None


@dataclass(frozen=True)
class Race:
    """The state of a race.

    Attributes:
        criterion: what methods are compared by.
        alive: the methods still in the race, in the order of the request.
        dropped: the others, in the order in which they left.
        missing: cells that must run next, in the order in which they should; empty at the end.
        rounds: number of runs that every method in the race has.
        evidence: all methods of the request.
    """

    criterion: Criterion
    alive: tuple[Evidence, ...]
    dropped: tuple[Dropped, ...]
    missing: tuple[Cell, ...] = ()
    rounds: int = 0
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)


def hold_race(
    evidence: Sequence[Evidence],
    criterion: Criterion,
    comebacks: Mapping[str, float],
    limits: Measured = NO_LIMITS,
) -> Race:
    """Follow the race through the records that exist.

    Every method gets run 0, in the order given. After the planned looks, methods that are behind
    get no further runs. The race ends when one method is left, or when those left have all runs.

    Args:
        evidence: the methods with their scores, in the order in which they should run.
        criterion: what they are compared by.
        comebacks: see `bench.choice.margins.margin`.
        limits: on measured values.
    """
    alive, dropped = _by_prompts(evidence)
    rounds = min((len(one.arm.cells) for one in alive), default=0)
    looks = planned_looks(rounds)
    completed = 0
    for run in range(rounds):
        missing = [one.arm.cells[run] for one in alive if not one.done(run)]
        if missing:
            return Race(
                criterion, tuple(alive), tuple(dropped), tuple(missing), completed, tuple(evidence)
            )
        alive = _without_unusable(alive, run, limits, criterion, dropped)
        completed = run + 1
        if completed in looks and len(alive) > 1:
            alive = _look(alive, completed, comebacks, criterion, dropped)
        if len(alive) <= 1:
            break
    return Race(criterion, tuple(alive), tuple(dropped), (), completed, tuple(evidence))


def mean_selection(one: Evidence, runs: Sequence[int]) -> float | None:
    """Mean selection merit over those of the runs that it has; None if it has none."""
    values = [one.runs[run].selection for run in runs if run in one.runs]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def selections(evidence: Sequence[Evidence], runs: Sequence[int]) -> Floats:
    """Selection merits (methods, runs); every method has them."""
    return np.array([[one.runs[run].selection for run in runs] for one in evidence], np.float64)


def _by_prompts(evidence: Sequence[Evidence]) -> tuple[list[Evidence], list[Dropped]]:
    """Methods of one prompt origin, as in tables; those without prompts if there are any."""
    origins = {one.arm.prompts for one in evidence} - {"oracle"}
    kept = "none" if "none" in origins else "automatic"
    reasons = {
        "oracle": "its prompts are made from the ground truth, which you do not have",
        "automatic": "it works with prompts, and is not ranked with methods that need none",
    }
    alive = [one for one in evidence if one.arm.prompts == kept]
    dropped = [
        Dropped(one, 0, "prompts", reasons[one.arm.prompts])
        for one in evidence
        if one.arm.prompts != kept
    ]
    return alive, dropped


def _without_unusable(
    alive: Sequence[Evidence],
    run: int,
    limits: Measured,
    criterion: Criterion,
    dropped: list[Dropped],
) -> list[Evidence]:
    """Leave out methods whose run failed, has no score, or is outside a measured limit."""
    rest = []
    for one in alive:
        if run in one.failures:
            dropped.append(Dropped(one, run + 1, "failed", one.failures[run]))
        elif (reason := _outside(one, run, limits)) is not None:
            dropped.append(Dropped(one, run + 1, "limit", reason))
        elif one.runs[run].selection is None:
            reason = f"its run has no {_measured(one, criterion)}"
            dropped.append(Dropped(one, run + 1, "no score", reason))
        else:
            rest.append(one)
    return rest


def _measured(one: Evidence, criterion: Criterion) -> str:
    if uses_validation(one.arm, criterion):
        return "validation Dice (--folds 3 compares the held-out parts instead)"
    return criterion.title


def _outside(one: Evidence, run: int, limits: Measured) -> str | None:
    cost = one.runs[run].record.cost
    if cost is None:
        return None
    if limits.max_params is not None and cost.total_params > limits.max_params:
        return f"{cost.total_params / 1e6:.2f} M parameters are above the limit"
    speed = cost.infer_images_per_s
    if limits.min_speed is not None and speed is not None and speed < limits.min_speed:
        return f"{speed:.3g} images/s in inference are below the limit"
    return None


def _look(
    alive: Sequence[Evidence],
    runs: int,
    comebacks: Mapping[str, float],
    criterion: Criterion,
    dropped: list[Dropped],
) -> list[Evidence]:
    """Compare the methods after a number of runs, and leave out those that are behind.

    A method leaves if it is behind the best by more than the margin and, where there are scores of
    enough specimens, significantly.
    """
    values = selections(alive, range(runs))
    means = values.mean(1)
    best = alive[int(means.argmax())]
    spread = run_spread(values)
    others = [one for one in alive if one is not best]
    worse: dict[str, bool | None] = dict.fromkeys((one.name for one in others), None)
    if not uses_validation(best.arm, criterion):  # held-out parts have scores of specimens
        differences = [specimen_differences(best, one, range(runs)) for one in others]
        verdicts = significantly_worse(differences)
        worse |= {one.name: verdict for one, verdict in zip(others, verdicts, strict=True)}
    rest = []
    for one, mean in zip(alive, means.tolist(), strict=True):
        behind, tested = float(means.max()) - mean, worse.get(one.name)
        allowed = margin(runs, one.family, comebacks, spread, in_points=criterion.has_margin)
        if one is best or tested is False or behind <= allowed:
            rest.append(one)
            continue
        reason = f"{_gap(behind, criterion)} behind the best after {counted(runs, 'run')}"
        cause: Cause = "test" if tested else "margin"
        reason += ", significant" if tested else f" (margin {allowed:.1f})"
        dropped.append(Dropped(one, runs, cause, reason, behind))
    return rest


def _gap(behind: float, criterion: Criterion) -> str:
    return f"{behind:.1f} {criterion.unit}"
