"""What did a choice with a time limit lose against the grid, and did it keep its time?

time python run_bench.py choose --dataset particles --precision bf16 --max-time 20min --out trial
python tests/benchmarks/choice_trial.py trial --dataset particles --limit 1200 --used 1150

Grid: the mean test Dice of each method over three seeds in `results/reference`, or another folder
with --grid, for example of an ordinary run of the same methods afterwards. The recommendation is
read from `choose.md`. See docs/choose.md.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation

from rich.console import Console

from bench.choice.arms import gather
from bench.choice.comebacks import comparable_races
from bench.choice.criterion import DICE
from bench.choice.replay import mean_test_scores
from bench.run.store import Store


def main() -> None:
    """Print the time against the limit, and the regret against the grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trial", type=Path, help="results folder of the choice")
    parser.add_argument("--dataset", required=True, help="name of the dataset, without its folder")
    parser.add_argument("--grid", type=Path, default=Path("results/reference"))
    parser.add_argument("--limit", type=float, help="seconds, as --max-time")
    parser.add_argument("--used", type=float, help="seconds that the command took")
    arguments = parser.parse_args()
    chosen = read_recommendation(arguments.trial / "choose.md")
    ran = {record.cell.label for record in Store(arguments.trial).read_all()}
    grid = Store(arguments.grid).read_all()
    arms = comparable_races(grid).get(arguments.dataset, [])
    scores = mean_test_scores(gather(arms, grid, DICE))
    scores = {name: score for name, score in scores.items() if name in ran}
    if chosen not in scores:
        sys.exit(f"{chosen} has no three runs in {arguments.grid}: run the grid first")
    best = max(scores, key=lambda name: scores[name])
    console = Console(soft_wrap=True)
    if arguments.limit and arguments.used:
        share = arguments.used / arguments.limit
        console.print(f"time: {arguments.used:.0f} s of {arguments.limit:.0f} s ({share:.0%})")
    console.print(
        f"recommended: {chosen}, Dice {scores[chosen]:.1f} %; best of the grid: {best},"
        f" {scores[best]:.1f} %; regret {scores[best] - scores[chosen]:.2f} points"
    )


def read_recommendation(page: Path) -> str:
    """The name of the recommended method on the page of a choice."""
    for line in page.read_text().splitlines():
        if line.startswith("- Use "):
            return line.removeprefix("- Use ").split(" (records")[0].rstrip(".")
    sys.exit(f"{page} recommends no method")


if __name__ == "__main__":
    main()
