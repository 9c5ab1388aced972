"""Pictures of test images: the truth, the prediction of every method, and its errors."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from PIL import Image

from bench.data.items import IGNORE
from bench.files import file_sha256
from bench.report.compare.comparison import Comparison, make_comparisons
from bench.report.plots.cache import FigureCache
from bench.report.plots.picture_choice import WIDEST, Choice, Shown, choose_pictures
from bench.report.plots.sheet import REPORT, Sheet, letters, values_only, wrap_name
from bench.report.plots.style import (
    Series,
    assign,
    class_colour,
    legend_below,
    records_kept,
    release,
    save,
    settle,
    style,
)
from bench.report.records.columns import DICE
from bench.report.records.rows import Row
from bench.wording import counted

Pixels = npt.NDArray[Any]
Lookup = Callable[[str], tuple[Pixels, Pixels]]  # item -> image (H, W, 3) uint8, mask (H, W)

# Pixels of a wrong class: foreground taken for another class, background for a class, or a class
# for background.
ERRORS = {"wrong class": "#AA3377", "false positive": "#EE7733", "false negative": "#0077BB"}
SIDE = 1024  # px, longest that a report draws
PAPER_SIDE = 4096  # px, longest that a figure for a paper draws
_PICTURE = 1.7  # side of a picture in a report, in inches
_LEAST = 0.62  # least side, in inches of a report
_DPI = 150, 300  # dots per inch of a report: the most that its pixels need, within these limits


@records_kept()
def write_gallery(
    frame: pd.DataFrame,
    predictions: Path,
    images: Mapping[str, Lookup],
    folder: Path,
    comparisons: Sequence[Comparison] | None = None,
    pause: Callable[[], None] = lambda: None,
    cache: FigureCache | None = None,
) -> list[Path]:
    """Write `<slug>_gallery.png` of each comparison for which `draw_gallery` gives a figure.

    Args:
        frame: of `to_frame`.
        predictions: holds `<cell id>/<item name>.png`, label maps of the size of the image.
        images: name of the dataset of the test images to a function from item name to image and
            mask. Comparisons of other datasets have no gallery.
        folder: is created if needed; files of the same names are replaced.
        comparisons: of the frame; None: they are made here.
        pause: called before each figure is drawn; it may wait.
        cache: a gallery that it finds in the folder is not drawn, and its images are not asked for;
            None to draw all.

    Returns:
        The files.

    Raises:
        UserError: a file cannot be written, or as `images` raise.
        OSError: a prediction cannot be read.
        ValueError: a prediction has another size than its mask.
    """
    comparisons = make_comparisons(frame) if comparisons is None else comparisons
    looks = assign(frame, [row for one in comparisons for row in one.rows])
    written: list[Path] = []
    for one in comparisons:
        name = f"{one.slug}_gallery"
        if (choice := choose_pictures(one, predictions)) is None:
            continue  # asking for images can take seconds
        contents = None if cache is None else _contents(one, looks, choice, cache)
        files = None if cache is None else cache.find(name, contents, folder)
        if files is None and (lookup := images.get(one.test_images)) is not None:
            pause()
            with style():
                figure = _draw(one, looks, choice, lookup)
                files = save(figure, folder / name, vector=False)
            release(figure)
            if cache is not None:
                cache.note(name, contents, files)
        written += files or []
    return written


def _contents(
    comparison: Comparison, looks: Mapping[Row, Series], choice: Choice, cache: FigureCache
) -> list[Any]:
    """All that a gallery shows; that the images are those of the records is checked elsewhere."""
    maps = [file_sha256(run.files[name]) for run in choice.runs.values() for name in choice.names]
    names = [looks[row].name for row in comparison.rows]
    return [cache.records_of(comparison), names, choice.by_role, choice.left_out, maps]


def draw_gallery(
    comparison: Comparison,
    looks: Mapping[Row, Series],
    predictions: Path,
    lookup: Lookup,
    sheet: Sheet = REPORT,
) -> Figure | None:
    """Draw the test images with the highest, the middle and the lowest mean Dice of the shown runs.

    For each image, the upper line shows the predictions, the lower line their errors in the colours
    of `ERRORS`. Shown are the first rows of the table that have predictions, as many as fit, each
    by one run (`shown_run`). With fewer than three images, fewer are shown. The resolution
    (`Figure.dpi`) is that of the largest picture, in a report within `_DPI`.

    Args:
        comparison: of one table.
        looks: name of each row.
        predictions: holds `<cell id>/<item name>.png`, label maps of the size of the image.
        lookup: from item name to image and mask.
        sheet: size of the figure.

    Returns:
        The figure; None if no row has predictions, or no image of which all shown runs have
        predictions has a Dice.

    Raises:
        OSError: a prediction cannot be read.
        ValueError: a prediction has another size than its mask.
    """
    fit = WIDEST if sheet.width is None else int(sheet.room(0) / _LEAST) - 2
    choice = choose_pictures(comparison, predictions, max(1, fit))
    return None if choice is None else _draw(comparison, looks, choice, lookup, sheet)


def _draw(
    comparison: Comparison,
    looks: Mapping[Row, Series],
    choice: Choice,
    lookup: Lookup,
    sheet: Sheet = REPORT,
) -> Figure:
    runs, names = choice.runs, choice.by_role
    side = SIDE if sheet.width is None else PAPER_SIDE
    drawn = [_read(name, list(runs.values()), lookup, side) for name in names.values()]
    columns = 2 + len(runs)
    natural = _PICTURE * columns
    wide = min(_PICTURE, sheet.room(natural) / columns)  # of a picture
    room = letters(wide, 9)
    names_of = [looks[row].name for row in runs]
    fitting = [name if len(name) <= 2 * room else values_only(name) for name in names_of]
    titles = [wrap_name(name, room, 3) for name in fitting]
    line = 0.16 * (2 + max(title.count("\n") for title in titles))
    tall = sum(2 * wide * mask.shape[0] / mask.shape[1] + line + 0.1 for _, mask, _ in drawn)
    handles = _legend(comparison, choice)
    below = 0.25 + 0.21 * -(-len(handles) // max(1, int(sheet.room(natural) / 2.4)))
    pad = sheet.pt(0.02)
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=0, hspace=0)
    figure = sheet.figure(natural, tall + below, layout)
    grid = figure.subplots(2 * len(names), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for position, (role, name) in enumerate(names.items()):
        image, mask, predicted_by = drawn[position]
        upper, lower = grid[2 * position], grid[2 * position + 1]
        _show(upper[0], image, wrap_name(f"{role}: {name}", letters(wide, 9), 3), sheet)
        _show(upper[1], _coloured(image, mask), "truth", sheet)
        for column, run in enumerate(runs.values(), start=2):
            predicted = predicted_by[column - 2]
            score = f"Dice {DICE.format(run.dice.get(name))}\u00a0{DICE.unit}"
            _show(
                upper[column], _coloured(image, predicted), f"{titles[column - 2]}\n{score}", sheet
            )
            _show(lower[column], _errors(image, mask, predicted), "", sheet)
    legend_below(figure, handles, columns=6)
    settle(figure, sheet.passes)
    first, shape = grid[0, 0], drawn[0][1].shape
    pixels = figure.dpi * shape[1] / first.get_window_extent().width  # needed per inch
    figure.dpi = min(max(_DPI[0], pixels), _DPI[1]) if sheet.width is None else max(300, pixels)
    return figure


def _legend(comparison: Comparison, choice: Choice) -> list[Patch]:
    """Colours of classes and errors, and how many rows are not shown."""
    classes = next(iter(choice.runs)).column("classes").iloc[0]
    patches = [
        Patch(color=class_colour(k), label=wrap_name(label, 28))
        for k, label in enumerate(classes)
        if k > 0
    ]
    kinds = ERRORS if len(patches) > 1 else {k: ERRORS[k] for k in list(ERRORS)[1:]}
    patches += [Patch(color=colour, label=f"{kind} (lower rows)") for kind, colour in kinds.items()]
    rest = len(comparison.rows) - choice.left_out - len(choice.runs)
    for count, reason in (
        (choice.left_out, "not shown"),
        (rest, "without stored predictions"),
    ):
        if count:
            patches.append(Patch(color="none", label=f"{reason}: {counted(count, 'method')}"))
    return patches


def _read(
    name: str, runs: Sequence[Shown], lookup: Lookup, side: int
) -> tuple[Pixels, Pixels, list[Pixels]]:
    """An image, its mask and the prediction of each run, as they are drawn."""
    image, mask = lookup(name)
    maps = [thin(read_labels(run.files[name], mask), side) for run in runs]
    return thin(image, side), thin(mask, side), maps


def thin(pixels: Pixels, side: int = SIDE) -> Pixels:
    """Every n-th row and column of an image or class map, so that no side is longer than `side`.

    The result does not share the memory of larger pixels.
    """
    step = -(-max(pixels.shape[:2]) // side)
    top, left = (min(step // 2, length - 1) for length in pixels.shape[:2])
    return pixels if step == 1 else pixels[top::step, left::step].copy()


def read_labels(file: Path, mask: Pixels) -> Pixels:
    """Read a stored class map (H, W), and check that it has the size of its mask.

    Args:
        file: a PNG with class indices; the classes are not checked.
        mask: (H, W).

    Raises:
        OSError: the file cannot be read.
        ValueError: the sizes differ.
    """
    with Image.open(file) as opened:
        predicted = np.asarray(opened)
    if predicted.shape != mask.shape:
        raise ValueError(f"{file} is {predicted.shape}, its mask {mask.shape}; they must agree")
    return predicted


def _coloured(image: Pixels, labels: Pixels) -> Pixels:
    """The image with classes past 0 tinted; (H, W, 3) uint8."""
    shown = _grey(image)
    for label in np.unique(labels):
        if label not in (0, IGNORE):
            where = labels == label
            shown[where] = 0.35 * shown[where] + 0.65 * _rgb(class_colour(int(label)))
    return shown


def kinds_of_errors(mask: Pixels, predicted: Pixels) -> Pixels:
    """For each pixel (H, W) uint8 the position in `ERRORS` of its error, from 1; 0 without one."""
    wrong = (mask != predicted) & (mask != IGNORE)
    kinds = np.where(mask == 0, 2, np.where(predicted == 0, 3, 1))
    return np.where(wrong, kinds, 0).astype(np.uint8)


def _errors(image: Pixels, mask: Pixels, predicted: Pixels) -> Pixels:
    shown = 102 + _grey(image) // 5 * 3
    kinds = kinds_of_errors(mask, predicted)
    for kind, colour in enumerate(ERRORS.values(), 1):
        shown[kinds == kind] = _rgb(colour)
    return shown


def _rgb(colour: str) -> Pixels:
    return 255 * np.array(to_rgb(colour))


def _grey(image: Pixels) -> Pixels:
    """Brightness in all three channels; (H, W, 3) uint8."""
    return np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)


def _show(axes: Axes, picture: Pixels, title: str, sheet: Sheet) -> None:
    axes.imshow(picture, interpolation="none")  # PDF and SVG hold the pixels as they are
    axes.set_title(title, fontsize=sheet.pt(9))
