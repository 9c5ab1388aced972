"""Material quantities of a segmentation: phase fractions, particle counts and sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.metrics.objects import label_objects
from bench.metrics.overlap import (
    Counts,
    Labels,
    blank_ignored,
    confusion_matrix,
    mean_defined,
    pixel_counts,
)
from bench.record_values import BINS_PER_OCTAVE

Diameters = npt.NDArray[np.float64]

PERCENTILES = (10, 50, 90)


@dataclass(frozen=True)
class Reading:
    """One quantity in the truth and in the prediction; None where it is not defined.

    Attributes:
        truth: its value in the truth.
        prediction: its value in the prediction, in the same unit.
    """

    truth: float | None
    prediction: float | None

    @property
    def error(self) -> float | None:
        """Prediction - truth; None where either is missing."""
        if self.truth is None or self.prediction is None:
            return None
        return self.prediction - self.truth

    @property
    def relative_error(self) -> float | None:
        """Error / truth, a fraction with sign; None where the error is None or the truth is 0."""
        return self.error / self.truth if self.error is not None and self.truth else None

    def to_row(self, name: str) -> dict[str, float | None]:
        """Four cells of a row: prediction, truth, error and relative error.

        Args:
            name: of the cell with the prediction, such as `d50/pore`; the others are then
                `d50_truth/pore`, `d50_error/pore` and `d50_relative_error/pore`.
        """
        figure, slash, rest = name.partition("/")
        return {
            name: self.prediction,
            f"{figure}_truth{slash}{rest}": self.truth,
            f"{figure}_error{slash}{rest}": self.error,
            f"{figure}_relative_error{slash}{rest}": self.relative_error,
        }


@dataclass(frozen=True, eq=False)
class Sizes:
    """Equivalent diameters of the particles of one class; those of several images add up.

    Attributes:
        truth: (N,) diameters in the truth.
        prediction: (M,) diameters in the prediction, in the same unit.
    """

    truth: Diameters
    prediction: Diameters

    def __add__(self, other: "Sizes") -> "Sizes":
        return Sizes(
            np.concatenate([self.truth, other.truth]),
            np.concatenate([self.prediction, other.prediction]),
        )

    @property
    def count(self) -> Reading:
        """Number of particles; 0 without any, never None."""
        return Reading(len(self.truth), len(self.prediction))

    def percentile(self, percent: float) -> Reading:
        """Percentile of the diameters, each particle with equal weight.

        Interpolated linearly between neighbouring values; the value of a side without particles
        is None.

        Args:
            percent: 0..100.
        """
        truth, prediction = (
            float(np.percentile(diameters, percent)) if len(diameters) else None
            for diameters in (self.truth, self.prediction)
        )
        return Reading(truth, prediction)

    @property
    def distance(self) -> float | None:
        """Wasserstein distance of the two distributions, in the unit of the diameters.

        It is the area between their cumulative curves: the mean change of a diameter that turns one
        distribution into the other. It does not depend on the number of particles. None where
        truth or prediction has no particles.
        """
        if not (len(self.truth) and len(self.prediction)):
            return None
        from scipy import stats  # takes longer to import than all other metrics together

        return float(stats.wasserstein_distance(self.truth, self.prediction))

    def to_row(self, name: str) -> dict[str, float | None]:
        """Count, D10, D50, D90 (four cells each, as `Reading.to_row`) and distance of a class.

        Args:
            name: of the class.
        """
        row = self.count.to_row(f"particles/{name}")
        for percent in PERCENTILES:
            row |= self.percentile(percent).to_row(f"d{percent}/{name}")
        return row | {f"size_distance/{name}": self.distance}


@dataclass(frozen=True, eq=False)
class ImageReadings:
    """Phase fractions and particle sizes of one image.

    Attributes:
        confusion: (K, K) pixel counts; rows are the truth, columns the prediction.
        sizes: K - 1, of the classes 1..K-1; empty where particles are not measured. Only images
            that agree in this can be added.
    """

    confusion: Counts
    sizes: tuple[Sizes, ...]

    def __add__(self, other: "ImageReadings") -> "ImageReadings":
        pairs = zip(self.sizes, other.sizes, strict=True)
        return ImageReadings(self.confusion + other.confusion, tuple(a + b for a, b in pairs))

    def to_row(self, classes: Sequence[str]) -> dict[str, float | None]:
        """One row for a record's `per_image`, or for a set that was added up.

        Args:
            classes: K names; index 0 is the background.

        Returns:
            `phase_fraction/<name>` of all K classes in [0, 1]; of the foreground classes, if
            particles are measured, `particles/<name>` (their number), and in the unit of the
            diameters `d10/<name>`, `d50/<name>`, `d90/<name>` and `size_distance/<name>`. All but
            the last are values of the prediction and come with `<figure>_truth`, `<figure>_error`
            and `<figure>_relative_error` (a fraction). All None without labelled pixels.

        Raises:
            ValueError: the number of names is not K.
        """
        row: dict[str, float | None] = {}
        for name, reading in zip(classes, phase_fractions(self.confusion), strict=True):
            row |= reading.to_row(f"phase_fraction/{name}")
        for name, sizes in zip(classes[1:], self.sizes, strict=bool(self.sizes)):
            row |= sizes.to_row(name)
        return row if self.confusion.any() else dict.fromkeys(row)


def read_image(
    prediction: Labels,
    mask: Labels,
    num_classes: int,
    instances: Labels | None = None,
    pixel_size: float = 1.0,
    min_area_px: int = 1,
    predicted_instances: Labels | None = None,
) -> ImageReadings:
    """Measure phase fractions and particle sizes in a predicted class map and in its mask.

    Particles are the objects of `label_objects`. A particle that is cut by the edge of the image or
    by an ignored region counts with its visible part, in truth and prediction; a connected
    component that an ignored region cuts in two counts as two.

    Args:
        prediction: (H, W) integer class indices; values where the mask is `IGNORE` are not used.
        mask: (H, W) integer class indices, `IGNORE` where unlabelled.
        num_classes: K, background included; 2..255.
        instances: (H, W) instance numbers of the truth, 0 is none; None: connected components.
        pixel_size: side of a pixel; diameters come in its unit, by default in pixels.
        min_area_px: smaller particles are left out, on both sides; always in pixels.
        predicted_instances: (H, W) likewise of the prediction.

    Returns:
        The pixel counts, and the diameters of the particles of each foreground class.

    Raises:
        ValueError: as `confusion_matrix`, or an instance number inside a class is below 0.
    """
    predicted, truth = blank_ignored(prediction, mask, num_classes)
    return ImageReadings(
        confusion_matrix(prediction, mask, num_classes),
        tuple(
            Sizes(
                equivalent_diameters(
                    label_objects(truth, index, instances, min_area_px), pixel_size
                ),
                equivalent_diameters(
                    label_objects(predicted, index, predicted_instances, min_area_px), pixel_size
                ),
            )
            for index in range(1, num_classes)
        ),
    )


def summarise_readings(
    images: Sequence[ImageReadings], classes: Sequence[str]
) -> dict[str, float | None]:
    """Summarise a test set.

    Args:
        images: one per test image, at least one.
        classes: K names; index 0 is the background.

    Returns:
        The cells of `ImageReadings.to_row` for all images together: fractions of all their
        pixels, percentiles and distance of all their particles. Also the mean over images of the
        absolute error, `<figure>_abs_error_image_mean/<name>`, and of the distance,
        `size_distance_image_mean/<name>`, each over the images where it is defined. None wherever
        nothing is defined.

    Raises:
        ValueError: no images, the number of names is not K, or particles are measured in some of
            the images only.
    """
    if not images:
        raise ValueError("no images to summarise")
    summary = sum(images[1:], images[0]).to_row(classes)
    rows = [image.to_row(classes) for image in images]
    for key in rows[0]:
        figure, _, name = key.partition("/")
        if figure.endswith("_error") and not figure.endswith("_relative_error"):
            errors = (row[key] for row in rows)
            sizes = (None if error is None else abs(error) for error in errors)
            summary[f"{figure[: -len('error')]}abs_error_image_mean/{name}"] = mean_defined(sizes)
        elif figure == "size_distance":
            summary[f"size_distance_image_mean/{name}"] = mean_defined(row[key] for row in rows)
    return summary


def summarise_phases(images: Sequence[Counts], classes: Sequence[str]) -> dict[str, float | None]:
    """Summarise the phase fractions of a test set, without those of its particles.

    Args:
        images: (K, K) pixel counts of each test image, at least one.
        classes: K names; index 0 is the background.

    Returns:
        The cells `phase_fraction...` of `summarise_readings`; None without labelled pixels.

    Raises:
        ValueError: no images, or the number of names is not K.
    """
    return summarise_readings([ImageReadings(counts, ()) for counts in images], classes)


def phase_fractions(confusion: Counts) -> tuple[Reading, ...]:
    """Share of the labelled pixels that each class covers, in [0, 1].

    Args:
        confusion: (K, K) counts of `confusion_matrix`, of one image or of a set.

    Returns:
        K readings; None in truth and prediction without labelled pixels.
    """
    total = int(confusion.sum())
    if not total:
        return (Reading(None, None),) * len(confusion)
    _, truth, predicted = pixel_counts(confusion)
    return tuple(
        Reading(int(t) / total, int(p) / total) for t, p in zip(truth, predicted, strict=True)
    )


def size_counts(diameters: Diameters) -> list[int]:
    """Numbers of objects by size, with the same edges for all images, so that they can be added.

    Args:
        diameters: (N,) in pixels, each at least 1.

    Returns:
        At place k the number of diameters from 2**(k / `BINS_PER_OCTAVE`) px to the next edge. The
        last number is above 0; empty without objects.
    """
    places = np.floor(BINS_PER_OCTAVE * np.log2(diameters)).astype(int)
    return [int(count) for count in np.bincount(places)]


def size_counts_row(image: ImageReadings, classes: Sequence[str]) -> dict[str, list[int]]:
    """The sizes of single objects for a record's `per_image`.

    Args:
        image: with diameters in pixels.
        classes: K names; index 0 is the background.

    Returns:
        `size_counts/<name>` of the prediction and `size_counts_truth/<name>` of each foreground
        class, as of `size_counts`.
    """
    row = {}
    for name, sizes in zip(classes[1:], image.sizes, strict=True):
        row[f"size_counts/{name}"] = size_counts(sizes.prediction)
        row[f"size_counts_truth/{name}"] = size_counts(sizes.truth)
    return row


def equivalent_diameters(objects: Labels, pixel_size: float = 1.0) -> Diameters:
    """Diameters (N,) of the circles of equal area, 2 sqrt(area / pi), in the unit of `pixel_size`.

    Args:
        objects: (H, W) numbers of objects, 0 where there is none, gaps allowed.
        pixel_size: side of a pixel.
    """
    areas = np.bincount(objects.ravel(), minlength=1)[1:]
    return diameters_of_areas(areas[areas > 0], pixel_size)


def diameters_of_areas(areas: npt.NDArray[np.integer[Any]], pixel_size: float = 1.0) -> Diameters:
    """Diameters (N,) of circles with given areas.

    Args:
        areas: (N,) in pixels.
        pixel_size: side of a pixel; the diameters are in its unit, by default in pixels.
    """
    return np.asarray(2 * pixel_size * np.sqrt(areas / np.pi))
