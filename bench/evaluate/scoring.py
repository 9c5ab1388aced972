"""Scores of the predictions of a collection, per image and for the whole set.

Every collection gets measures of overlap, outlines and phase fractions. Collections with labelled
objects get measures of objects, their sizes and shapes; those with one foreground class, without
objects and volumes, get grey-level measures; those whose images are slices get measures of volumes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.decode import instance_numbers
from bench.data.items import IGNORE, Collection, Item
from bench.metrics.objects import (
    ObjectScore,
    objects_row,
    score_objects_by_class,
    summarise_objects,
)
from bench.metrics.readings import (
    ImageReadings,
    read_image,
    size_counts_row,
    summarise_phases,
    summarise_readings,
)
from bench.metrics.saliency import SaliencyScore, score_saliency, summarise_saliency
from bench.metrics.scores import ImageScore, score_image, summarise
from bench.metrics.shapes import Shapes, read_shapes, shapes_row
from bench.metrics.volumes import OrganScore, score_volume, summarise_volumes, volume_row

Map = npt.NDArray[np.uint8]
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of a model for one image.

    Attributes:
        item: the image.
        truth: (H, W) class indices, `IGNORE` where unlabelled.
        classes: (H, W) predicted class indices.
        foreground: (H, W) float32, probability that a pixel is not of class 0 (from the mask
            generator 0 or 1); None where only the class map was kept.
        objects: (H, W) numbers of predicted objects, 0 is background; None where the connected
            components of `classes` are the objects.
    """

    item: Item
    truth: Map
    classes: Map
    foreground: npt.NDArray[np.float32] | None = None
    objects: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class _Family:
    """Measures that are computed together: scores of one image, its row, and a summary."""

    score: Callable[[Prediction], Any]
    row: Callable[[Any], Mapping[str, Any]]
    summary: Callable[[Sequence[Any]], Mapping[str, Any]]
    scores: list[Any] = field(default_factory=list)


class Scoring:
    """Scores the predictions of a test part one by one.

    Args:
        collection: the collection of the images.
        only_classes: predictions hold class maps only, so measures of grey levels are left out.
        own_objects: the predictions held objects that do not follow from the class map. With
            `only_classes` these are lost, and measures of objects are left out.

    Attributes:
        images: one row per image: "name", "group", and one entry per measure; None where a measure
            is not defined for the image.
        volumes: one row per volume, as soon as all its slices in `collection` are added, with
            "name", "group" and the entries of `volume_row`.
    """

    def __init__(
        self, collection: Collection, *, only_classes: bool = False, own_objects: bool = False
    ) -> None:
        self.images: list[Row] = []
        self.volumes: list[Row] = []
        self._classes = collection.classes
        self._sizes = Counter(item.volume for item in collection.items if item.volume)
        self._slices: dict[str, list[tuple[Map, Map]]] = {}
        self._organs: list[tuple[OrganScore, ...]] = []
        self._families = [_overlap(collection.classes)]
        if any(item.instances is not None for item in collection.items):
            if not (only_classes and own_objects):
                of_objects = (_objects, _readings, _shapes)
                self._families += [family(collection.classes) for family in of_objects]
        elif collection.num_classes == 2 and not self._sizes and not only_classes:
            self._families.append(_saliency())

    def add(self, prediction: Prediction) -> None:
        """Score one image; class maps of slices are kept until their volume is complete.

        Args:
            prediction: of an image that was not added before; slices of a volume in their order.
                It needs `foreground` unless `only_classes` was given.

        Raises:
            UserError: the file of the instances cannot be read.
            ValueError: maps differ in shape, or hold a class that the collection does not have.
        """
        item = prediction.item
        row: Row = {"name": item.name, "group": item.group}
        for family in self._families:
            family.scores.append(family.score(prediction))
            row |= family.row(family.scores[-1])
        self.images.append(row)
        if item.volume:
            slices = self._slices.setdefault(item.volume, [])
            slices.append((prediction.classes, prediction.truth))
            if len(slices) == self._sizes[item.volume]:
                self._close(item, self._slices.pop(item.volume))

    def summary(self) -> Row:
        """The scores of the whole set, by name; definitions in docs/protocol/metrics.md.

        Raises:
            ValueError: slices of a volume are missing, or no image was added.
        """
        if self._slices:
            raise ValueError(f"slices are missing of the volumes {', '.join(self._slices)}")
        metrics: Row = {}
        for family in self._families:
            metrics |= family.summary(family.scores)
        if self._organs:
            metrics |= summarise_volumes(self._organs, self._classes)
        return metrics

    def _close(self, item: Item, slices: Sequence[tuple[Map, Map]]) -> None:
        """Score the volume whose last slice is this item."""
        classes, truth = (np.stack(maps) for maps in zip(*slices, strict=True))
        scores = score_volume(classes, truth, len(self._classes), item.spacing_mm)
        self._organs.append(scores)
        row = {"name": item.volume, "group": item.group}
        self.volumes.append(row | volume_row(scores, self._classes))


def _overlap(classes: tuple[str, ...]) -> _Family:
    def summary(scores: Sequence[ImageScore]) -> Row:
        return summarise(scores, classes) | summarise_phases(
            [score.confusion for score in scores], classes
        )

    return _Family(
        lambda one: score_image(one.classes, one.truth, len(classes)),
        lambda score: score.to_row(classes),
        summary,
    )


def _objects(classes: tuple[str, ...]) -> _Family:
    def score(one: Prediction) -> tuple[ObjectScore, ...]:
        maps, numbers = (one.classes, one.truth), _instances(one)
        return score_objects_by_class(*maps, len(classes), numbers, predicted_instances=one.objects)

    return _Family(
        score,
        lambda scores: objects_row(scores, classes),
        lambda images: summarise_objects(images, classes),
    )


def _readings(classes: tuple[str, ...]) -> _Family:
    def score(one: Prediction) -> ImageReadings:
        maps, numbers = (one.classes, one.truth), _instances(one)
        return read_image(*maps, len(classes), numbers, predicted_instances=one.objects)

    return _Family(
        score,
        lambda readings: {**readings.to_row(classes), **size_counts_row(readings, classes)},
        lambda images: summarise_readings(images, classes),
    )


def _shapes(classes: tuple[str, ...]) -> _Family:
    """Shapes of objects; there is no summary of a set."""

    def score(one: Prediction) -> tuple[Shapes, ...]:
        maps, numbers = (one.classes, one.truth), _instances(one)
        return read_shapes(*maps, len(classes), numbers, predicted_instances=one.objects)

    return _Family(score, lambda shapes: shapes_row(shapes, classes), lambda images: {})


def _saliency() -> _Family:
    def score(one: Prediction) -> SaliencyScore:
        assert one.foreground is not None, "left out where only class maps were kept"
        labelled = one.truth != IGNORE
        return score_saliency(one.foreground, labelled & (one.truth > 0), labelled)

    return _Family(score, lambda score: score.to_row(), summarise_saliency)


def _instances(one: Prediction) -> Any:
    """Instance numbers of the truth; None without any, as in prompts: components are objects."""
    numbers = instance_numbers(one.item, one.truth.shape)
    return numbers if numbers.any() else None
