"""What is read off the predictions of a row: truth, prediction, error and its interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.report.records.rows import Row
from bench.stats.bootstrap import (
    Interval,
    RowsBySeed,
    ScoreSums,
    mean_score,
    percentile_interval,
    resample,
)


@dataclass(frozen=True)
class Quantity:
    """One of the readings of `bench.metrics.readings`.

    Attributes:
        figure: its key in records without the class, with the slash.
        title: as it is shown, with the unit.
        scale: from the unit of records to the shown one.
        digits: that are shown after the point.
    """

    figure: str
    title: str
    scale: float = 1.0
    digits: int = 1

    def mean(self, runs: RowsBySeed, part: str, name: str) -> ScoreSums:
        """Mean over images of the prediction (part ""), of "_truth" or of "_error" for a class."""
        return mean_score(runs, f"{self.figure[:-1]}{part}/{name}")


@dataclass(frozen=True)
class RowReading:
    """One reading of a row for one class, in the shown unit.

    Attributes:
        name: of the class.
        quantity: what is read.
        truth: mean over the test images; NaN where it is not defined.
        prediction: likewise.
        error: mean of prediction - truth over the images that have both.
        interval: of the error, over specimens and seeds; None with fewer than two specimens, or if
            the error is missing in too many images.
    """

    name: str
    quantity: Quantity
    truth: float
    prediction: float
    error: float
    interval: Interval | None


SIZES = (Quantity("d10/", "D10 (px)"), Quantity("d50/", "D50 (px)"), Quantity("d90/", "D90 (px)"))
QUANTITIES = (
    Quantity("particles/", "objects in an image"),
    *SIZES,
    Quantity("aspect_ratio/", "aspect ratio", digits=2),
    Quantity("touching/", "touching another object (%)", 100.0),
    Quantity("phase_fraction/", "phase fraction (%)", 100.0),
)


def readings_of(row: Row) -> list[RowReading]:
    """Return the readings of every foreground class; none where objects were not measured.

    Args:
        row: its successful runs count, of the seeds in which all specimens were tested.
    """
    runs = images_by_seed(row)
    if not runs:
        return []
    prefix = "particles_truth/"
    names = [key.removeprefix(prefix) for key in runs[0][0] if key.startswith(prefix)]
    pairs = [(name, quantity) for name in names for quantity in QUANTITIES]
    errors = [quantity.mean(runs, "_error", name) for name, quantity in pairs]
    return [
        RowReading(
            name,
            quantity,
            quantity.scale * quantity.mean(runs, "_truth", name).value,
            quantity.scale * quantity.mean(runs, "", name).value,
            quantity.scale * error.value,
            interval,
        )
        for (name, quantity), error, interval in zip(
            pairs, errors, _intervals(pairs, errors), strict=True
        )
    ]


def _intervals(pairs: list[tuple[str, Quantity]], errors: list[ScoreSums]) -> list[Interval | None]:
    if not errors or errors[0].sums.shape[1] < 2:
        return [None] * len(errors)
    found: list[Interval | None] = []
    for (_, quantity), values in zip(pairs, resample(errors), strict=True):
        one = percentile_interval(values)
        scale = quantity.scale
        found.append(None if one is None else Interval(scale * one.low, scale * one.high))
    return found


def images_by_seed(row: Row) -> RowsBySeed:
    """Test images of each seed, of all folds, where they show all specimens.

    Args:
        row: its successful runs count.
    """
    runs: list[list[Mapping[str, Any]]] = [
        [image for images in group["per_image"] for image in images]
        for _, group in row.select("seed", "per_image").groupby("seed")
    ]
    specimens = {image["group"] for images in runs for image in images}
    return [images for images in runs if {image["group"] for image in images} == specimens]
