"""Replay the policy on stored records: what it would have chosen, at what cost.

For each dataset the comebacks are those of the other datasets. The regret is the Dice of the best
method on the test part minus that of the recommended method, both over all runs. Compute counts the
training steps of each run, divided by its measured speed.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from bench.choice.arms import Evidence, RunScore, gather
from bench.choice.comebacks import RUNS, Values, comparable_races, find_comebacks, quantiles
from bench.choice.criterion import DICE
from bench.choice.race import Race, hold_race
from bench.choice.verdict import Verdict, judge
from bench.errors import UserError
from bench.spec import Record

HALVES = 24  # half samples of the test specimens for each dataset
Scores = Mapping[str, float]  # name of a method to its Dice in percent


@dataclass(frozen=True)
class Replayed:
    """The replays of one dataset, one for each order of the runs.

    Attributes:
        dataset: its name.
        methods: number of methods.
        specimens: number of test specimens.
        regrets: in points.
        compute: share of the compute of all methods with all runs, in [0, 1].
        chosen: names of the methods that were recommended, each once.
        set_sizes: numbers of methods in the sets.
        sets: names of the methods that were in a set in all orders.
        fixed: name of a method that is on all datasets to its regret.
        elsewhere: regret of the method that is best on average on the other datasets, of `fixed`.
        elsewhere_name: its name.
        holds_best: share of half samples whose set holds the method that is best on all specimens.
        holds_other_best: share whose set holds the method that is best on the other half.
        bound_holds: share of half samples with a bound whose loss on all specimens is at most the
            bound; None where there are too few specimens for any.
    """

    dataset: str
    methods: int
    specimens: int
    regrets: tuple[float, ...]
    compute: tuple[float, ...]
    chosen: tuple[str, ...]
    set_sizes: tuple[int, ...]
    sets: frozenset[str]
    fixed: Scores
    elsewhere: float
    elsewhere_name: str
    holds_best: float
    holds_other_best: float
    bound_holds: float | None

    def loses_to(self, margin: float = 0.05) -> list[str]:
        """Fixed choices that are better by more than a margin in points, and not in the set."""
        rivals = [(name, name, regret) for name, regret in self.fixed.items()]
        title = f"best elsewhere ({self.elsewhere_name})"
        rivals.append((title, self.elsewhere_name, self.elsewhere))
        mean = fmean(self.regrets)
        return [
            title
            for title, name, regret in rivals
            if regret < mean - margin and name not in self.sets
        ]


def replay(records: Iterable[Record]) -> list[Replayed]:
    """Replay the policy on every dataset, in all orders of the runs.

    Raises:
        UserError: the records hold no two methods with three runs each on one dataset.
    """
    stored = list(records)
    races = {name: arms for name, arms in comparable_races(stored).items() if len(arms) > 1}
    if not races:
        raise UserError(f"nothing to replay: no dataset has two methods with {RUNS} seeds each")
    evidence = {name: gather(arms, stored, DICE) for name, arms in races.items()}
    comebacks = find_comebacks(stored)
    scores = {name: mean_test_scores(part) for name, part in evidence.items()}
    return [_replay(name, part, comebacks, scores) for name, part in evidence.items()]


def mean_test_scores(evidence: Sequence[Evidence]) -> dict[str, float]:
    """Mean Dice of the test part over all runs, in percent."""
    return {one.name: fmean(run.outer or 0.0 for run in one.runs.values()) for one in evidence}


def _replay(
    name: str,
    evidence: Sequence[Evidence],
    comebacks: Values,
    scores: Mapping[str, Scores],
) -> Replayed:
    prior = quantiles(comebacks, without=name)
    test = scores[name]
    best = max(test.values())
    total = sum(_compute(one) for one in evidence)
    runs = [_run(ordered, prior) for ordered in _orders(evidence)]
    verdicts = [judge(race) for race in runs]
    chosen = [_name(verdict) for verdict in verdicts]
    common = set.intersection(*(set(of_dataset) for of_dataset in scores.values()))
    others = [of_dataset for other, of_dataset in scores.items() if other != name]
    elsewhere = max(
        sorted(common), key=lambda method: fmean([part[method] for part in others] or [0.0])
    )
    held = list(_half_samples(evidence, prior))
    bounds = [one.bound_holds for one in held if one.bound_holds is not None]
    return Replayed(
        name,
        len(evidence),
        len(evidence[0].runs[0].sums),
        tuple(best - test[method] for method in chosen),
        tuple(sum(map(_compute, race.evidence)) / total for race in runs),
        tuple(dict.fromkeys(chosen)),
        tuple(len(verdict.set) for verdict in verdicts),
        frozenset.intersection(*(frozenset(m.name for m in v.set) for v in verdicts)),
        {method: best - test[method] for method in sorted(common)},
        best - test[elsewhere],
        elsewhere,
        fmean(one.holds_best for one in held),
        fmean(one.holds_other_best for one in held),
        fmean(bounds) if bounds else None,
    )


def _orders(evidence: Sequence[Evidence]) -> Iterator[list[Evidence]]:
    """The methods with their runs in every order."""
    for order in itertools.permutations(range(RUNS)):
        yield [
            replace(
                one,
                arm=replace(one.arm, cells=tuple(one.arm.cells[run] for run in order)),
                runs={number: one.runs[run] for number, run in enumerate(order)},
            )
            for one in evidence
        ]


def _run(evidence: Sequence[Evidence], prior: Mapping[str, float]) -> Race:
    """Follow the policy to its end, as if only the runs that it asks for existed."""
    done: set[str] = set()
    while True:
        known = [
            replace(one, runs={n: r for n, r in one.runs.items() if r.record.cell.id in done})
            for one in evidence
        ]
        race = hold_race(known, DICE, prior)
        if not race.missing:
            return race
        done |= {cell.id for cell in race.missing}


def _compute(one: Evidence) -> float:
    """Seconds of training of all runs, from their measured speeds."""
    seconds = 0.0
    for run in one.runs.values():
        cost, recipe = run.record.cost, run.record.cell.recipe
        if cost is not None and cost.train_images_per_s:
            seconds += recipe.steps * recipe.batch_size / cost.train_images_per_s
    return seconds


def _name(verdict: Verdict) -> str:
    assert verdict.recommended is not None, "every method of a replay has runs"
    return verdict.recommended.name


@dataclass(frozen=True)
class _Half:
    holds_best: bool
    holds_other_best: bool
    bound_holds: bool | None


def _half_samples(evidence: Sequence[Evidence], prior: Mapping[str, float]) -> Iterator[_Half]:
    """Judge with one half of the test specimens, and compare with all and with the other half."""
    rng = np.random.default_rng(0)
    races = [_run(ordered, prior) for ordered in _orders(evidence)]
    names = sorted(evidence[0].runs[0].sums)
    everything = {one.name: _mean(one, set(names)) for one in evidence}
    for number in range(HALVES):
        half = set(rng.permutation(names)[: max(1, len(names) // 2)].tolist())
        part = [_restrict(one, half) for one in races[number % len(races)].evidence]
        verdict = judge(hold_race(part, DICE, prior))
        members = {member.name for member in verdict.set}
        rest = {one.name: _mean(one, set(names) - half) for one in evidence}
        loss = max(everything.values()) - everything[_name(verdict)]
        yield _Half(
            max(everything, key=everything.__getitem__) in members,
            max(rest, key=rest.__getitem__) in members,
            None if verdict.loss is None else loss <= verdict.loss.at_most,
        )


def _restrict(one: Evidence, specimens: set[str]) -> Evidence:
    """The evidence with the scores of these specimens only."""
    runs = {number: _restrict_run(run, specimens) for number, run in one.runs.items()}
    return replace(one, runs=runs)


def _restrict_run(run: RunScore, specimens: set[str]) -> RunScore:
    return replace(
        run,
        outer=_score(run, specimens),
        specimens={name: value for name, value in run.specimens.items() if name in specimens},
        sums={name: value for name, value in run.sums.items() if name in specimens},
    )


def _mean(one: Evidence, specimens: set[str]) -> float:
    return fmean(_score(run, specimens) for run in one.runs.values())


def _score(run: RunScore, specimens: set[str]) -> float:
    """The merit of these specimens together."""
    total = np.sum([value for name, value in run.sums.items() if name in specimens], axis=0)
    known = total[:, 1] > 0
    return float((total[known, 0] / total[known, 1]).mean())
