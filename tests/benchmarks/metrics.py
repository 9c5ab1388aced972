"""Our metrics beside independent values of the same, and beside other libraries' speed.

python tests/benchmarks/metrics.py            metric x case x (ours, independent, difference)
python tests/benchmarks/metrics.py --brief    the largest difference of each source alone
python tests/benchmarks/metrics.py --speed    our time / theirs on masks of 1024 x 1024

Ends with 1 if a value differs, or if we are slower beyond doubt. Explained in docs/benchmarks.md.
"""

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import numpy as np
import numpy.typing as npt
from metric_cases import KINDS
from metric_references import LIMIT, REFERENCES, Line, Reference, lines
from pairing import CLOCKS, Ratio, ratio, take_turns
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from bench.metrics.boundary import surface_distances
from bench.metrics.overlap import confusion_matrix, dice_per_class, iou_per_class, pixel_accuracy

Labels = npt.NDArray[np.uint8]
Pairs = list[tuple[Labels, Labels]]  # prediction, mask
Work = Callable[[], list[float]]

SIDE, NUM_CLASSES, AIM = 1024, 4, 1.0
OUTLINE_IMAGES = 4  # outlines take much longer than overlaps


def compare(brief: bool, console: Console) -> bool:
    """Print all lines, then the largest difference of each source; returns whether all agree."""
    found = {r: list(lines(r)) if r.installed else [] for r in REFERENCES}
    for kind in () if brief else KINDS:
        table = Table("metric", "case", "source", "ours", "independent", "difference", title=kind)
        of_kind = [line for some in found.values() for line in some if line.kind == kind]
        for line in sorted(of_kind, key=lambda line: line.metric):  # stable: cases stay in order
            values = (_shown(line.ours), _shown(line.other), f"{line.difference:.1e}")
            table.add_row(line.metric, line.case, line.source, *values)
        console.print(table)
    console.print(_overview(found))
    return all(line.agrees for some in found.values() for line in some)


def overlap_works(pairs: Pairs) -> tuple[Work, dict[str, Work]]:
    """Dice and IoU of each class and the accuracy of a set: by us, and by torchmetrics' ways."""
    import torch
    import torchmetrics.classification as library
    from torchmetrics import MetricCollection

    tensors = [tuple(torch.from_numpy(side)[None] for side in pair) for pair in pairs]

    def of_matrix(confusion: Any) -> list[float]:
        values = (*dice_per_class(confusion), *iou_per_class(confusion), pixel_accuracy(confusion))
        return [value for value in values if value is not None]

    def ours() -> list[float]:
        confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
        for pair in pairs:
            confusion += confusion_matrix(*pair, NUM_CLASSES)
        return of_matrix(confusion)

    def theirs(check: bool) -> Work:
        asked: dict[str, Any] = {"num_classes": NUM_CLASSES, "validate_args": check}

        def run() -> list[float]:
            measures = MetricCollection(
                {
                    "dice": library.MulticlassF1Score(**asked, average="none"),
                    "iou": library.MulticlassJaccardIndex(**asked, average="none"),
                    "accuracy": library.MulticlassAccuracy(**asked, average="micro"),
                }
            )
            for pair in tensors:
                measures.update(*pair)
            found = measures.compute()
            return [*found["dice"].tolist(), *found["iou"].tolist(), float(found["accuracy"])]

        return run

    def matrix() -> list[float]:
        measure = library.MulticlassConfusionMatrix(NUM_CLASSES, validate_args=False)
        for pair in tensors:
            measure.update(*pair)
        return of_matrix(measure.compute().numpy())

    return ours, {
        "torchmetrics' Dice, IoU, accuracy": theirs(True),
        "the same without checks of its input": theirs(False),
        "its confusion matrix alone, no checks": matrix,
    }


def outline_works(pairs: Pairs) -> tuple[Work, dict[str, Work]]:
    """HD95 of each foreground class and image, the larger of both directions: by us, by MONAI."""
    import torch

    # MONAI calls itself with an argument that it has deprecated.
    warnings.filterwarnings("ignore", ".*get_mask_edges.always_return_as_numpy", FutureWarning)
    hausdorff = importlib.import_module("monai.metrics").compute_hausdorff_distance
    hot = [
        [torch.from_numpy(np.stack([side == k for k in range(NUM_CLASSES)])[None]) for side in pair]
        for pair in pairs
    ]

    def ours() -> list[float]:
        found = [
            surface_distances(mask == index, prediction == index)
            for prediction, mask in pairs
            for index in range(1, NUM_CLASSES)
        ]
        return [distances.hd95_max for distances in found if distances is not None]

    def theirs() -> list[float]:
        scores = [hausdorff(*both, percentile=95) for both in hot]
        return [float(value) for score in scores for value in score[0]]

    return ours, {"MONAI's HD95": theirs}


def measure(ours: Work, theirs: Work, pairs: int, clock: str) -> Ratio:
    """Our time over theirs.

    Raises:
        RuntimeError: the values differ, so the work was not the same.
    """
    now = CLOCKS[clock]

    def timed(work: Work) -> float:
        began = now()
        work()
        return now() - began

    first, second = ours(), theirs()  # warm-up
    if not np.allclose(first, second, rtol=LIMIT, atol=LIMIT):
        raise RuntimeError(f"the values differ: {first} and {second}")
    return ratio(*take_turns(lambda: timed(ours), lambda: timed(theirs), pairs))


def class_maps(number: int, seed: int = 0) -> Pairs:
    """Regions of four classes; predictions are shifted, and 1 % of their pixels are wrong."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(NUM_CLASSES, SIDE, SIDE)), (0, 25, 25))
    mask = np.argmax(fields, axis=0).astype(np.uint8)
    prediction = np.roll(mask, (5, -8), axis=(0, 1))
    wrong = rng.random(mask.shape) < 0.01
    prediction[wrong] = rng.integers(0, NUM_CLASSES, wrong.sum())
    steps = rng.integers(0, SIDE, (number, 2))
    return [(np.roll(prediction, step, (0, 1)), np.roll(mask, step, (0, 1))) for step in steps]


def race(asked: argparse.Namespace, console: Console) -> bool:
    """Print the ratios of time; returns whether none is above the aim beyond doubt."""
    import torch

    torch.set_num_threads(1)
    maps = class_maps(asked.images)
    table = Table("ours /", "masks", "ratio", "95 % interval", "pairs", f"aim {AIM:g}")
    verdicts = []
    for works, some in ((overlap_works, maps), (outline_works, maps[:OUTLINE_IMAGES])):
        ours, others = works(some)
        for name, theirs in others.items():
            found = measure(ours, theirs, asked.pairs, asked.clock)
            verdicts.append(found.against(AIM))
            word = {"within": "met", "above": "missed"}.get(verdicts[-1], "unclear")
            table.add_row(name, str(len(some)), *found.shown(), word)
    console.print(table)
    return "above" not in verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    asked = _parser().parse_args(arguments)
    console = Console(highlight=False, width=140)
    return int(not (race(asked, console) if asked.speed else compare(asked.brief, console)))


def _overview(found: dict[Reference, list[Line]]) -> Table:
    title = f"largest difference; limit {LIMIT:g}, above 1 relative to the value"
    table = Table("kind", "source", "by", "values", "undefined", "difference", "", title=title)
    for reference, some in found.items():
        undefined = sum(line.ours is None for line in some)
        largest = max((line.difference for line in some), default=0.0)
        word = "all agree" if all(line.agrees for line in some) else "DIFFERS"
        cells = str(len(some)), str(undefined), f"{largest:.1e}", word
        shown = cells if reference.installed else ("", "", "", "not installed")
        table.add_row(reference.kind, reference.source, reference.what, *shown)
    return table


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.9g}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brief", action="store_true", help="leave out the single values")
    parser.add_argument("--speed", action="store_true", help="measure time instead")
    parser.add_argument("--images", metavar="N", type=int, default=200, help="masks of a run")
    parser.add_argument("--pairs", metavar="N", type=int, default=5, help="runs of each kind")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
