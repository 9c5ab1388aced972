"""The verdict: what is recommended, what cannot be told from it, and what that may cost.

`decide` is the policy: from records to the next cells, or to a verdict. It has no state and runs
nothing.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy import stats

from bench.choice.arms import Arm, Evidence, RunScore, gather, uses_validation
from bench.choice.criterion import DICE, Criterion
from bench.choice.loss import Loss, accuracy_interval, expected_loss
from bench.choice.margins import (
    CONFIDENCE,
    LOOKS,
    MARGIN,
    run_spread,
    significantly_worse,
    specimen_differences,
    spread_margin,
)
from bench.choice.race import (
    NO_LIMITS,
    Dropped,
    Measured,
    Race,
    hold_race,
    mean_selection,
    selections,
)
from bench.spec import Cell, Record
from bench.stats.bootstrap import Interval
from bench.stats.paired import SIGNIFICANCE, Floats
from bench.wording import counted

CLOSE = 1.0  # percentage points; methods this close to the best may be recommended for their cost


@dataclass(frozen=True)
class Member:
    """A method that cannot be told from the recommended one.

    Attributes:
        evidence: its scores.
        tested: whether a test with enough specimens found no difference; False where there were
            too few specimens, and the margin decided.
    """

    evidence: Evidence
    tested: bool

    @property
    def name(self) -> str:
        """The name of the method."""
        return self.evidence.name


@dataclass(frozen=True)
class Accuracy:
    """The accuracy to expect, from test images that did not take part in the choice.

    Attributes:
        value: mean over runs, in the unit of the criterion; errors are positive.
        interval: 95 % interval over specimens and runs; None if it is not known.
        specimens: number of test specimens.
        source: which images it is from, as a phrase.
    """

    value: float
    interval: Interval | None
    specimens: int
    source: str


@dataclass(frozen=True)
class Verdict:
    """The result of a race.

    Attributes:
        recommended: the method; None if no method has a run that can be compared.
        set: the recommended method and those that cannot be told from it, cheapest first.
        loss: what the recommendation may lose; None with too few specimens.
        accuracy: None where no test image was left out of the choice.
        race: the methods in the race and those that were dropped.
        finished: whether further runs of the race cannot change the answer.
        not_run: methods without any run, because the time was up.
    """

    recommended: Evidence | None
    set: tuple[Member, ...]
    loss: Loss | None
    accuracy: Accuracy | None
    race: Race
    finished: bool
    not_run: tuple[str, ...]

    @property
    def given_up(self) -> tuple[Dropped, ...]:
        """The methods that a limit on a measured value left out."""
        return tuple(one for one in self.race.dropped if one.cause == "limit")


@dataclass(frozen=True)
class Decision:
    """What the policy says about a set of records.

    Attributes:
        next_cells: cells that must run before the next look, in the order in which they should;
            empty if the rest cannot change the answer.
        verdict: what the records say now. It is final if there are no next cells.
    """

    next_cells: tuple[Cell, ...]
    verdict: Verdict


def decide(
    arms: Sequence[Arm],
    records: Iterable[Record],
    comebacks: Mapping[str, float],
    criterion: Criterion = DICE,
    limits: Measured = NO_LIMITS,
) -> Decision:
    """Return the next cells and the verdict that the records give.

    The same arms and records give the same decision, in whatever order the records are.

    Args:
        arms: the methods, in the order in which they should run.
        records: of a results folder; those of other cells are ignored.
        comebacks: family of methods to its comeback, of `bench.choice.comebacks`.
        criterion: what methods are compared by.
        limits: on values that runs measure.
    """
    race = hold_race(gather(arms, records, criterion), criterion, comebacks, limits)
    return Decision(race.missing, judge(race))


def judge(race: Race) -> Verdict:
    """The verdict that the records of a race give, whether it is finished or not."""
    candidates = _comparable(race.alive)
    not_run = tuple(one.name for one in race.alive if not one.runs and not one.failures)
    finished = not race.missing
    if not candidates:
        return Verdict(None, (), None, None, race, finished, not_run)
    best = recommend(race.criterion, candidates)
    members = sorted(_members(race, best), key=lambda member: _costs(member.evidence))
    loss = expected_loss(best, [member.evidence for member in members])
    accuracy = _accuracy(race, best, candidates)
    return Verdict(best, tuple(members), loss, accuracy, race, finished, not_run)


def _comparable(alive: Sequence[Evidence]) -> list[Evidence]:
    """The methods with a score that share a run.

    In an unfinished race they may share none, for example with a failed run that runs again: then
    those that have the run that most of them have, the first of equals.
    """
    scored = [one for one in alive if mean_selection(one, sorted(one.runs)) is not None]
    if not scored or set.intersection(*(set(one.runs) for one in scored)):
        return scored
    counts = Counter(run for one in scored for run in one.runs)
    most = max(counts, key=lambda run: (counts[run], -run))
    return [one for one in scored if most in one.runs]


def recommend(
    criterion: Criterion, candidates: Sequence[Evidence], leave_out: Collection[int] = ()
) -> Evidence:
    """The cheapest of the methods that are as good as the best.

    As good are methods within `CLOSE` of the best mean selection merit, and within what the spread
    of the runs explains. Costs are compared one after the other (`Evidence.costs`); methods with
    equal costs by their merit, then by their place in the request. Names never matter.

    Args:
        criterion: what they are compared by.
        candidates: methods with a selection merit; compared over the runs that all of them have.
        leave_out: numbers of runs that do not count.
    """
    shared = sorted(set.intersection(*(set(one.runs) for one in candidates)) - set(leave_out))
    merits = selections(candidates, shared)
    means = merits.mean(1).tolist()
    close = min(CLOSE, spread_margin(len(shared), run_spread(merits)))
    if not criterion.has_margin:
        close = 0.0
    near = [
        (one.costs, -mean, one.arm.position, place)
        for place, (one, mean) in enumerate(zip(candidates, means, strict=True))
        if max(means) - mean <= close
    ]
    return candidates[min(near)[-1]]


def _costs(one: Evidence) -> tuple[object, ...]:
    return (one.costs, one.arm.position)


def _members(race: Race, best: Evidence) -> list[Member]:
    """The recommended method, and the others that the records cannot tell from it.

    With one split of the images, the test part decides, in one test for all methods. With folds,
    the held-out parts were looked at before, so the level is that of one of the planned looks. A
    significant difference must also be larger than what the spread of the runs explains: a test
    over specimens knows nothing of the luck of a run.
    """
    out = {one.evidence.name for one in race.dropped if one.cause != "margin"}
    others = [
        one
        for one in race.evidence
        if one is not best and one.name not in out and set(one.runs) & set(best.runs)
    ]
    validation = uses_validation(best.arm, race.criterion)
    level = SIGNIFICANCE if validation else SIGNIFICANCE / LOOKS
    differences = [specimen_differences(best, one, sorted(best.runs)) for one in others]
    spread = _outer_spread(race)
    members = [Member(best, True)]
    verdicts = significantly_worse(differences, level)
    for one, worse, values in zip(others, verdicts, differences, strict=True):
        if worse is None:
            stays = _near(best, one, values, race.criterion, validation=validation)
        else:
            explained = spread_margin(len(set(one.runs) & set(best.runs)), spread)
            if race.criterion.has_margin:
                explained = min(MARGIN, explained)
            stays = not worse or float(values.mean()) <= explained
        if stays:
            members.append(Member(one, tested=worse is not None))
    return members


def _outer_spread(race: Race) -> tuple[float, int]:
    """The spread of the runs on the test parts, of the methods still in the race."""
    complete = [one for one in race.alive if set(range(race.rounds)) <= set(one.runs)]
    if not complete or not race.rounds:
        return 0.0, 0
    values = [[one.runs[run].outer for run in range(race.rounds)] for one in complete]
    return run_spread(np.array(values, np.float64))


def _near(
    best: Evidence,
    other: Evidence,
    differences: Floats,
    criterion: Criterion,
    *,
    validation: bool,
) -> bool:
    """Whether the other method is within `MARGIN`, where there are too few specimens for a test.

    With a validation part, by its selection merit or by the test parts. With folds, within the
    margin or within a t-interval of the differences of the specimens, whichever is larger. Without
    a margin in the unit of the criterion, nothing is ruled out.
    """
    if not criterion.has_margin or (not validation and differences.size < 2):
        return True
    shared = sorted(set(best.runs) & set(other.runs))
    gaps = []
    for value in ("selection", "outer"):
        pairs = [(getattr(best.runs[r], value), getattr(other.runs[r], value)) for r in shared]
        known = [ours - theirs for ours, theirs in pairs if None not in (ours, theirs)]
        if known:
            gaps.append(fmean(known))
    limit = MARGIN if validation else max(MARGIN, _half_width(differences))
    return any(gap <= limit for gap in gaps)


def _half_width(differences: Floats) -> float:
    """Half the width of the t-interval of the mean of two differences or more."""
    count = differences.size
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return quantile * float(differences.std(ddof=1)) / math.sqrt(count)


def _accuracy(race: Race, best: Evidence, candidates: Sequence[Evidence]) -> Accuracy | None:
    criterion = race.criterion
    if not uses_validation(best.arm, criterion):
        return _nested_accuracy(race, candidates)
    values = [run.outer for run in best.runs.values() if run.outer is not None]
    if not values:
        return None
    specimens = len(next(iter(best.runs.values())).sums)
    interval = accuracy_interval(list(best.runs.values()))
    return Accuracy(fmean(values), interval, specimens, "test part, which decided nothing")


def _nested_accuracy(race: Race, candidates: Sequence[Evidence]) -> Accuracy | None:
    """Choose by the runs of all folds but one, and score the choice on that one, for each in turn.

    Runs of one fold with different seeds have the same held-out images. A fold by whose runs a
    method was dropped does not count, if there are others: without it, that method might be the
    choice. On another test dataset, all folds have the same images, so none are held out.
    """
    cells = candidates[0].arm.cells
    if cells[0].test_dataset:
        return None
    looked = max((one.runs for one in race.dropped if one.cause in ("test", "margin")), default=0)
    used = {cell.fold for cell in cells[:looked]}
    folds: dict[int, list[int]] = {}
    for run in sorted(set.intersection(*(set(one.runs) for one in candidates))):
        folds.setdefault(cells[run].fold, []).append(run)
    if len(folds) < 2:
        return None
    unused = [runs for fold, runs in folds.items() if fold not in used]
    held_out = unused or list(folds.values())
    chosen: list[RunScore] = []
    for runs in held_out:
        best = recommend(race.criterion, candidates, leave_out=runs)
        chosen += [best.runs[run] for run in runs]
    scores = [run.outer for run in chosen if run.outer is not None]
    if not scores:
        return None
    specimens = len({name for run in chosen for name in run.specimens})
    parts = counted(len(held_out), "held-out part")
    source = f"{parts}, each scored by the choice that the others make"
    if not unused:
        source += "; methods were stopped by these parts, so the true value may be worse"
    return Accuracy(abs(fmean(scores)), None, specimens, source)
