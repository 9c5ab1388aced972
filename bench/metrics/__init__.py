"""How well predicted class maps agree with their masks; definitions in docs/protocol.md."""

from bench.metrics.boundary import (
    DILATION_RATIO,
    SurfaceDistances,
    boundary_iou,
    surface_distances,
)
from bench.metrics.overlap import (
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    pixel_accuracy,
)
from bench.metrics.scores import ImageScore, score_image, summarise

__all__ = [
    "DILATION_RATIO",
    "ImageScore",
    "SurfaceDistances",
    "boundary_iou",
    "confusion_matrix",
    "dice_per_class",
    "iou_per_class",
    "pixel_accuracy",
    "score_image",
    "summarise",
    "surface_distances",
]
