"""Pictures in the page: the best, the worst and the most disputed image of a comparison.

An image is embedded once, grey; truth, predictions and errors are drawn over it as label maps of
few colours, which needs a tenth of the space of complete pictures.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from bench.data.items import IGNORE
from bench.report.compare.comparison import Comparison
from bench.report.plots.gallery import (
    ERRORS,
    Lookup,
    Pixels,
    kinds_of_errors,
    read_labels,
)
from bench.report.plots.picture_choice import WIDEST, Shown, choose, shown_run
from bench.report.plots.style import Series, class_colour
from bench.report.records.columns import DICE
from bench.report.records.rows import Row

SIDE = 320  # longest, in pixels of the page
_TINT, _OPAQUE = 150, 220  # opacity of classes and of errors, of 255


@dataclass(frozen=True)
class Overlay:
    """The prediction of one method for one image.

    Attributes:
        name: of the method.
        dice: Dice of the image in per cent, as text with its unit; a dash if it is not defined.
        classes: picture of the predicted classes, as an address of the kind `data:image/...`.
        errors: picture of the wrong pixels, likewise.
    """

    name: str
    dice: str
    classes: str
    errors: str


@dataclass(frozen=True)
class Picture:
    """One image with the truth and the prediction of every shown method.

    Attributes:
        role: "best", "worst" or "most disputed".
        name: of the item.
        size: width and height on the page in pixels.
        image: grey picture, as an address of the kind `data:image/...`.
        truth: picture of the true classes, likewise.
        overlays: one for each shown method.
    """

    role: str
    name: str
    size: tuple[int, int]
    image: str
    truth: str
    overlays: Sequence[Overlay]


@dataclass(frozen=True)
class Gallery:
    """Pictures of a comparison, with the colours of its classes.

    Attributes:
        pictures: best, worst and most disputed image by Dice, as of `choose`; fewer where there
            are fewer images or only one run is shown.
        classes: name and colour of each foreground class.
        errors: name and colour of each kind of error; one foreground class has two.
        left_out: number of rows that are not shown, beyond `WIDEST` or without predictions.
    """

    pictures: Sequence[Picture]
    classes: Sequence[tuple[str, str]]
    errors: Sequence[tuple[str, str]]
    left_out: int


def gallery_of(
    comparison: Comparison,
    looks: Mapping[Row, Series],
    predictions: Path,
    images: Mapping[str, Lookup],
) -> Gallery | None:
    """Make the pictures of a comparison, of its first `WIDEST` rows that have predictions.

    Args:
        comparison: of one table.
        looks: names of the rows.
        predictions: holds `<cell id>/<item name>.png`.
        images: name of the dataset of the test images to a function from item name to image and
            mask; it is looked up only if there are predictions.

    Returns:
        The pictures; None if no row has predictions, no image of which all shown runs have
        predictions has a Dice, or the images may not be shown.

    Raises:
        OSError: a prediction cannot be read.
        ValueError: a prediction has another size than its mask.
    """
    kept = (
        (row, run) for row in comparison.rows if (run := shown_run(row, predictions)) is not None
    )
    runs = dict(islice(kept, WIDEST))
    names = choose(list(runs.values()), ("best", "worst", "most disputed"))
    lookup = images.get(comparison.test_images) if names else None
    if lookup is None:
        return None
    named = {looks[row].name: run for row, run in runs.items()}
    pictures = [_picture(role, name, named, lookup) for role, name in names.items()]
    classes = next(iter(runs)).column("classes").iloc[0]
    colours = [(label, class_colour(k)) for k, label in enumerate(classes) if k > 0]
    errors = list(ERRORS.items())[len(colours) == 1 :]
    return Gallery(pictures, colours, errors, len(comparison.rows) - len(runs))


def _picture(role: str, name: str, runs: Mapping[str, Shown], lookup: Lookup) -> Picture:
    image, mask = lookup(name)
    height, width = mask.shape
    share = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    grey = Image.fromarray(image.mean(axis=2, dtype=np.float32).round().astype(np.uint8))
    overlays = []
    for method, run in runs.items():
        predicted = read_labels(run.files[name], mask)
        dice = f"{DICE.format(run.dice.get(name))} {DICE.unit}"
        errors = _labels(kinds_of_errors(mask, predicted), size, list(ERRORS.values()), _OPAQUE)
        overlays.append(Overlay(method, dice, _classes(predicted, size), errors))
    shown_grey = grey.resize(size, Image.Resampling.LANCZOS)
    return Picture(
        role, name, size, _address(shown_grey, "WEBP", quality=80), _classes(mask, size), overlays
    )


def _classes(labels: Pixels, size: tuple[int, int]) -> str:
    """Classes past 0 in their colours; unlabelled pixels are left clear."""
    labels = np.where(labels == IGNORE, 0, labels).astype(np.uint8)
    return _labels(labels, size, [class_colour(k) for k in range(1, int(labels.max()) + 1)], _TINT)


def _labels(labels: Pixels, size: tuple[int, int], colours: Sequence[str], opacity: int) -> str:
    """A label map as a picture of as many colours, label 0 clear."""
    picture = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    picture.putpalette([0, 0, 0, *(round(255 * part) for c in colours for part in to_rgb(c))])
    clear = bytes([0, *[opacity] * len(colours)])
    return _address(picture, "PNG", transparency=clear, optimize=True)


def _address(picture: Image.Image, kind: str, **settings: object) -> str:
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
