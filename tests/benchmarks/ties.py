"""Do ≈ and "seen with 80 % probability" hold what they say? Simulated, where the truth is known.

python tests/benchmarks/ties.py [--trials 400]

Scores of an image are those of its specimen and method, and noise; explained in docs/evidence.md.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from bench.stats.paired import SIGNIFICANCE, Floats, detectable_effect, signed_rank, tied_with_best

Noise = Callable[[np.random.Generator, tuple[int, int]], Floats]

NOISES: dict[str, Noise] = {  # of differences, with a standard deviation of 1
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(4, shape) / np.sqrt(2),
    "skewed": lambda rng, shape: 1 - rng.exponential(size=shape),
}
POWERS = ((6, 1), (8, 6), (12, 6), (20, 6), (20, 28), (50, 28), (100, 28))


@dataclass(frozen=True)
class Study:
    """Methods of which the truth is known.

    Attributes:
        specimens: of the test set, one image each.
        alike: methods that are equally good, the best there are.
        worse: methods that are worse by the difference that is seen with 80 % probability.
        training: standard deviation of what repeated training adds to a method's mean, in those of
            the noise of a single specimen.
    """

    specimens: int
    alike: int
    worse: int
    training: float = 0.0


STUDIES = (
    Study(8, 3, 1),
    Study(12, 3, 3),
    Study(20, 2, 2),
    Study(20, 3, 3),
    Study(20, 7, 22),
    Study(20, 29, 0),
    Study(50, 7, 22),
    Study(20, 3, 3, training=0.1),
    Study(20, 3, 3, training=0.3),
)


def power(specimens: int, comparisons: int, noise: Noise, trials: int) -> tuple[float, float]:
    """How often the stated difference is seen: stated by the true spread, by that of a run before.

    Args:
        specimens: n.
        comparisons: by whose number Holm's first step divides the level.
        noise: of the differences.
        trials: runs.
    """
    rng = np.random.default_rng(specimens + comparisons)
    effect = detectable_effect(specimens, comparisons)
    before, drawn = (noise(rng, (trials, specimens)) for _ in range(2))
    stated = effect * before.std(axis=1, ddof=1, keepdims=True)
    shares = [
        np.mean(np.array(signed_rank(list(drawn + shift))) <= SIGNIFICANCE / comparisons)
        for shift in (effect, stated)
    ]
    return float(shares[0]), float(shares[1])


def kept(study: Study, trials: int) -> tuple[float, float, float]:
    """How often all equal methods are best or ≈, how often one of them is, and a worse one is not.

    The last is NaN where none is worse.
    """
    rng = np.random.default_rng(study.specimens)
    count = study.alike + study.worse
    lag = np.zeros((count, 1))
    lag[study.alike :] = np.sqrt(2) * detectable_effect(study.specimens, count - 1)
    all_in, in_set, out = [], [], []
    for _ in range(trials):
        inside = _in_set(rng, study, lag)
        all_in.append(inside[: study.alike].all())
        in_set.append(inside[: study.alike].mean())
        out.append(~inside[study.alike :])
    left_out = float(np.mean(out)) if study.worse else np.nan
    return float(np.mean(all_in)), float(np.mean(in_set)), left_out


def _in_set(rng: np.random.Generator, study: Study, lag: Floats) -> npt.NDArray[np.bool_]:
    """Which methods are the best or cannot be told from it, in one simulated table."""
    shape = len(lag), study.specimens
    scores = rng.normal(size=shape) + 3 * rng.normal(size=(1, study.specimens)) - lag
    scores += study.training * rng.normal(size=lag.shape)
    best = int(scores.mean(axis=1).argmax())
    others = np.array([place for place in range(len(lag)) if place != best])
    inside = np.ones(len(lag), bool)
    inside[others] = tied_with_best([scores[best] - scores[other] for other in others])
    return inside


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Simulated ties and differences.")
    parser.add_argument("--trials", type=int, default=400, metavar="N")
    trials = parser.parse_args().trials
    console = Console()
    seen = Table("specimens", "comparisons", "difference (sd)", *NOISES, "spread estimated")
    for specimens, comparisons in POWERS:
        found = [power(specimens, comparisons, noise, trials) for noise in NOISES.values()]
        shares = [f"{share:.0%}" for share in (*(known for known, _ in found), found[0][1])]
        effect = f"{detectable_effect(specimens, comparisons):.2f}"
        seen.add_row(str(specimens), str(comparisons), effect, *shares)
    console.print(seen)
    ties = Table(
        "specimens", "alike", "worse", "training", "all kept", "one kept", "worse left out"
    )
    for study in STUDIES:
        shares = ["-" if np.isnan(share) else f"{share:.0%}" for share in kept(study, trials)]
        asked = study.specimens, study.alike, study.worse, study.training
        ties.add_row(*map(str, asked), *shares)
    console.print(ties)


if __name__ == "__main__":
    main()
