"""Columns of tables and axes of plots: title, unit, format, and which direction is better."""

import math
from dataclasses import dataclass
from typing import Literal

from bench.errors import no_such

MISSING = "—"  # not measured or not defined; never 0

HARDWARE = ("env/cpu", "env/instructions", "env/gpu", "env/threads")


@dataclass(frozen=True)
class Column:
    """One metric or cost, as a column of tables and an axis of plots.

    Attributes:
        key: name in records and in the frame.
        title: title in headers and on axes.
        unit: unit of the shown value, which is `scale` times the recorded value; "0-1" or "0-100"
            for the range of a number without unit, "" for any other.
        better: whether higher or lower values are better, for marks and Pareto fronts.
        scale: factor from the unit of the record to the shown unit.
        decimals: digits after the point; None for three significant digits or, from 1000 on, all
            digits before the point.
        spread: whether the standard deviation over runs is shown.
        image_score: key in `Record.per_image` whose values are compared specimen by specimen; None:
            no ties are marked.
        comparable_within: columns of the frame that must agree; otherwise values are not ranked.
        importance: terminal tables leave out columns with the highest number first.
        axis: a longer title, for axes; "" for `title`.
        best_of_runs: show the highest value of the runs instead of the mean.
        optional: leave the column out of tables in which no row has a value; others stay, with
            dashes.
    """

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    scale: float = 1.0
    decimals: int | None = None
    spread: bool = False
    image_score: str | None = None
    comparable_within: tuple[str, ...] = ()
    importance: int = 0
    axis: str = ""
    best_of_runs: bool = False
    optional: bool = False

    @property
    def header(self) -> str:
        """Title and unit; the title alone for a value without a unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def format(self, value: float | None) -> str:
        """Return a value as text in the shown unit, without its name; a dash for None or NaN.

        Args:
            value: in the unit of records.
        """
        if value is None or math.isnan(value):
            return MISSING
        shown = value * self.scale
        decimals = _decimals(shown) if self.decimals is None else self.decimals
        return f"{shown:,.{decimals}f}"


def _decimals(shown: float) -> int:
    """Digits after the point that leave three significant ones."""
    return max(0, 2 - math.floor(math.log10(abs(shown)))) if shown else 0


_PERCENT, _MEGA, _GIGA, _MIB = 100.0, 1e-6, 1e-9, 2.0**-20


def _optional(
    key: str,
    title: str,
    unit: str,
    better: Literal["higher", "lower"],
    image_score: str | None,
    importance: int,
) -> Column:
    """A measure of accuracy that only some collections have."""
    scale = _PERCENT if unit == "%" else 1.0
    decimals = {"0-1": 3, "0-100": 2}.get(unit, 1)
    return Column(
        key,
        title,
        unit,
        better,
        scale,
        decimals,
        True,
        image_score,
        importance=importance,
        optional=True,
    )


DICE = Column("dice_dataset", "Dice", "%", "higher", _PERCENT, 1, True, "dice")
IN_DOMAIN_DICE = Column(  # only of records that test on another dataset
    "in_domain_dice_dataset",
    "In-domain Dice",
    "%",
    "higher",
    _PERCENT,
    1,
    True,
    importance=1,
    optional=True,
)

_OBJECTS = (
    _optional("pq_dataset", "PQ", "%", "higher", "pq", 2),
    _optional("aji_dataset", "AJI", "%", "higher", "aji", 7),
    _optional("ap_dataset", "AP", "%", "higher", "ap", 8),
)
_GREY_LEVELS = (
    _optional("s_alpha", "S-alpha", "0-1", "higher", "s_alpha", 2),
    _optional("e_phi_mean", "E-phi mean", "0-1", "higher", "e_phi_mean", 7),
    _optional("weighted_f", "Weighted F", "0-1", "higher", "weighted_f", 6),
    _optional("mae", "MAE", "0-1", "lower", "mae", 8),
    _optional("ber_dataset", "BER", "0-100", "lower", "ber", 6),
)
_VOLUMES = (
    _optional("dice_volume_mean", "Volume Dice", "%", "higher", None, 2),
    _optional("hd95_pooled_mm_volume_mean", "HD95", "mm", "lower", None, 5),
    _optional("assd_pooled_mm_volume_mean", "ASSD", "mm", "lower", None, 8),
)

COLUMNS = (
    DICE,
    IN_DOMAIN_DICE,
    Column("iou_dataset", "IoU", "%", "higher", _PERCENT, 1, True, "iou", importance=4),
    Column("hd95_pooled_px", "HD95", "px", "lower", 1.0, 1, True, "hd95", importance=6),
    Column(
        "boundary_iou",
        "Boundary IoU",
        "%",
        "higher",
        _PERCENT,
        1,
        True,
        "boundary_iou",
        importance=7,
    ),
    *_OBJECTS,
    *_GREY_LEVELS,
    *_VOLUMES,
    Column(
        "trainable_params",
        "Trainable",
        "M",
        "lower",
        _MEGA,
        importance=2,
        axis="trainable parameters",
    ),
    Column("total_params", "Total", "M", "lower", _MEGA, importance=11),
    Column("forward_flops", "Forward", "GFLOP", "lower", _GIGA, importance=9),
    Column(
        "train_step_flops",
        "Train step",
        "GFLOP",
        "lower",
        _GIGA,
        importance=8,
        axis="training step",
    ),
    Column(
        "train_peak_bytes",
        "Peak memory",
        "MiB",
        "lower",
        _MIB,
        comparable_within=("memory_source",),
        importance=3,
        axis="peak training memory",
    ),
    Column(
        "train_images_per_s",
        "Train speed",
        "img/s",
        "higher",
        comparable_within=HARDWARE,
        importance=1,
        axis="training speed",
        best_of_runs=True,  # other work on the machine only ever slows a run down
    ),
    Column(
        "infer_images_per_s",
        "Infer speed",
        "img/s",
        "higher",
        comparable_within=HARDWARE,
        importance=5,
        axis="inference speed",
        best_of_runs=True,
    ),
    Column("checkpoint_bytes", "Checkpoint", "MiB", "lower", _MIB, importance=10),
)

MORE = (  # not in tables; ledgers compare them with published values
    _optional("pixel_accuracy", "Pixel accuracy", "%", "higher", "pixel_accuracy", 0),
    _optional("dice_image_mean", "Dice by image", "%", "higher", "dice", 0),
    _optional("iou_image_mean", "IoU by image", "%", "higher", "iou", 0),
    _optional("iou_volume_mean", "Volume IoU", "%", "higher", None, 0),
    _optional("ber_image_mean", "BER by image", "0-100", "lower", "ber", 0),
    Column("epoch_wall_s", "Time per epoch", "s", "lower"),
    Column("last_epoch_loss", "Training loss of the last epoch", "", "lower"),
)

COSTS = tuple(
    next(column for column in COLUMNS if column.key == key)
    for key in (
        "trainable_params",
        "train_step_flops",
        "train_peak_bytes",
        "train_images_per_s",
        "infer_images_per_s",
    )
)


def column_names() -> dict[str, Column]:
    """Names that users give to `COLUMNS`: the title, as "boundary-iou"; of two, the unit as well.

    HD95 in pixels is "hd95", and in millimetres "hd95-mm".
    """
    names: dict[str, Column] = {}
    for column in COLUMNS:
        name = column.title.lower().replace(" ", "-")
        names[f"{name}-{column.unit}" if name in names else name] = column
    return names


def get_column(key: str) -> Column:
    """Return the column of `COLUMNS` or `MORE` with this key.

    Args:
        key: of a column; what comes after a "/", such as the organ in `dice_volume_mean/liver`, is
            left out. The score of one class, such as `dice/pore` or `iou/pore`, has the column of
            all classes, here `dice_dataset` or `iou_dataset`.

    Raises:
        UserError: no column has that key.
    """
    whole, _, class_name = key.partition("/")
    if class_name and whole in ("dice", "iou"):
        whole += "_dataset"
    for column in (*COLUMNS, *MORE):
        if column.key == whole:
            return column
    raise no_such("score", key, [column.key for column in (*COLUMNS, *MORE)])
