"""Metrics of objects: panoptic quality, aggregated Jaccard index, average precision."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.components import label_components
from bench.metrics.matching import pair_up
from bench.metrics.overlap import Labels, blank_ignored, mean_defined

PRECISION_PERCENT = tuple(range(50, 100, 5))  # IoU thresholds of the average precision
MEASURES = ("pq", "sq", "dq", "aji", "aji_plus", "ap", "ap50")


@dataclass(frozen=True)
class ObjectScore:
    """Counts of matched objects of one class; the sum (`+`) over images gives scores of the set.

    Attributes:
        truth: objects in the truth.
        predicted: objects in the prediction.
        matched: pairs with an IoU above 0.5, which no other pair can share.
        matched_iou: sum of the IoU of these pairs.
        matched_at: for each of `PRECISION_PERCENT` the largest number of pairs, no object in two,
            whose IoU reaches it.
        aji_overlap_px: numerator of AJI.
        aji_union_px: denominator of AJI.
        aji_plus_overlap_px: numerator of AJI+.
        aji_plus_union_px: denominator of AJI+.
    """

    truth: int
    predicted: int
    matched: int
    matched_iou: float
    matched_at: tuple[int, ...]
    aji_overlap_px: int
    aji_union_px: int
    aji_plus_overlap_px: int
    aji_plus_union_px: int

    def __add__(self, other: "ObjectScore") -> "ObjectScore":
        sums: dict[str, Any] = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
            if field.name != "matched_at"
        }
        at = tuple(a + b for a, b in zip(self.matched_at, other.matched_at, strict=True))
        return ObjectScore(matched_at=at, **sums)

    @property
    def dq(self) -> float | None:
        """Detection quality, the F1 of the matches, in [0, 1]; None without objects."""
        return _ratio(2 * self.matched, self.truth + self.predicted)

    @property
    def sq(self) -> float | None:
        """Segmentation quality, the mean IoU of the matches, in (0.5, 1]; None without matches."""
        return _ratio(self.matched_iou, self.matched)

    @property
    def pq(self) -> float | None:
        """Panoptic quality DQ x SQ in [0, 1] (Kirillov et al., 2019, arXiv 1801.00868).

        None without objects; 0 with objects but no matches.
        """
        return _ratio(2 * self.matched_iou, self.truth + self.predicted)

    @property
    def aji(self) -> float | None:
        """Aggregated Jaccard index (Kumar et al., 2017), in [0, 1]; None without objects."""
        return _ratio(self.aji_overlap_px, self.aji_union_px)

    @property
    def aji_plus(self) -> float | None:
        """AJI with one-to-one pairs (Graham et al., 2019, arXiv 1812.06499); None as AJI."""
        return _ratio(self.aji_plus_overlap_px, self.aji_plus_union_px)

    @property
    def precisions(self) -> tuple[float | None, ...]:
        """Matches / (matches + false alarms + misses) at each of `PRECISION_PERCENT`, in [0, 1].

        All None without objects. A pair matches if its IoU is equal to the threshold, too.
        """
        both = self.truth + self.predicted
        return tuple(_ratio(matched, both - matched) for matched in self.matched_at)

    @property
    def ap(self) -> float | None:
        """Mean of `precisions` over IoU 0.50, 0.55 .. 0.95, as in the 2018 Data Science Bowl.

        None without objects.
        """
        return mean_defined(self.precisions)

    @property
    def ap50(self) -> float | None:
        """The first of `precisions`, at IoU 0.50; None without objects."""
        return self.precisions[0]


def label_objects(
    class_map: Labels, index: int, instances: Labels | None = None, min_area_px: int = 1
) -> npt.NDArray[np.int64]:
    """Number the objects of a class: its connected components, or the instances inside it.

    Args:
        class_map: (H, W) integer class indices.
        index: the class.
        instances: (H, W) instance numbers, 0 or more. An object is the part of an instance inside
            the class; pixels of the class with number 0 belong to no object. None: an object is a
            connected component of the class (4-neighbourhood).
        min_area_px: objects with fewer pixels inside the class are left out.

    Returns:
        (H, W) numbers of objects, 0 where there is none: those of the instances, or 1, 2, ... of
        the components; gaps where small ones are left out.
    """
    inside = class_map == index
    if instances is None:
        numbers = label_components(inside)
    else:
        numbers = np.where(inside, instances, 0).astype(np.int64)
    if min_area_px > 1:
        numbers[np.bincount(numbers.ravel())[numbers] < min_area_px] = 0
    return numbers


def score_objects(prediction: Labels, truth: Labels) -> ObjectScore:
    """Compare the objects of one class, or of all classes together.

    Args:
        prediction: (H, W) integer numbers of objects, 0 where there is none, gaps allowed.
        truth: (H, W) likewise; numbers need not agree with those of the prediction.

    Raises:
        ValueError: shapes differ or are not (H, W), a type is not integer, or a number is outside
            0..2^24 - 1.
    """
    pairs = pair_up(prediction, truth)
    sure = 2 * pairs.overlap > pairs.union
    loose = pairs.best_of_each_truth()
    strict = pairs.assignment()
    return ObjectScore(
        truth=int(np.count_nonzero(pairs.truth_areas)),
        predicted=int(np.count_nonzero(pairs.predicted_areas)),
        matched=int(sure.sum()),
        matched_iou=float(pairs.iou[sure].sum()),
        matched_at=tuple(
            pairs.most_matches(100 * pairs.overlap >= percent * pairs.union)
            for percent in PRECISION_PERCENT
        ),
        aji_overlap_px=int(pairs.overlap[loose].sum()),
        aji_union_px=pairs.aggregated_union(loose),
        aji_plus_overlap_px=int(pairs.overlap[strict].sum()),
        aji_plus_union_px=pairs.aggregated_union(strict),
    )


def score_objects_by_class(
    prediction: Labels,
    mask: Labels,
    num_classes: int,
    instances: Labels | None = None,
    min_area_px: int = 1,
    predicted_instances: Labels | None = None,
) -> tuple[ObjectScore, ...]:
    """Compare the objects of each foreground class of a predicted class map.

    Objects are the parts of the instances inside a class, or without instances the connected
    components of the class (`label_objects`). Ignored pixels are blanked on both sides first, which
    can cut a component in two.

    Args:
        prediction: (H, W) integer class indices; values where the mask is `IGNORE` are not used.
        mask: (H, W) integer class indices, `IGNORE` where unlabelled.
        num_classes: K, background included; 2..255.
        instances: (H, W) instance numbers of the truth, 0 is none; None: connected components.
        min_area_px: smaller objects are left out, on both sides.
        predicted_instances: (H, W) likewise of the prediction.

    Returns:
        K - 1 scores, of the classes 1..K-1.

    Raises:
        ValueError: shapes differ, a type is not integer, a class is outside 0..K-1, an instance
            number inside a class is outside 0..2^24 - 1, or K is outside 2..255.
    """
    predicted, truth = blank_ignored(prediction, mask, num_classes)
    return tuple(
        score_objects(
            label_objects(predicted, index, predicted_instances, min_area_px),
            label_objects(truth, index, instances, min_area_px),
        )
        for index in range(1, num_classes)
    )


def objects_row(scores: Sequence[ObjectScore], classes: Sequence[str]) -> dict[str, float | None]:
    """Flatten the scores of one image for a record's `per_image`.

    Args:
        scores: K - 1, of the classes 1..K-1.
        classes: K names; index 0 is the background.

    Returns:
        `pq`, `sq`, `dq`, `aji`, `aji_plus`, `ap`, `ap50`: means over the foreground classes where
        they are defined; for each class `pq/<name>` and `aji/<name>`, and the counts
        `objects_truth/<name>`, `objects_predicted/<name>` and `objects_matched/<name>`. None:
        not defined for this image.

    Raises:
        ValueError: the number of names is not K.
    """
    row: dict[str, float | None] = {
        name: mean_defined(getattr(score, name) for score in scores) for name in MEASURES
    }
    for name, score in zip(classes[1:], scores, strict=True):
        row |= {
            f"pq/{name}": score.pq,
            f"aji/{name}": score.aji,
            f"objects_truth/{name}": score.truth,
            f"objects_predicted/{name}": score.predicted,
            f"objects_matched/{name}": score.matched,
        }
    return row


def summarise_objects(
    images: Sequence[Sequence[ObjectScore]], classes: Sequence[str]
) -> dict[str, float | None]:
    """Summarise a test set.

    Args:
        images: for each test image, at least one, the K - 1 scores of the classes 1..K-1.
        classes: K names; index 0 is the background.

    Returns:
        For each of `pq`, `sq`, `dq`, `aji`, `aji_plus`, `ap`, `ap50`: `<measure>_dataset`, from
        the counts of all images together, mean over the foreground classes, and
        `<measure>_image_mean`, mean over the foreground classes of an image, then over images;
        both leave out where the measure is not defined, such as `sq` without matches.
        `<measure>_dataset/<name>` of every foreground class. `objects_defined` counts the images
        that hold an object on either side. None wherever nothing is defined.

    Raises:
        ValueError: no images, or the number of names does not fit.
    """
    if not images:
        raise ValueError("no images to summarise")
    totals = [sum(column[1:], column[0]) for column in zip(*images, strict=True)]
    summary: dict[str, float | None] = {}
    for measure in MEASURES:
        of_class = attrgetter(measure)
        summary[f"{measure}_dataset"] = mean_defined(map(of_class, totals))
        summary[f"{measure}_image_mean"] = mean_defined(
            mean_defined(map(of_class, scores)) for scores in images
        )
        for name, total in zip(classes[1:], totals, strict=True):
            summary[f"{measure}_dataset/{name}"] = of_class(total)
    defined = (any(score.dq is not None for score in scores) for scores in images)
    return summary | {"objects_defined": sum(defined)}


def _ratio(above: float, below: int) -> float | None:
    return above / below if below else None
