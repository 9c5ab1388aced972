"""Labels next to points that cover neither each other nor the points."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.typing import ColorType

from bench.report.plots.style import FAINT

Array = npt.NDArray[np.float64]

_ANGLES = np.deg2rad([0, 180, 90, 270, 45, 135, 225, 315, 22, 158, 202, 338])
_REACHES = (9.0, 16.0, 25.0, 36.0, 50.0, 66.0)  # distance from the point, in points of 1/72 inch
_CLEARANCE = 5.0  # half the side of the square that a marker occupies, in points


def label_points(
    axes: Axes,
    points: Array,
    texts: Sequence[str],
    colours: Sequence[ColorType],
    scale: float = 1.0,
) -> list[Annotation]:
    """Write a text next to every point, with a thin line to it where it had to move away.

    Each label takes the first of a set of places, near ones first, that is inside the axes and
    covers no point and no label; if there is none, the place that covers and leaves the axes least.

    Args:
        axes: with limits and layout already final.
        points: (N, 2) data coordinates; points that are not among them can be covered.
        texts: N labels.
        colours: N colours of the texts.
        scale: of letters, lines and distances.

    Returns:
        The N labels, which do not change the layout of the figure.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    pixels = figure.dpi / 72 * scale
    centres = axes.transData.transform(points)
    reach = _CLEARANCE * pixels
    occupied = np.hstack([centres - reach, centres + reach])  # (M, 4): left, bottom, right, top
    frame = np.array(axes.bbox.extents)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    labels = []
    for point, centre, text, colour in zip(points, centres, texts, colours, strict=True):
        label = _annotate(axes, point, text, colour, scale)
        extent = Text.get_window_extent(label, renderer)  # without the line
        half = np.array([extent.width, extent.height]) / 2
        offset = _place(centre, half, pixels, frame, occupied)
        inside = frame[:2] + half - centre, frame[2:] - half - centre
        offset = np.clip(offset, np.minimum(*inside), np.maximum(*inside))  # stay in the panel
        label.set_position((offset[0] * scale / pixels, offset[1] * scale / pixels))
        gap = np.hypot(*np.maximum(np.abs(offset) - half, 0))
        if label.arrow_patch is not None:
            label.arrow_patch.set_visible(bool(gap > 1.3 * _REACHES[0] * pixels))
        occupied = np.vstack([occupied, _box(centre + offset, half)])
        labels.append(label)
    return labels


def _annotate(axes: Axes, point: Array, text: str, colour: ColorType, scale: float) -> Annotation:
    label = axes.annotate(
        text,
        (point[0], point[1]),
        (0, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=9 * scale,
        color=colour,
        annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        arrowprops={
            "arrowstyle": "-",
            "color": FAINT,
            "shrinkA": 0,
            "lw": 0.8 * scale,
            "shrinkB": 3 * scale,
        },
    )
    label.set_in_layout(False)
    return label


def _place(centre: Array, half: Array, pixels: float, frame: Array, occupied: Array) -> Array:
    """Offset (2,) of the label's middle from the point; all in pixels.

    Args:
        centre: (2,) the point.
        half: (2,) half the label's width and height.
        pixels: in 1/72 inch.
        frame: (4,) box of the axes.
        occupied: (M, 4) boxes of the points and of earlier labels.
    """
    tried, costs = [], []
    for reach in _REACHES:
        for angle in _ANGLES:
            direction = np.array([np.cos(angle), np.sin(angle)])
            # The box touches a circle around the point: long labels move aside far enough.
            aside = np.where(np.abs(direction) > 0.3, np.sign(direction) * half, 0.0)
            offset = direction * reach * pixels + aside
            box = _box(centre + offset, half)
            outside = 4 * half.prod() - _shared(box, frame[None])
            tried.append(offset)
            costs.append(_shared(box, occupied) + outside)
            if costs[-1] < 1.0:
                return offset
    return tried[int(np.argmin(costs))]


def _box(middle: Array, half: Array) -> Array:
    return np.concatenate([middle - half, middle + half])


def _shared(box: Array, others: Array) -> float:
    """Area that a box (4,) shares with others (M, 4), in square pixels."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(sides.clip(min=0).prod(axis=1).sum())
