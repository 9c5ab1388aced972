"""How far behind a method may be before it is dropped: planned looks, tests, and margins.

Sources: docs/choose.md; the signed-rank test and Holm's correction are in `bench.stats.paired`.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from bench.choice.arms import Evidence, Family
from bench.stats.paired import SIGNIFICANCE, Floats, direction, holm, signed_rank

LOOKS = 3  # number of planned looks at the data, for which the level is corrected
FEWEST_SPECIMENS = 6  # with fewer, no signed-rank test can reach the 5 % level
MARGIN = 5.0  # percentage points after one run; divided by the square root of the number of runs
CONFIDENCE = 1 - SIGNIFICANCE / LOOKS  # two-sided, of the margin from the spread of the runs


def planned_looks(runs: int) -> tuple[int, ...]:
    """The numbers of runs after which methods may be dropped: one, and half of them.

    The verdict, after all runs, is the third of `LOOKS` looks.
    """
    return tuple(sorted({1, math.ceil(runs / 2)} - {runs}))


def margin(
    runs: int,
    family: Family | None,
    comebacks: Mapping[str, float],
    spread: tuple[float, int],
    *,
    in_points: bool = True,
) -> float:
    """The largest difference from the best at which a method stays in the race.

    After one run it is `MARGIN`, or the comeback of the family if that is larger. Later it is
    `MARGIN` / sqrt(runs), or what the spread of the runs explains if that is smaller.

    Args:
        runs: number of runs of each method so far.
        family: of the method.
        comebacks: family to the 90 % quantile of the comebacks after one run, in points.
        spread: standard deviation of a run after the means of methods and of runs are subtracted,
            and its degrees of freedom; see `run_spread`.
        in_points: whether the values are percentages; otherwise only the spread of the runs
            counts, and after one run the margin is infinite.
    """
    if not in_points:
        return spread_margin(runs, spread)
    if runs == 1:
        return max(MARGIN, comebacks.get(family or "", 0.0))
    return min(MARGIN / math.sqrt(runs), spread_margin(runs, spread))


def spread_margin(runs: int, spread: tuple[float, int]) -> float:
    """The difference of two means that the spread of the runs explains; infinite if not known."""
    deviation, freedom = spread
    if freedom < 1:
        return math.inf
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    return quantile * deviation * math.sqrt(2 / runs)


def run_spread(values: Floats) -> tuple[float, int]:
    """Standard deviation of a run without the effects of method and run, and its freedom.

    Args:
        values: (methods, runs) of the methods still in the race.
    """
    methods, runs = values.shape
    freedom = (methods - 1) * (runs - 1)
    if freedom < 1:
        return 0.0, 0
    rest = values - values.mean(1, keepdims=True) - values.mean(0, keepdims=True) + values.mean()
    return float(np.sqrt((rest**2).sum() / freedom)), freedom


def specimen_differences(best: Evidence, other: Evidence, runs: Sequence[int]) -> Floats:
    """Differences best - other of the merit of each specimen (specimens,), averaged over runs.

    Args:
        best: one method.
        other: the other method.
        runs: numbers of runs; those that one of the two lacks are left out.
    """
    values: dict[str, list[float]] = {}
    for run in runs:
        if run in best.runs and run in other.runs:
            ours, theirs = best.runs[run].specimens, other.runs[run].specimens
            for name in ours.keys() & theirs.keys():
                values.setdefault(name, []).append(ours[name] - theirs[name])
    return np.array([np.mean(values[name]) for name in sorted(values)], dtype=np.float64)


def fewest_specimens(comparisons: int, level: float) -> int:
    """The number of specimens from which a difference can be significant, at least 6.

    Args:
        comparisons: number of methods that are compared with the best.
        level: significance level of all of them together.
    """
    return max(FEWEST_SPECIMENS, 1 + math.ceil(math.log2(max(1, comparisons) / level)))


def significantly_worse(
    differences: Sequence[Floats], level: float = SIGNIFICANCE / LOOKS
) -> list[bool | None]:
    """Whether each other method is worse than the best; None where too few specimens are known.

    Wilcoxon's signed-rank test over specimens, Holm-corrected for those that can be tested.

    Args:
        differences: best - other, one array (specimens,) for each other method.
        level: of all comparisons together; the default is that of one of `LOOKS`
            looks (Bonferroni).
    """
    fewest = fewest_specimens(len(differences), level)
    testable = [place for place, values in enumerate(differences) if values.size >= fewest]
    result: list[bool | None] = [None] * len(differences)
    p_values = holm(signed_rank([differences[place] for place in testable]))
    for place, p_value in zip(testable, p_values, strict=True):
        values = differences[place]
        result[place] = bool(p_value <= level and values.mean() > 0 and direction(values) > 0)
    return result
