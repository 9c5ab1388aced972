"""The ratio of two running times, measured in turns, and how sure it is.

A machine changes its speed by more than most regressions cost: other programs, clock rates, heat. A
time from another day cannot be compared with one from today. Two blocks of work that follow each
other within a second see the same machine, so their ratio is stable where both times are not.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["above", "within", "unclear"]

# The time that passes, or the time that this process computes: other programs do not lengthen the
# latter, but it does not see waiting either (disk, sleep).
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Ratio:
    """First time over second time: the median over pairs, and its 95 % confidence interval."""

    median: float
    low: float
    high: float
    pairs: int

    def against(self, limit: float) -> Verdict:
        """Where the whole interval lies; "unclear" if the limit is inside it."""
        if self.low > limit:
            return "above"
        return "within" if self.high <= limit else "unclear"

    def shown(self) -> tuple[str, str, str]:
        """Ratio, interval and number of pairs, as tables show them."""
        return f"{self.median:.3f}", f"{self.low:.3f} to {self.high:.3f}", str(self.pairs)


def ratio(first: Sequence[float], second: Sequence[float], resamples: int = 2000) -> Ratio:
    """Median ratio of paired times, with the percentile bootstrap over pairs.

    Args:
        first: seconds of each pair's first member.
        second: seconds of each pair's second member, in the same order.
        resamples: bootstrap samples, drawn with a fixed seed.
    """
    logs = np.log(np.asarray(first)) - np.log(np.asarray(second))
    draws = np.random.default_rng(0).choice(logs, (resamples, len(logs)))
    low, high = np.exp(np.percentile(np.median(draws, axis=1), (2.5, 97.5)))
    return Ratio(float(np.exp(np.median(logs))), float(low), float(high), len(logs))


def take_turns(
    first: Callable[[], float], second: Callable[[], float], pairs: int
) -> tuple[list[float], list[float]]:
    """Seconds of `first` and of `second`, called in the order 1 2 2 1 1 2 2 1 and so on.

    The changing order takes a drift of the machine out of the median ratio.
    """
    firsts: list[float] = []
    seconds: list[float] = []
    for pair in range(pairs):
        turns = [(first, firsts), (second, seconds)]
        for call, times in turns if pair % 2 == 0 else reversed(turns):
            times.append(call())
    return firsts, seconds
