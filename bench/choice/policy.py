"""The policy: from records to the next cells, or to a verdict. It has no state and runs nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.choice.arms import Arm, gather
from bench.choice.criterion import DICE, Criterion
from bench.choice.race import NO_LIMITS, Measured, hold_race
from bench.choice.verdict import Verdict, judge
from bench.spec import Cell, Record


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
