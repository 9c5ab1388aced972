"""What the table of metrics compares: our values, and values by other people's code.

For every metric its definition is computed anew (`metric_definitions.py`, `object_definitions.py`),
and libraries are asked wherever they have it (`metric_libraries.py`).
"""

import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import metric_definitions as definitions
import metric_libraries as libraries
import object_definitions
from metric_cases import KINDS, Pair, Scores
from metric_definitions import Value

LIMIT = 1e-6  # of the value where it is above 1: several libraries compute in single precision
DEFINITION = "definition"


@dataclass(frozen=True)
class Line:
    """One metric in one case, by this project and by another source; None: undefined."""

    kind: str
    metric: str
    case: str
    source: str
    ours: Value
    other: Value

    @property
    def difference(self) -> float:
        """Absolute; 0 where both say undefined, infinite where one does."""
        if self.ours is None or self.other is None:
            return 0.0 if self.ours is self.other else math.inf
        return abs(self.ours - self.other)

    @property
    def agrees(self) -> bool:
        return self.difference <= LIMIT * max(1.0, abs(self.other or 0.0))


@dataclass(frozen=True)
class Reference:
    """A source of independent values for one kind of case.

    `module` is what must be importable; `what` says which of its functions, or definition.
    """

    source: str
    kind: str
    scores: Callable[[Sequence[Pair]], Scores]
    what: str
    module: str | None = None

    @property
    def installed(self) -> bool:
        return self.module is None or importlib.util.find_spec(self.module) is not None


def lines(reference: Reference) -> Iterator[Line]:
    """Compare every metric that the reference knows, in every case of its kind."""
    cases, score = KINDS[reference.kind]
    for case in cases:
        ours = score(case.pairs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn of empty masks, and of one another
            others = reference.scores(case.pairs)
        for metric, other in others.items():
            yield Line(
                reference.kind,
                metric,
                case.name,
                reference.source,
                ours[metric],
                libraries.number(other),
            )


REFERENCES = (
    Reference(
        DEFINITION, "class maps", definitions.class_maps, "masks and all pairs of border pixels"
    ),
    Reference(
        "scikit-learn", "class maps", libraries.sklearn_maps, "f1, jaccard, accuracy", "sklearn"
    ),
    Reference(
        "torchmetrics",
        "class maps",
        libraries.torchmetrics_maps,
        "F1, Jaccard, accuracy",
        "torchmetrics",
    ),
    Reference("MONAI", "class maps", libraries.monai_maps, "Dice, IoU, HD95 as larger", "monai"),
    Reference("MedPy", "class maps", libraries.medpy_maps, "HD95 as pooled", "medpy"),
    Reference(DEFINITION, "grey maps", definitions.grey_maps, "threshold by threshold"),
    Reference(
        "pysodmetrics",
        "grey maps",
        libraries.pysodmetrics_maps,
        "S, E, F, wF, MAE",
        "py_sod_metrics",
    ),
    Reference(
        "scikit-learn", "grey maps", libraries.sklearn_grey, "balanced accuracy, MAE", "sklearn"
    ),
    Reference(DEFINITION, "objects", object_definitions.objects, "every pair of objects"),
    Reference(
        "torchmetrics",
        "objects",
        libraries.torchmetrics_objects,
        "panoptic quality",
        "torchmetrics",
    ),
    Reference("StarDist", "objects", libraries.stardist_objects, "matching", "stardist"),
    Reference(DEFINITION, "volumes", definitions.volumes, "masks and all pairs of surface voxels"),
    Reference(
        "MONAI", "volumes", libraries.monai_volumes, "Dice, IoU, HD95 as larger, ASSD", "monai"
    ),
    Reference(
        "MedPy", "volumes", libraries.medpy_volumes, "dc, jc, HD95 as pooled, ASSD, ASD", "medpy"
    ),
    Reference(
        DEFINITION,
        "readings",
        object_definitions.readings,
        "scikit-image's regions, Python's quantiles",
    ),
)
