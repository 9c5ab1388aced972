"""Pictures of test images: the truth, the prediction of every method, and its errors."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
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
from bench.report.plots.style import (
    Series,
    assign,
    class_colour,
    records_kept,
    release,
    save,
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
WIDEST = 10  # methods side by side
SIDE = 1024  # px, longest that is drawn: matplotlib holds 40 bytes for each pixel of each picture


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
    comparison: Comparison, looks: Mapping[Row, Series], choice: "Choice", cache: FigureCache
) -> list[Any]:
    """All that a gallery shows; that the images are those of the records is checked elsewhere."""
    maps = [file_sha256(run.files[name]) for run in choice.runs.values() for name in choice.names]
    names = [looks[row].name for row in comparison.rows]
    return [cache.records_of(comparison), names, choice.by_role, choice.left_out, maps]


def draw_gallery(
    comparison: Comparison, looks: Mapping[Row, Series], predictions: Path, lookup: Lookup
) -> Figure | None:
    """Draw the test images with the highest, the middle and the lowest mean Dice of the shown runs.

    For each image, the upper line shows the predictions, the lower line their errors in red. Shown
    are the first `WIDEST` rows of the table that have predictions, each by one run (`shown_run`).
    With fewer than three images, fewer are shown.

    Args:
        comparison: of one table.
        looks: name of each row.
        predictions: holds `<cell id>/<item name>.png`, label maps of the size of the image.
        lookup: from item name to image and mask.

    Returns:
        The figure; None if no row has predictions, or no image of which all shown runs have
        predictions has a Dice.

    Raises:
        OSError: a prediction cannot be read.
        ValueError: a prediction has another size than its mask.
    """
    choice = choose_pictures(comparison, predictions)
    return None if choice is None else _draw(comparison, looks, choice, lookup)


@dataclass(frozen=True)
class Choice:
    """What a gallery shows.

    Attributes:
        runs: the run of each shown row.
        by_role: "best", "median" and "worst" to the name of an item, as far as there are any.
        left_out: number of rows with predictions that are not shown.
    """

    runs: Mapping[Row, "Shown"]
    by_role: Mapping[str, str]
    left_out: int

    @property
    def names(self) -> list[str]:
        """The names of the items."""
        return list(self.by_role.values())


def choose_pictures(comparison: Comparison, predictions: Path) -> Choice | None:
    """Choose runs and images for a gallery, see `draw_gallery`; None if it has nothing to show."""
    kept = {row: run for row in comparison.rows if (run := shown_run(row, predictions)) is not None}
    runs = dict(islice(kept.items(), WIDEST))
    names = choose(list(runs.values()), ("best", "median", "worst"))
    return Choice(runs, names, len(kept) - len(runs)) if names else None


def _draw(
    comparison: Comparison, looks: Mapping[Row, Series], choice: Choice, lookup: Lookup
) -> Figure:
    runs, names = choice.runs, choice.by_role
    drawn = [_read(name, list(runs.values()), lookup) for name in names.values()]
    tall = sum(2 * 1.7 * mask.shape[0] / mask.shape[1] + 0.5 for _, mask, _ in drawn)
    figure = Figure(
        figsize=(1.7 * (2 + len(runs)), tall + 0.5),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0),
    )
    grid = figure.subplots(2 * len(names), 2 + len(runs), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for position, (role, name) in enumerate(names.items()):
        image, mask, predicted_by = drawn[position]
        upper, lower = grid[2 * position], grid[2 * position + 1]
        _show(upper[0], image, f"{role}: {name}")
        _show(upper[1], _coloured(image, mask), "truth")
        for column, (row, run) in enumerate(runs.items(), start=2):
            predicted = predicted_by[column - 2]
            title = f"{_wrap(looks[row].name)}\nDice {DICE.format(run.dice.get(name))} {DICE.unit}"
            _show(upper[column], _coloured(image, predicted), title)
            _show(lower[column], _errors(image, mask, predicted), "")
    classes = next(iter(runs)).column("classes").iloc[0]
    patches = [
        Patch(color=class_colour(k), label=label) for k, label in enumerate(classes) if k > 0
    ]
    kinds = ERRORS if len(patches) > 1 else {k: ERRORS[k] for k in list(ERRORS)[1:]}
    errors = [Patch(color=colour, label=f"{kind} (lower rows)") for kind, colour in kinds.items()]
    handles = [*patches, *errors]
    for count, reason in (
        (choice.left_out, "not shown"),
        (len(comparison.rows) - choice.left_out - len(runs), "without stored predictions"),
    ):
        if count:
            handles.append(Patch(color="none", label=f"{reason}: {counted(count, 'method')}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return figure


def _read(
    name: str, runs: Sequence["Shown"], lookup: Lookup
) -> tuple[Pixels, Pixels, list[Pixels]]:
    """An image, its mask and the prediction of each run, as they are drawn."""
    image, mask = lookup(name)
    return thin(image), thin(mask), [thin(read_labels(run.files[name], mask)) for run in runs]


def thin(pixels: Pixels) -> Pixels:
    """Every n-th row and column of an image or class map, so that no side is longer than `SIDE`.

    The result does not share the memory of larger pixels.
    """
    step = -(-max(pixels.shape[:2]) // SIDE)
    return pixels if step == 1 else pixels[step // 2 :: step, step // 2 :: step].copy()


@dataclass(frozen=True)
class Shown:
    """The run that is shown for a row.

    Attributes:
        files: the stored label maps, by item name; perhaps not of every test image.
        dice: Dice (0 to 1) of each test image, by item name; None where it is not defined.
    """

    files: Mapping[str, Path]
    dice: Mapping[str, float | None]


def shown_run(row: Row, predictions: Path) -> Shown | None:
    """Return the run with the lowest seed (then fold) that has any prediction; None without one.

    Args:
        row: only its successful runs count.
        predictions: holds `<cell id>/<item name>.png`.
    """
    runs = zip(row.column("cell"), row.column("per_image"), strict=True)
    for cell, images in sorted(runs, key=lambda run: (run[0].seed, run[0].fold)):
        files = {file.stem: file for file in sorted((predictions / cell.id).glob("*.png"))}
        if files:
            return Shown(files, {image["name"]: image["dice"] for image in images})
    return None


def choose(runs: Sequence[Shown], roles: Sequence[str]) -> dict[str, str]:
    """Choose one image for each role, among those that all runs have predictions of.

    Args:
        runs: the shown runs.
        roles: of "best", "median" and "worst" (by the mean Dice over the runs that have one) and
            "most disputed" (by its standard deviation, an image without another role; only with two
            runs or more). Of roles with the same image, the first gets it.

    Returns:
        Role to item name, no item twice; fewer where there are fewer images. Empty if there are no
        runs, no images in common, or none of these has a Dice.
    """
    common = set.intersection(*(set(run.files) for run in runs)) if runs else set()
    scores = [
        (name, dice)
        for run in runs
        for name, dice in run.dice.items()
        if name in common and dice is not None
    ]
    if not scores:
        return {}
    by_name = pd.DataFrame(scores, columns=["name", "dice"]).groupby("name")["dice"]
    means, spreads = (
        [str(name) for name in ranking.sort_values(ascending=False, kind="stable").index]
        for ranking in (by_name.mean(), by_name.std(ddof=0))
    )
    candidates = {
        "best": means[:1],
        "median": means[len(means) // 2 :][:1],
        "worst": means[-1:],
        "most disputed": spreads if len(runs) > 1 else [],
    }
    chosen: dict[str, str] = {}
    for role in roles:
        left = [name for name in candidates[role] if name not in chosen.values()]
        if left:
            chosen[role] = left[0]
    return chosen


def _wrap(name: str) -> str:
    """The name in lines that fit above a picture, with line breaks after commas."""
    return textwrap.fill(name.replace(",", ", "), 24, break_long_words=False)


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
    """The image with classes past 0 tinted; (H, W, 3) float in [0, 1]."""
    shown = _grey(image)
    for label in np.unique(labels):
        if label not in (0, IGNORE):
            where = labels == label
            shown[where] = 0.35 * shown[where] + 0.65 * np.array(to_rgb(class_colour(int(label))))
    return shown


def kinds_of_errors(mask: Pixels, predicted: Pixels) -> Pixels:
    """For each pixel (H, W) uint8 the position in `ERRORS` of its error, from 1; 0 without one."""
    wrong = (mask != predicted) & (mask != IGNORE)
    kinds = np.where(mask == 0, 2, np.where(predicted == 0, 3, 1))
    return np.where(wrong, kinds, 0).astype(np.uint8)


def _errors(image: Pixels, mask: Pixels, predicted: Pixels) -> Pixels:
    shown = 0.4 + 0.6 * _grey(image)
    kinds = kinds_of_errors(mask, predicted)
    for kind, colour in enumerate(ERRORS.values(), 1):
        shown[kinds == kind] = to_rgb(colour)
    return shown


def _grey(image: Pixels) -> Pixels:
    """Brightness in all three channels; (H, W, 3) float in [0, 1]."""
    return np.repeat(image.mean(axis=2, keepdims=True) / 255.0, 3, axis=2)


def _show(axes: Axes, picture: Pixels, title: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, fontsize=9)
