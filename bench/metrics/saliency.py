"""Scores of grey-level maps of one foreground, by image and over the test set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.metrics.foreground import (
    Curve,
    Mask,
    Saliency,
    balanced_error_rate,
    counts_by_level,
    enhanced_alignment,
    f_measure,
    select,
    stretch,
    structure_measure,
    weighted_f_measure,
)
from bench.metrics.overlap import mean_defined

BER_THRESHOLD = 125 / 255  # as SAM-Adapter's code


@dataclass(frozen=True, eq=False)
class SaliencyScore:
    """Scores of one predicted map; None, and counts 0, where the image has no labelled pixel.

    All are of the stretched map, except `mae_unstretched` and the counts.

    Attributes:
        s_alpha: structure measure; definitions are in `bench.metrics.foreground`.
        e_adaptive: enhanced alignment at twice the mean of the map, at most 1.
        e_curve: (256,) enhanced alignment at the thresholds 0..255 of 255 x the map.
        f_adaptive: F-measure at the threshold of `e_adaptive`, beta^2 = 0.3.
        f_curve: (256,) F-measure at the thresholds 0..255.
        weighted_f: weighted F-measure, beta^2 = 1.
        mae: mean absolute error of the stretched map.
        mae_unstretched: mean absolute error of the map as predicted.
        hits: foreground pixels that are predicted as foreground: the map as predicted is above
            `BER_THRESHOLD`.
        foreground_px: foreground pixels of the truth.
        rejections: background pixels that are predicted as background, likewise.
        background_px: background pixels of the truth.
    """

    s_alpha: float | None
    e_adaptive: float | None
    e_curve: Curve | None
    f_adaptive: float | None
    f_curve: Curve | None
    weighted_f: float | None
    mae: float | None
    mae_unstretched: float | None
    hits: int
    foreground_px: int
    rejections: int
    background_px: int

    @property
    def ber(self) -> float | None:
        """Balanced error rate in per cent; None where the truth lacks foreground or background."""
        return balanced_error_rate(
            self.hits, self.foreground_px, self.rejections, self.background_px
        )

    def to_row(self) -> dict[str, float | None]:
        """One row for a record's `per_image`; None where a score is not defined.

        Returns:
            `s_alpha`, `weighted_f`, `mae`, `mae_unstretched`, `ber` (in per cent); `e_phi_adaptive`
            and `f_beta_adaptive`; mean and largest value of the curves of this image, `e_phi_mean`,
            `e_phi_max`, `f_beta_mean` and `f_beta_max`.
        """
        return {
            "s_alpha": self.s_alpha,
            **_of_curve("e_phi", self.e_adaptive, self.e_curve),
            **_of_curve("f_beta", self.f_adaptive, self.f_curve),
            "weighted_f": self.weighted_f,
            "mae": self.mae,
            "mae_unstretched": self.mae_unstretched,
            "ber": self.ber,
        }


def score_saliency(
    prediction: Saliency, truth: Mask, labelled: Mask | None = None
) -> SaliencyScore:
    """Compare a grey-level map with a mask, at the resolution of the mask.

    Args:
        prediction: (H, W) float in [0, 1], such as the probability of the foreground.
        truth: (H, W) bool.
        labelled: (H, W) bool, where the truth is known; None: everywhere. No other pixel counts.

    Returns:
        The scores: those of the map after `stretch`, except `mae_unstretched` and the counts (thus
        `ber`). If no pixel is labelled, scores are None and counts 0.

    Raises:
        ValueError: shapes differ, there are no pixels, a mask is not bool, or a value of the
            prediction is outside 0..1.
    """
    prediction = _checked(prediction, truth, labelled)
    if labelled is not None and labelled.all():
        labelled = None
    if labelled is not None and not labelled.any():
        return _UNDEFINED
    stretched = stretch(prediction, labelled)
    known, known_truth = select(stretched, labelled), select(truth, labelled)
    adaptive = known >= min(2 * float(known.mean()), 1.0)
    at_mean = (
        np.array([np.count_nonzero(adaptive & known_truth)]),
        np.array([np.count_nonzero(adaptive)]),
    )
    at_levels = counts_by_level(stretched, truth, labelled)
    foreground = int(np.count_nonzero(known_truth))
    foreground_map = select(prediction, labelled) > BER_THRESHOLD
    return SaliencyScore(
        s_alpha=structure_measure(stretched, truth, labelled),
        e_adaptive=float(enhanced_alignment(*at_mean, foreground, known.size)[0]),
        e_curve=enhanced_alignment(*at_levels, foreground, known.size),
        f_adaptive=float(f_measure(*at_mean, foreground)[0]),
        f_curve=f_measure(*at_levels, foreground),
        weighted_f=weighted_f_measure(stretched, truth, labelled),
        mae=float(np.abs(known - known_truth).mean()),
        mae_unstretched=float(np.abs(select(prediction, labelled) - known_truth).mean()),
        hits=int(np.count_nonzero(foreground_map & known_truth)),
        foreground_px=foreground,
        rejections=int(np.count_nonzero(~(foreground_map | known_truth))),
        background_px=known.size - foreground,
    )


def summarise_saliency(scores: Sequence[SaliencyScore]) -> dict[str, float | None]:
    """Summarise a test set.

    Args:
        scores: one per test image, at least one.

    Returns:
        `s_alpha`, `weighted_f`, `mae`, `mae_unstretched`, `e_phi_adaptive` and `f_beta_adaptive`:
        means over the images that have a labelled pixel. `e_phi_mean`, `e_phi_max`, `f_beta_mean`,
        `f_beta_max`: mean and largest value of the curve that is the mean over these images.
        `ber_image_mean`: mean over the `ber_defined` images that hold both foreground and
        background; `ber_dataset`: from the counts of all images together; both in per cent. None
        wherever nothing is defined.

    Raises:
        ValueError: no scores.
    """
    if not scores:
        raise ValueError("no images to summarise")

    def mean(field: str) -> Any:
        values = [value for score in scores if (value := getattr(score, field)) is not None]
        return np.mean(values, axis=0) if values else None

    rates = [score.ber for score in scores]
    fields = ("hits", "foreground_px", "rejections", "background_px")
    return {
        "s_alpha": _number(mean("s_alpha")),
        **_of_curve("e_phi", mean("e_adaptive"), mean("e_curve")),
        **_of_curve("f_beta", mean("f_adaptive"), mean("f_curve")),
        "weighted_f": _number(mean("weighted_f")),
        "mae": _number(mean("mae")),
        "mae_unstretched": _number(mean("mae_unstretched")),
        "ber_image_mean": mean_defined(rates),
        "ber_dataset": balanced_error_rate(
            *(sum(getattr(score, field) for score in scores) for field in fields)
        ),
        "ber_defined": sum(rate is not None for rate in rates),
    }


def _checked(prediction: Saliency, truth: Mask, labelled: Mask | None) -> npt.NDArray[np.float64]:
    if prediction.shape != truth.shape or truth.ndim != 2 or not truth.size:
        raise ValueError(
            f"prediction {prediction.shape} and truth {truth.shape} must have one shape (H, W)"
        )
    if truth.dtype != np.bool_:
        raise ValueError(f"the truth must be bool, not {truth.dtype}")
    if labelled is not None and (labelled.shape != truth.shape or labelled.dtype != np.bool_):
        raise ValueError(
            f"the labelled pixels must be bool {truth.shape}, not {labelled.dtype} {labelled.shape}"
        )
    values = prediction.astype(np.float64)
    if not (values.min() >= 0 and values.max() <= 1):  # refuses NaN, too
        raise ValueError(f"the prediction holds {values.min()}..{values.max()}; allowed is 0..1")
    return values


def _of_curve(name: str, adaptive: float | None, curve: Curve | None) -> dict[str, float | None]:
    return {
        f"{name}_adaptive": _number(adaptive),
        f"{name}_mean": None if curve is None else float(curve.mean()),
        f"{name}_max": None if curve is None else float(curve.max()),
    }


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


_UNDEFINED = SaliencyScore(*(None,) * 8, 0, 0, 0, 0)
