"""Metrics that compare predicted class maps with their masks; see docs/protocol/metrics.md."""

from bench.metrics.boundary import (
    DILATION_RATIO,
    SurfaceDistances,
    boundary_iou,
    surface_distances,
)
from bench.metrics.objects import (
    ObjectScore,
    label_objects,
    objects_row,
    score_objects,
    score_objects_by_class,
    summarise_objects,
)
from bench.metrics.overlap import (
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    pixel_accuracy,
)
from bench.metrics.readings import (
    ImageReadings,
    Reading,
    Sizes,
    read_image,
    size_counts_row,
    summarise_phases,
    summarise_readings,
)
from bench.metrics.saliency import (
    SaliencyScore,
    score_saliency,
    summarise_saliency,
)
from bench.metrics.scores import ImageScore, score_image, summarise
from bench.metrics.shapes import Shapes, read_shapes, shapes_row
from bench.metrics.volumes import (
    OrganScore,
    score_volume,
    summarise_volumes,
    volume_row,
)

__all__ = [
    "DILATION_RATIO",
    "ImageReadings",
    "ImageScore",
    "ObjectScore",
    "OrganScore",
    "Reading",
    "SaliencyScore",
    "Shapes",
    "Sizes",
    "SurfaceDistances",
    "boundary_iou",
    "confusion_matrix",
    "dice_per_class",
    "iou_per_class",
    "label_objects",
    "objects_row",
    "pixel_accuracy",
    "read_image",
    "read_shapes",
    "score_image",
    "score_objects",
    "score_objects_by_class",
    "score_saliency",
    "score_volume",
    "shapes_row",
    "size_counts_row",
    "summarise",
    "summarise_objects",
    "summarise_phases",
    "summarise_readings",
    "summarise_saliency",
    "summarise_volumes",
    "surface_distances",
    "volume_row",
]
