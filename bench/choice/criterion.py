"""What methods are compared by: a score of a whole test set, and of one image."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from bench.errors import no_such
from bench.spec import Record
from bench.stats.bootstrap import pooled_overlap
from bench.stats.paired import Floats

ScoreRow = Mapping[str, Any]  # of one image, as in `Record.per_image`
PERCENT = 100.0


@dataclass(frozen=True)
class Criterion:
    """A score by which methods are compared.

    All values that its functions return are merits: higher is better. The merit of an error is its
    negative. Values in [0, 1] are multiplied by 100, so a difference is in percentage points.

    Attributes:
        name: as in `--by`.
        title: for tables and sentences.
        unit: "points" or the unit of the error.
        of_set: the merit of the test set of a record; None where it is not defined.
        of_image: the merit of one image, from its row and the names of the classes.
        has_margin: whether a margin in percentage points makes sense for it.
        pooled: whether the merit of a set is that of all its pixels together, as for Dice and IoU;
            otherwise it is the mean over images.
    """

    name: str
    title: str
    unit: str
    of_set: Callable[[Record], float | None]
    of_image: Callable[[ScoreRow, Sequence[str]], float | None]
    has_margin: bool = True
    pooled: bool = False

    def sums(self, record: Record) -> dict[str, Floats]:
        """Numerators and denominators (R, 2) of each test specimen, as in `ScoreSums`.

        The merit of any set of specimens is the mean over the R ratios of the summed numerators to
        the summed denominators.
        """
        if not self.pooled:
            parts = self._merits(record).items()
            return {name: np.array([[sum(part), len(part)]], float) for name, part in parts}
        names = sorted({str(row["group"]) for row in record.per_image})
        iou = self.name == "iou"
        sums = pooled_overlap([record.per_image], record.classes, iou=iou).sums[0]
        return dict(zip(names, sums * np.array([PERCENT, 1.0]), strict=True))

    def by_specimen(self, record: Record) -> dict[str, float]:
        """The mean merit of the images of each test specimen, without undefined values."""
        return {name: fmean(part) for name, part in self._merits(record).items()}

    def _merits(self, record: Record) -> dict[str, list[float]]:
        values: dict[str, list[float]] = {}
        for row in record.per_image:
            merit = self.of_image(row, record.classes)
            if merit is not None:
                values.setdefault(str(row["group"]), []).append(merit)
        return values


def _share(name: str, title: str, metric: str, image: str, *, pooled: bool = False) -> Criterion:
    """A score in [0, 1] with its own value for the whole test set."""

    def of_set(record: Record) -> float | None:
        value = record.metrics.get(metric)
        return None if value is None else PERCENT * value

    def of_image(row: ScoreRow, classes: Sequence[str]) -> float | None:
        value = row.get(image)
        return None if value is None else PERCENT * value

    return Criterion(name, title, "points", of_set, of_image, pooled=pooled)


def _error(
    name: str, title: str, unit: str, figure: str, *, scale: float, has_margin: bool
) -> Criterion:
    """The mean absolute error of a reading over the foreground classes, negative."""

    def of_image(row: ScoreRow, classes: Sequence[str]) -> float | None:
        values = (row.get(f"{figure}/{label}") for label in classes[1:])
        return _negative(abs(value) * scale for value in values if value is not None)

    def of_set(record: Record) -> float | None:
        merits = (of_image(row, record.classes) for row in record.per_image)
        known = [merit for merit in merits if merit is not None]
        return fmean(known) if known else None

    return Criterion(name, title, unit, of_set, of_image, has_margin)


def _distance(name: str, title: str, metric: str, image: str) -> Criterion:
    """A distance in pixels, negative."""

    def of_set(record: Record) -> float | None:
        value = record.metrics.get(metric)
        return None if value is None else -value

    def of_image(row: ScoreRow, classes: Sequence[str]) -> float | None:
        value = row.get(image)
        return None if value is None else -value

    return Criterion(name, title, "px", of_set, of_image, has_margin=False)


def _negative(values: Iterable[float]) -> float | None:
    known = list(values)
    return -fmean(known) if known else None


DICE = _share("dice", "Dice", "dice_dataset", "dice", pooled=True)

CRITERIA = {
    one.name: one
    for one in (
        DICE,
        _share("iou", "IoU", "iou_dataset", "iou", pooled=True),
        _share("boundary_iou", "boundary IoU", "boundary_iou", "boundary_iou"),
        _share("pq", "PQ", "pq_dataset", "pq"),
        _share("aji", "AJI", "aji_dataset", "aji"),
        _share("ap", "AP", "ap_dataset", "ap"),
        _distance("hd95", "HD95", "hd95_pooled_px", "hd95"),
        _error(
            "phase_fraction",
            "error of the phase fraction",
            "points",
            "phase_fraction_error",
            scale=PERCENT,
            has_margin=True,
        ),
        _error(
            "d50",
            "relative error of d50",
            "%",
            "d50_relative_error",
            scale=PERCENT,
            has_margin=False,
        ),
    )
}


def get_criterion(name: str) -> Criterion:
    """The criterion of this name.

    Raises:
        UserError: there is none.
    """
    if name not in CRITERIA:
        raise no_such("criterion", name, CRITERIA)
    return CRITERIA[name]
