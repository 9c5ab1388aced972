"""Pictures of test images: the truth, every method's prediction, and where it errs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from bench.data.items import IGNORE
from bench.report.compare import Comparison, comparison
from bench.report.rows import Row
from bench.report.style import Series, assign, save, style

Pixels = npt.NDArray[Any]
Lookup = Callable[[str], tuple[Pixels, Pixels]]  # item -> image (H, W, 3) uint8, mask (H, W)

# Class 0 is shown as it is; further classes in Okabe and Ito's colours.
_CLASSES = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
_ERROR = "#E6194B"


def write_gallery(
    frame: pd.DataFrame, predictions: Path, images: Mapping[str, Lookup], folder: Path
) -> list[Path]:
    """Write `<slug>_gallery.png` and `.svg` where predictions were kept.

    Args:
        frame: of `to_frame`.
        predictions: holds `<cell id>/<item name>.png`, label maps of the size of the image.
        images: dataset name to a function from item name to image and mask.
        folder: is made if need be; files of the same names are replaced.

    Returns:
        The files.
    """
    found = comparison(frame)
    looks = assign(frame, [row for one in found for row in one.rows])
    written: list[Path] = []
    with style():
        for one in found:
            if one.dataset in images:
                figure = draw_gallery(one, looks, predictions, images[one.dataset])
                if figure is not None:
                    written += save(figure, folder / f"{one.slug}_gallery")
    return written


def draw_gallery(
    found: Comparison, looks: Mapping[Row, Series], predictions: Path, lookup: Lookup
) -> Figure | None:
    """The easiest, the middle and the hardest image: prediction above, errors in red below.

    Of every row one run is shown, that with the lowest seed whose predictions exist.
    """
    kept = {row: _kept(row, predictions) for row in found.rows}
    rows = [row for row in found.rows if kept[row]]
    names = _examples(rows, set.intersection(*(set(kept[row]) for row in rows)) if rows else set())
    if not names:
        return None
    figure = Figure(figsize=(1.7 * (2 + len(rows)), 3.7 * len(names) + 0.5), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # type: ignore[union-attr]
    grid = figure.subplots(2 * len(names), 2 + len(rows), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for position, (role, name) in enumerate(names.items()):
        image, mask = lookup(name)
        upper, lower = grid[2 * position], grid[2 * position + 1]
        _show(upper[0], image, f"{role}: {name}")
        _show(upper[1], _coloured(image, mask), "truth")
        for column, row in enumerate(rows, start=2):
            predicted = _read(kept[row][name], mask)
            score = _score(row, name)
            title = f"{looks[row].name}\nDice {100 * score:.1f} %"
            _show(upper[column], _coloured(image, predicted), title)
            _show(lower[column], _errors(image, mask, predicted), "")
    classes = rows[0].ok["classes"].iloc[0]
    patches = [Patch(color=_colour(k), label=label) for k, label in enumerate(classes) if k > 0]
    handles = [*patches, Patch(color=_ERROR, label="wrong class (lower rows)")]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return figure


def _kept(row: Row, predictions: Path) -> dict[str, Path]:
    """Item name to its prediction, of the first run that has any."""
    for cell in sorted(row.ok["cell"], key=lambda cell: (cell.seed, cell.fold)):
        files = {file.stem: file for file in sorted((predictions / cell.id).glob("*.png"))}
        if files:
            return files
    return {}


def _examples(rows: Sequence[Row], available: set[str]) -> dict[str, str]:
    """Role to item name, by the mean Dice over rows; fewer where there are fewer images."""
    scores = [
        (image["name"], image["dice"])
        for row in rows
        for images in row.ok["per_image"]
        for image in images
        if image["name"] in available and image["dice"] is not None
    ]
    if not scores:
        return {}
    means = pd.DataFrame(scores, columns=["name", "dice"]).groupby("name")["dice"].mean()
    ordered = [str(name) for name in means.sort_values(ascending=False, kind="stable").index]
    places = {"best": 0, "median": len(ordered) // 2, "worst": len(ordered) - 1}
    chosen: dict[str, str] = {}
    for role, place in places.items():
        if ordered[place] not in chosen.values():
            chosen[role] = ordered[place]
    return chosen


def _score(row: Row, name: str) -> float:
    """Mean Dice of the image over runs."""
    scores = [
        image["dice"]
        for images in row.ok["per_image"]
        for image in images
        if image["name"] == name and image["dice"] is not None
    ]
    return float(np.mean(scores)) if scores else float("nan")


def _read(file: Path, mask: Pixels) -> Pixels:
    with Image.open(file) as opened:
        predicted = np.asarray(opened)
    if predicted.shape != mask.shape:
        raise ValueError(f"{file} is {predicted.shape}, its mask {mask.shape}; they must agree")
    return predicted


def _colour(label: int) -> str:
    """Classes past the palette begin it again, without the background's."""
    return _CLASSES[label if label < len(_CLASSES) else 1 + (label - 1) % (len(_CLASSES) - 1)]


def _coloured(image: Pixels, labels: Pixels) -> Pixels:
    """The image with classes past 0 tinted; (H, W, 3) float in [0, 1]."""
    shown = _grey(image)
    for label in np.unique(labels):
        if label not in (0, IGNORE):
            where = labels == label
            shown[where] = 0.35 * shown[where] + 0.65 * np.array(to_rgb(_colour(int(label))))
    return shown


def _errors(image: Pixels, mask: Pixels, predicted: Pixels) -> Pixels:
    shown = 0.4 + 0.6 * _grey(image)
    wrong = (mask != predicted) & (mask != IGNORE)
    shown[wrong] = to_rgb(_ERROR)
    return shown


def _grey(image: Pixels) -> Pixels:
    """Brightness in all three channels; (H, W, 3) float in [0, 1]."""
    return np.repeat(image.mean(axis=2, keepdims=True) / 255.0, 3, axis=2)


def _show(axes: Axes, picture: Pixels, title: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, fontsize=9)
