"""Predicted against measured time of training steps, for methods that the fit has not seen.

    python tests/benchmarks/time_error.py --records results/reference

The records must be of one machine. The three constants of a device (`bench.cost.predict.time`) are
fitted to the steps of all methods but one, and predict those of the method that was left out. The
factor is how far the predicted time is off, whether too long or too short. Each configuration is
counted once, with the median of its records. At the end, the constants of the fit to all of them.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

if __name__ == "__main__":  # as a script it is not in the path that pytest sets
    sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.cost.predict.time import Speed, seconds_of
from bench.cost.predict.work import CellWork, Work, predict_work
from bench.errors import UnsupportedError
from bench.plugins.registry import get_method
from bench.run.store import Store
from bench.spec import Record


@dataclass(frozen=True)
class Example:
    """A configuration with its measured times.

    Attributes:
        method: its name.
        work: what it makes the device do.
        step_s: seconds of each record for one training step.
        forward_s: seconds of each record for one image, or stack, in evaluation.
        wall: for each record, seconds of its training and the work that was done in them.
    """

    method: str
    work: CellWork
    step_s: list[float]
    forward_s: list[float]
    wall: list[tuple[float, Work]]


def examples(records: Iterable[Record]) -> list[Example]:
    """One example for each configuration that trained."""
    groups: dict[object, list[Record]] = defaultdict(list)
    for record in records:
        recipe = record.cell.recipe
        if record.cost is None or record.cost.train_images_per_s is None:
            continue
        options = tuple(sorted(record.cell.options.items()))
        settings = (recipe.batch_size, recipe.precision, recipe.loss, recipe.loss_at)
        groups[record.cell.method, options, record.cell.task, settings].append(record)
    return [example for group in groups.values() if (example := _example(group))]


def _example(records: Sequence[Record]) -> Example | None:
    cell = records[0].cell
    depth, batch = cell.task.depth, cell.recipe.batch_size
    try:
        views = max(_views(record) for record in records)
        work = predict_work(
            get_method(cell.method), cell.options, cell.task, cell.recipe, views=views
        )
    except UnsupportedError as error:
        print(f"{cell.method}: {error}", file=sys.stderr)
        return None
    costs = [record.cost for record in records if record.cost]
    step_s = [batch * depth / cost.train_images_per_s for cost in costs if cost.train_images_per_s]
    forward_s = [depth / cost.infer_images_per_s for cost in costs if cost.infer_images_per_s]
    wall = []
    for record in records:
        if record.cost and record.cost.train_wall_s:
            validated = len(record.history) * min(24, record.env["split"]["val"])
            training = work.step * record.cell.recipe.steps + work.frozen * _views(record)
            wall.append((record.cost.train_wall_s, training + work.forward * validated))
    return Example(cell.method, work, step_s, forward_s, wall)


def _views(record: Record) -> int:
    recipe, images = record.cell.recipe, int(record.env["split"]["train"])
    return max(images, min(recipe.bank_views, recipe.steps * recipe.batch_size))


def fit(
    work: Sequence[Work], seconds: Sequence[float], columns: Sequence[int] = (0, 1, 2)
) -> Speed:
    """The constants with the smallest squares of relative errors.

    Args:
        work: of each example.
        seconds: its measured time.
        columns: which of operations, bytes and operators may take time.
    """
    rows = np.array([(one.flops, one.moved_bytes, one.operators) for one in work])
    scale = rows.max(0)
    used = np.zeros(3)
    used[list(columns)] = 1
    found, _ = nnls(rows / scale * used / np.array(seconds)[:, None], np.ones(len(rows)))
    flops, moved, operators = found / scale * used
    return Speed(1 / max(flops, 1e-30), 1 / max(moved, 1e-30), 1.0, operators)


def left_out(
    all_examples: Sequence[Example], columns: Sequence[int] = (0, 1, 2)
) -> list[tuple[Example, Speed]]:
    """Each example with the constants that were fitted without its method."""
    speeds = {}
    for name in {example.method for example in all_examples}:
        others = [example for example in all_examples if example.method != name]
        seconds = [statistics.median(example.step_s) for example in others]
        speeds[name] = fit([example.work.step for example in others], seconds, columns)
    return [(example, speeds[example.method]) for example in all_examples]


def factor(predicted: float, measured: float) -> float:
    """How far off a prediction is; 1 is exact."""
    return max(predicted / measured, measured / predicted)


def summary(name: str, factors: Sequence[float]) -> str:
    """Median and 90th percentile of some factors."""
    middle, high = np.percentile(factors, (50, 90))
    return f"{name}: off by a factor of {middle:.2f} (median), {high:.2f} (p90), n = {len(factors)}"


def main() -> None:
    """Print one line for each method, then the factors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=Path, default=Path("results/reference"))
    records = [r for r in Store(parser.parse_args().records).read_all() if r.status == "ok"]
    measured = examples(records)
    steps: dict[str, list[float]] = defaultdict(list)
    walls, reruns = [], []
    for example, speed in left_out(measured):
        median = statistics.median(example.step_s)
        steps[example.method].append(factor(seconds_of(example.work.step, speed), median))
        reruns += [factor(one, median) for one in example.step_s if len(example.step_s) > 1]
        walls += [factor(seconds_of(work, speed), seconds) for seconds, work in example.wall]
    print("method,configurations,median_factor,largest_factor")
    for name, factors in sorted(steps.items()):
        print(f"{name},{len(factors)},{statistics.median(factors):.2f},{max(factors):.2f}")
    every = [one for factors in steps.values() for one in factors]
    print(summary("step of a method that was left out", every))
    for columns, words in (((0,), "operations alone"), ((0, 1), "operations and bytes")):
        factors = [
            factor(seconds_of(example.work.step, speed), statistics.median(example.step_s))
            for example, speed in left_out(measured, columns)
        ]
        print(summary(f"the same with {words}", factors))
    print(summary("record of a configuration against their median", reruns))
    print(summary("whole training (train_wall_s) of a method that was left out", walls))
    print(fit([e.work.step for e in measured], [statistics.median(e.step_s) for e in measured]))


if __name__ == "__main__":
    main()
