"""Shapes of objects as a user reads them off: aspect ratio, and the share that touch others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.metrics.object_meter import ObjectMeter, Objects
from bench.metrics.overlap import Labels, blank_ignored
from bench.metrics.readings import Reading

KEYS = ("aspect_ratio", "touching")  # what the names in records begin with


@dataclass(frozen=True)
class Shapes:
    """Shapes of the objects of one class in one image.

    Attributes:
        aspect_ratio: median of `Objects.aspects`, at least 1.
        touching: share of the objects that touch another one of any class, in [0, 1].
    """

    aspect_ratio: Reading
    touching: Reading


def read_shapes(
    prediction: Labels,
    mask: Labels,
    num_classes: int,
    instances: Labels | None = None,
    predicted_instances: Labels | None = None,
) -> tuple[Shapes, ...]:
    """Measure the shapes of the objects in a predicted class map and in its mask.

    Objects are those of `bench.metrics.objects.label_objects`, cut by the edge of the image and by
    ignored pixels as in `bench.metrics.readings.read_image`. Connected components of one class
    never touch each other.

    Args:
        prediction: (H, W) integer class indices; values where the mask is `IGNORE` are not used.
        mask: (H, W) integer class indices, `IGNORE` where unlabelled.
        num_classes: K, background included; 2..255.
        instances: (H, W) instance numbers of the truth, 0 is none; None: connected components.
        predicted_instances: (H, W) likewise of the prediction.

    Returns:
        K - 1 shapes, of the classes 1..K-1; a side without objects of the class has None.
    """
    predicted, truth = blank_ignored(prediction, mask, num_classes)
    true = _measure(truth, num_classes, instances)
    found = _measure(predicted, num_classes, predicted_instances)
    return tuple(
        Shapes(
            Reading(true.aspect_ratio(index), found.aspect_ratio(index)),
            Reading(true.touching_share(index), found.touching_share(index)),
        )
        for index in range(1, num_classes)
    )


def shapes_row(shapes: Sequence[Shapes], classes: Sequence[str]) -> dict[str, float | None]:
    """Flatten the shapes of one image for a record's `per_image`.

    Args:
        shapes: K - 1, of the classes 1..K-1.
        classes: K names; index 0 is the background.

    Returns:
        `aspect_ratio/<name>` and `touching/<name>` of the prediction, each with `<figure>_truth`,
        `<figure>_error` and `<figure>_relative_error`.

    Raises:
        ValueError: the number of names is not K.
    """
    row: dict[str, float | None] = {}
    for name, shape in zip(classes[1:], shapes, strict=True):
        for key in KEYS:
            row |= getattr(shape, key).to_row(f"{key}/{name}")
    return row


def _measure(class_map: Labels, num_classes: int, instances: Labels | None) -> Objects:
    meter = ObjectMeter(num_classes)
    if instances is None:
        meter.add(class_map.astype(np.uint8))
    else:
        inside = np.where(instances > 0, class_map, 0)
        # The parts of an instance in two classes are two objects.
        meter.add(inside.astype(np.uint8), instances.astype(np.int64) * num_classes + inside)
    return meter.finish()
