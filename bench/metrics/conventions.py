"""Scores of the same predictions as well-known projects compute them; see docs/protocol/metrics.md.

A `Convention` holds its source, its rule, and a function that computes its scores from the cases of
a test set. All conventions compare class maps at the resolution of the masks: how a project resizes
images is not part of a convention here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.metrics.cases import Case
from bench.metrics.foreground import balanced_error_rate
from bench.metrics.overlap import (
    Counts,
    Values,
    dice_per_class,
    iou_per_class,
    mean_defined,
    pixel_counts,
)

LOWER_IS_BETTER = frozenset({"hd95_px", "mae", "ber"})

Figures = Mapping[str, float | None]  # measure to value; None where it is not defined


@dataclass(frozen=True, eq=False)
class Convention:
    """One way to score a test set.

    Attributes:
        name: as in tables.
        source: the project, with the version or files of its code where they are known.
        rule: what it does, in one sentence.
        limits: what class maps cannot reproduce, and what is left out because it is not known; ""
            if nothing.
        score: from the cases of a test set, at least one, to the measures of this convention.
            `hd95_px` is in voxels, `ber` in per cent; all others are fractions in [0, 1], except
            that `e_phi_mean` may be a little more than 1. None: not defined for these cases.
    """

    name: str
    source: str
    rule: str
    limits: str
    score: Callable[[Sequence[Case]], Figures]


def _suite(cases: Sequence[Case]) -> Figures:
    counts = np.sum([case.counts.sum(axis=0) for case in cases], axis=0)
    slices = [values for case in cases for values in case.hd95_slices]
    return {
        "dice": mean_defined(dice_per_class(counts)[1:]),
        "iou": mean_defined(iou_per_class(counts)[1:]),
        "hd95_px": mean_defined(map(mean_defined, slices)),
        "ber": _ber(counts),
    }


def _suite_by_image(cases: Sequence[Case]) -> Figures:
    slices = _slices(cases)
    return {
        "dice": mean_defined(mean_defined(dice_per_class(counts)[1:]) for counts in slices),
        "iou": mean_defined(mean_defined(iou_per_class(counts)[1:]) for counts in slices),
    }


def _samed(cases: Sequence[Case]) -> Figures:
    figures = []
    for case in cases:
        counts = case.counts.sum(axis=0)
        if not counts.any():  # nothing is labelled
            continue
        _, truth, predicted = pixel_counts(counts)
        for index, (dice, hd95) in enumerate(
            zip(dice_per_class(counts)[1:], case.hd95, strict=True), start=1
        ):
            if dice is not None and hd95 is not None:
                figures.append((dice, hd95))
            else:  # a false alarm gets the best Dice; missing and rightly left out, the worst
                false_alarm = predicted[index] > 0 and truth[index] == 0
                figures.append((1.0 if false_alarm else 0.0, 0.0))
    # Every case has every class: the mean over cases, then classes, is that over all pairs.
    if not figures:
        return {"dice": None, "hd95_px": None}
    dice, hd95 = np.mean(figures, axis=0)
    return {"dice": float(dice), "hd95_px": float(hd95)}


def _finetune_sam(cases: Sequence[Case]) -> Figures:
    return {"dice": _mean([_smooth_dice(counts, 1.0) for counts in _slices(cases)])}


def _med_sa(cases: Sequence[Case]) -> Figures:
    dice, iou = [], []
    for counts in _slices(cases):
        overlap, truth, predicted = pixel_counts(counts)
        dice.append(_smooth_dice(counts, 1e-4)[1:])
        iou.append(((overlap + 1e-6) / (truth + predicted - overlap + 1e-6))[1:])
    return {"dice": _mean(dice), "iou": _mean(iou)}


def _sam_adapter(cases: Sequence[Case]) -> Figures:
    maps = [one for case in cases for one in case.maps if one is not None]
    rates = [_ber(counts) for counts in _slices(cases)]
    return {
        "s_alpha": _mean([one.s_alpha for one in maps]),
        "e_phi_mean": _mean([one.e_phi_mean for one in maps]),
        "mae": _mean([one.mae for one in maps]),
        "ber": None if None in rates else mean_defined(rates),
    }


def _nnunet(cases: Sequence[Case]) -> Figures:
    counts = [case.counts.sum(axis=0) for case in cases]
    return {
        "dice": _mean_of_labels([dice_per_class(one)[1:] for one in counts]),
        "iou": _mean_of_labels([iou_per_class(one)[1:] for one in counts]),
    }


def _mean_of_labels(cases: Sequence[Values]) -> float | None:
    """Mean over cases of each label, then over labels; None where a label has no value at all."""
    means = [mean_defined(values) for values in zip(*cases, strict=True)]
    return None if None in means else mean_defined(means)


def _slices(cases: Sequence[Case]) -> list[Counts]:
    """Counts (K, K) of each slice that has a labelled pixel."""
    return [counts for case in cases for counts in case.counts if counts.any()]


def _mean(values: Sequence[Any]) -> float | None:
    """Mean of numbers or arrays of one shape; None where there are none."""
    return float(np.mean(values)) if len(values) else None


def _smooth_dice(counts: Counts, smooth: float) -> Any:
    overlap, truth, predicted = pixel_counts(counts)
    return (2 * overlap + smooth) / (truth + predicted + smooth)


def _ber(counts: Counts) -> float | None:
    """Balanced error rate of any foreground class against class 0, in per cent."""
    hits, foreground = counts[1:, 1:].sum(), counts[1:].sum()
    return balanced_error_rate(int(hits), int(foreground), int(counts[0, 0]), int(counts[0].sum()))


CONVENTIONS = (
    Convention(
        "suite",
        "this suite",
        "All test pixels together, mean over the foreground classes, classes on neither side left "
        "out; HD95 by image over the classes on both sides; BER pooled.",
        "",
        _suite,
    ),
    Convention(
        "suite by image",
        "this suite",
        "Mean over the foreground classes on either side of an image, then over images.",
        "",
        _suite_by_image,
    ),
    Convention(
        "SAMed",
        "hitachinsk/SAMed@e351840 (utils.py, test.py), as TransUNet",
        "Dice and HD95 (pooled, as MedPy, no spacing) of each foreground class in each volume, "
        "mean over volumes, then classes; a false alarm of an absent class counts (1, 0), a class "
        "missed or rightly left out (0, 0).",
        "",
        _samed,
    ),
    Convention(
        "finetune-SAM",
        "mazurowski-lab/finetune-SAM@4275229 (utils/dsc.py, validation of its training)",
        "Dice of all classes of each slice, the background among them, smoothed by 1 pixel (absent "
        "from both sides: 1), mean over classes and slices.",
        "Its test script prints Dice and IoU of each class, smoothed by 1e-4 and 1e-9; how the "
        "paper joins classes is not established, so that its IoU is left out.",
        _finetune_sam,
    ),
    Convention(
        "Med-SA",
        "Medical-SAM-Adapter (utils.py: eval_seg)",
        "Dice (smoothed by 1e-4) and IoU (by 1e-6) of each foreground class in each slice, absent "
        "from both sides: 1, mean over slices.",
        "Its mean over the thresholds 0.1 to 0.9 of the sigmoid needs probabilities; on a class "
        "map all thresholds agree. Its code reports each class; the mean over classes is ours.",
        _med_sa,
    ),
    Convention(
        "SAM-Adapter",
        "tianrun-chen/SAM-Adapter-PyTorch@665145d (utils.py, sod_metric.py)",
        "S-measure, E-measure (mean of 256 thresholds) and MAE of each slice's map of one "
        "foreground, and BER by slice (no value if one lacks foreground or background), means "
        "over slices.",
        "Its maps are probabilities; here they are 0 or 1, and any class but 0 is foreground. Its "
        "weighted F (beta 0.3 where others take 1) is left out.",
        _sam_adapter,
    ),
    Convention(
        "nnU-Net",
        "MIC-DKFZ/nnUNet (nnunetv2/evaluation/evaluate_predictions.py)",
        "Dice and IoU of each foreground class in each volume, mean over the volumes with the "
        "class on either side, then over classes; no value if a class is in none.",
        "",
        _nnunet,
    ),
)
