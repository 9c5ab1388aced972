"""What methods are compared by: a score of a whole test set, and of one image."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from bench.errors import no_such
from bench.spec import Record
from bench.stats.bootstrap import RowsBySeed, ScoreSums, pooled_overlap, pooled_quality
from bench.stats.paired import Floats

ScoreRow = Mapping[str, Any]  # of one image, as in `Record.per_image`
Pool = Callable[[RowsBySeed, Sequence[str]], ScoreSums]
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
        pool: for a merit of all images of a set together, its sums in [0, 1] by specimen, as of
            `pooled_overlap`; None for the mean over images.
    """

    name: str
    title: str
    unit: str
    of_set: Callable[[Record], float | None]
    of_image: Callable[[ScoreRow, Sequence[str]], float | None]
    pool: Pool | None = None

    @property
    def has_margin(self) -> bool:
        """Whether a margin in percentage points makes sense for it."""
        return self.unit == "points"

    def sums(self, record: Record) -> dict[str, Floats]:
        """Numerators and denominators (R, 2) of each test specimen, as in `ScoreSums`.

        The merit of any set of specimens is the mean over the R ratios of the summed numerators to
        the summed denominators; that of all specimens is `of_set`.
        """
        if self.pool is None:
            parts = self._merits(record).items()
            return {name: np.array([[sum(part), len(part)]], float) for name, part in parts}
        names = sorted({str(row["group"]) for row in record.per_image})
        sums = self.pool([record.per_image], record.classes).sums[0]
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


def _figure(
    name: str,
    title: str,
    unit: str,
    metric: str,
    image: str,
    *,
    scale: float,
    pool: Pool | None = None,
) -> Criterion:
    """A figure of the whole test set and of one image; its merit is `scale` times the figure."""

    def merit(value: float | None) -> float | None:
        return None if value is None else scale * value

    return Criterion(
        name,
        title,
        unit,
        of_set=lambda record: merit(record.metrics.get(metric)),
        of_image=lambda row, classes: merit(row.get(image)),
        pool=pool,
    )


_share = partial(_figure, unit="points", scale=PERCENT)  # of a score in [0, 1]


def _error(name: str, title: str, unit: str, figure: str) -> Criterion:
    """The mean absolute error of a reading over the foreground classes, negative."""

    def of_image(row: ScoreRow, classes: Sequence[str]) -> float | None:
        values = (row.get(f"{figure}/{label}") for label in classes[1:])
        return _negative(abs(value) * PERCENT for value in values if value is not None)

    def of_set(record: Record) -> float | None:
        merits = (of_image(row, record.classes) for row in record.per_image)
        known = [merit for merit in merits if merit is not None]
        return fmean(known) if known else None

    return Criterion(name, title, unit, of_set, of_image)


def _negative(values: Iterable[float]) -> float | None:
    known = list(values)
    return -fmean(known) if known else None


_POOLED_IOU = partial(pooled_overlap, iou=True)
DICE = _share("dice", "Dice", metric="dice_dataset", image="dice", pool=pooled_overlap)

CRITERIA = {
    one.name: one
    for one in (
        DICE,
        _share("iou", "IoU", metric="iou_dataset", image="iou", pool=_POOLED_IOU),
        _share("boundary_iou", "boundary IoU", metric="boundary_iou", image="boundary_iou"),
        _share("pq", "PQ", metric="pq_dataset", image="pq", pool=pooled_quality),
        # Records have no sums of single images from which those of the whole set would follow.
        _share("aji", "mean AJI of the images", metric="aji_image_mean", image="aji"),
        _share("ap", "mean AP of the images", metric="ap_image_mean", image="ap"),
        _figure("hd95", "HD95", "px", "hd95_pooled_px", "hd95", scale=-1.0),
        _error("phase_fraction", "error of the phase fraction", "points", "phase_fraction_error"),
        _error("d50", "relative error of d50", "%", "d50_relative_error"),
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
