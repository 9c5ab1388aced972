"""The rules that find the objects in a predicted class map, by the name that `--objects` takes.

Importing this module imports neither torch nor scikit-image, so that requests and records can name
rules.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.errors import UserError, no_such
from bench.spec import Task

if TYPE_CHECKING:
    from bench.objects.stored import StoredMaps, StoredNumbers

Classes = npt.NDArray[np.uint8]
Distances = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]
Labels = npt.NDArray[Any]

# Depths of the saddles between two seeds. Both are relative to the size of the objects, because
# thresholds in pixels do not carry over from one collection of images to another.
LOG_DEPTH = 0.1  # of the logarithm of the distance to the border: a waist of 90 % of the width
SHARE_DEPTH = 0.2  # of the share of the way to the border minus that to the centre
RAYS = 32  # directions of the rule "rays", StarDist's default
OCTAVES = 10  # of the logarithm of their lengths: a share of 1 is a ray of 2**10 - 1 px


class ObjectRule(ABC):
    """One way to find the objects in a class map.

    Attributes:
        name: the word after `--objects`, and the value of `Recipe.objects`.
        text: what it does, for help texts and model cards.
        channels: number of maps that the model predicts in addition to the K classes. The first one
            is the distance to the border, as of `bench.objects.targets.distance_maps`.
        weights: of the error of each map in the loss.
        rays: number of the last maps that are lengths in pixels, as of `bench.objects.rays`.
        separates: touching objects of one class are separated.
        library: optional library that it needs; the extra that installs it has the rule's name.
    """

    name: str
    text: str
    channels = 0
    weights: tuple[float, ...] = ()
    rays = 0
    separates = True
    library = ""

    def built_task(self, task: Task) -> Task:
        """The task that the model is built for: with one output more for each map.

        Args:
            task: with the K classes of the collection.
        """
        return replace(task, num_classes=task.num_classes + self.channels)

    def check_library(self) -> None:
        """Check that the optional library of the rule is installed, without importing it.

        Raises:
            UserError: it is not.
        """
        if self.library and find_spec(self.library) is None:
            raise UserError(
                f"--objects {self.name} needs the library {self.library}: pip install"
                f" 'sam-adapt-bench[{self.name}]'"
            )

    @abstractmethod
    def separate(self, classes: Classes, distances: Distances | None = None) -> Numbers | None:
        """Number the objects of a predicted class map.

        Args:
            classes: (H, W) class indices, 0 is background.
            distances: (channels, H, W) predicted maps in [0, 1], for a rule with channels.

        Returns:
            (H, W) numbers of the objects from 1 on, above 0 in every foreground pixel; an object
            has one class. None if the connected components of the classes are the objects.

        Raises:
            ValueError: the rule needs distances, and there are none.
            UserError: a library is missing.
        """

    def separate_stored(self, maps: "StoredMaps", numbers: "StoredNumbers") -> None:
        """As `separate`, for an image in files, for a rule that separates objects.

        A rule that does not say otherwise needs the memory for the whole image.

        Args:
            maps: the class map, and the distances of a rule with channels.
            numbers: to write.
        """
        height, _ = maps.size
        objects = self.separate(maps.classes(0, height), maps.distances(0, height))
        if objects is None:
            raise ValueError(f"the rule '{self.name}' does not number objects")
        numbers.write(0, objects)

    def true_maps(self, mask: Labels, instances: Labels) -> tuple[Distances, Labels]:
        """The maps that a model learns, for a rule with channels.

        Args:
            mask: (H, W) uint8 class indices, `IGNORE` where unlabelled.
            instances: (H, W) instance numbers, 0 is none.

        Returns:
            (channels, H, W) float32 in [0, 1]; and where they hold, (H, W) bool: the pixels of
            objects.

        Raises:
            ValueError: the rule has no maps.
            UserError: a library is missing.
        """
        raise ValueError(f"the rule '{self.name}' has no maps to learn")


class Components(ObjectRule):
    """Connected components of each class (4-neighbourhood): touching objects become one."""

    name = "components"
    text = "connected components of each class; touching objects become one"
    separates = False

    def separate(self, classes: Classes, distances: Distances | None = None) -> Numbers | None:
        """None: whoever needs objects takes the connected components."""
        return None


class _Flooded(ObjectRule):
    """A watershed within each class, from a map with a maximum in the middle of each object."""

    least_depth: float

    def separate(self, classes: Classes, distances: Distances | None = None) -> Numbers | None:
        """As of `ObjectRule`."""
        from bench.objects.flood import flood

        return flood(self.heights(classes, distances), classes, self.least_depth)

    def separate_stored(self, maps: "StoredMaps", numbers: "StoredNumbers") -> None:
        """As of `ObjectRule`; the result is that of `separate`, in the memory of some rows."""
        from bench.objects.stored import flood_stored

        flood_stored(
            maps,
            lambda start, stop: self.heights_of_rows(maps, start, stop),
            self.least_depth,
            numbers,
        )

    @abstractmethod
    def heights(self, classes: Classes, distances: Distances | None) -> Distances:
        """The map (H, W), of which the values in class 0 are not used."""

    @abstractmethod
    def heights_of_rows(self, maps: "StoredMaps", start: int, stop: int) -> Distances:
        """The rows (h, W) of this map from `start` to `stop`."""


class Watershed(_Flooded):
    """The watershed of the distance to the border of the class, without training."""

    name = "watershed"
    text = "watershed of the distance to the border of each class"
    least_depth = LOG_DEPTH

    def heights(self, classes: Classes, distances: Distances | None) -> Distances:
        """Logarithm of the distance in pixels; the edge of the image is not a border."""
        from bench.objects.depths import depths

        return _logarithm(depths(classes))

    def heights_of_rows(self, maps: "StoredMaps", start: int, stop: int) -> Distances:
        """As of `_Flooded`."""
        from bench.objects.depths import depths_of_rows

        return _logarithm(depths_of_rows(maps.classes, start, stop, maps.size[0]))


class LearnedDistances(_Flooded):
    """The watershed of two maps that the model learns: distances to the border and the centre."""

    name = "distances"
    text = "watershed of two learned maps, the distances to the border and centre of an object"
    channels = 2
    weights = (1.0, 1.0)
    least_depth = SHARE_DEPTH

    def true_maps(self, mask: Labels, instances: Labels) -> tuple[Distances, Labels]:
        """Distances to the border and to the centre, as shares."""
        from bench.objects.targets import distance_maps

        return distance_maps(mask, instances)

    def heights(self, classes: Classes, distances: Distances | None) -> Distances:
        """Share of the way to the border minus that to the centre, in [-1, 1]."""
        if distances is None:
            raise ValueError("the rule 'distances' needs the two maps of the model")
        return distances[0] - distances[1]

    def heights_of_rows(self, maps: "StoredMaps", start: int, stop: int) -> Distances:
        """As of `_Flooded`."""
        return self.heights(maps.classes(start, stop), maps.distances(start, stop))


def _logarithm(depths: npt.NDArray[np.float64]) -> Distances:
    return np.asarray(np.log(np.maximum(depths, 1)), np.float32)


class LearnedRays(ObjectRule):
    """Polygons of learned rays to the border of the object, as in StarDist."""

    name = "rays"
    text = "polygons of 32 learned rays, selected by StarDist's non-maximum suppression"
    channels = 1 + RAYS
    rays = RAYS
    library = "stardist"
    weights = (1.0, *(1 / RAYS for _ in range(RAYS)))

    def separate(self, classes: Classes, distances: Distances | None = None) -> Numbers | None:
        """As of `ObjectRule`; pixels that no polygon covers go to a neighbour of their class."""
        from bench.objects.rays import polygon_objects

        if distances is None:
            raise ValueError(f"the rule 'rays' needs the {self.channels} maps of the model")
        numbers = np.zeros(classes.shape, np.int32)
        for index in np.unique(classes[classes > 0]):
            inside = classes == index
            objects = polygon_objects(inside, distances)
            numbers[inside] = objects[inside] + numbers.max()
        return numbers

    def true_maps(self, mask: Labels, instances: Labels) -> tuple[Distances, Labels]:
        """Distance to the border, as a share, and the rays of `bench.objects.rays.ray_shares`."""
        from bench.objects.rays import ray_shares
        from bench.objects.targets import distance_maps, number_objects

        maps, inside = distance_maps(mask, instances)
        rays = ray_shares(number_objects(mask, instances)[0])
        return np.concatenate([maps[:1], rays]), inside


RULES: dict[str, ObjectRule] = {
    rule.name: rule for rule in (Components(), Watershed(), LearnedDistances(), LearnedRays())
}


def get_rule(name: str) -> ObjectRule:
    """The rule of that name.

    Raises:
        UserError: no rule has this name.
    """
    if name not in RULES:
        raise no_such("rule for objects", name, RULES)
    return RULES[name]
