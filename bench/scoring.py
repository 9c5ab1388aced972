"""What the predictions of a collection are worth: the measures that fit it, by image and together.

Overlap, outlines and phase fractions for every collection; objects and their sizes where it labels
them one by one; grey-level measures where there is one foreground and no objects; volumes where its
images are slices.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.data.decode import read_instances
from bench.data.items import IGNORE, Collection
from bench.evaluate import Prediction
from bench.metrics import (
    ImageReadings,
    ImageScore,
    ObjectScore,
    OrganScore,
    SaliencyScore,
    objects_row,
    read_image,
    score_image,
    score_objects_by_class,
    score_saliency,
    score_volume,
    summarise,
    summarise_objects,
    summarise_phases,
    summarise_readings,
    summarise_saliency,
    summarise_volumes,
    volume_row,
)

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Family:
    """Measures that go together: how one image is scored, its row, and the summary of a set."""

    score: Callable[[Prediction], Any]
    row: Callable[[Any], Mapping[str, Any]]
    summary: Callable[[Sequence[Any]], Mapping[str, Any]]
    scores: list[Any] = field(default_factory=list)


class Scoring:
    """Collects the scores of a test part, prediction by prediction.

    Attributes:
        images: one row for each image: "name", "group", and what the measures call theirs.
        volumes: one row for each volume likewise, once the summary was asked for.
    """

    def __init__(self, collection: Collection) -> None:
        self.images: list[Row] = []
        self.volumes: list[Row] = []
        self._classes = collection.classes
        self._slices: dict[str, list[Prediction]] = {}
        self._families = [_overlap(collection.classes)]
        if any(item.instances is not None for item in collection.items):
            self._families += [_objects(collection.classes), _readings(collection.classes)]
        elif collection.num_classes == 2 and not any(item.volume for item in collection.items):
            self._families.append(_saliency())

    def add(self, prediction: Prediction) -> None:
        """Score one image."""
        row: Row = {"name": prediction.item.name, "group": prediction.item.group}
        for family in self._families:
            family.scores.append(family.score(prediction))
            row |= family.row(family.scores[-1])
        self.images.append(row)
        if prediction.item.volume:
            self._slices.setdefault(prediction.item.volume, []).append(prediction)

    def summary(self) -> Row:
        """The scores of the whole set, by name; definitions in docs/protocol.md."""
        metrics: Row = {}
        for family in self._families:
            metrics |= family.summary(family.scores)
        if self._slices:
            self.volumes = []
            volumes = [self._volume(name, slices) for name, slices in self._slices.items()]
            metrics |= summarise_volumes(volumes, self._classes)
        return metrics

    def _volume(self, name: str, slices: Sequence[Prediction]) -> tuple[OrganScore, ...]:
        scores = score_volume(
            np.stack([one.classes for one in slices]),
            np.stack([one.truth for one in slices]),
            len(self._classes),
            slices[0].item.spacing_mm,
        )
        row = {"name": name, "group": slices[0].item.group}
        self.volumes.append(row | volume_row(scores, self._classes))
        return scores


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
        lambda readings: readings.to_row(classes),
        lambda images: summarise_readings(images, classes),
    )


def _saliency() -> _Family:
    def score(one: Prediction) -> SaliencyScore:
        known = one.truth != IGNORE  # what is not labelled is background, on both sides
        return score_saliency(np.where(known, one.foreground, 0), known & (one.truth > 0))

    return _Family(score, lambda score: score.to_row(), summarise_saliency)


def _instances(one: Prediction) -> Any:
    return None if one.item.instances is None else read_instances(one.item.instances)
