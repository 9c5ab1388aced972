"""A picture of what an augmentation makes of some training images."""

import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from bench.data.bank import KINDS, Bank, Views
from bench.data.decode import decode
from bench.data.fit import FITS
from bench.data.items import IGNORE, Collection, Item
from bench.data.split import split
from bench.errors import UserError
from bench.report.plots.style import FAINT, class_colour, save, style

Pixels = npt.NDArray[Any]
_SIDE = 1.7  # of a picture, in inches
_LETTERS = 9  # of the title, in an inch
_NARROWEST = 5.0  # of a figure, in inches: room for the title and the legend


def write_preview(
    collection: Collection,
    kind: str,
    size: int,
    seed: int,
    path: Path,
    *,
    images: int = 4,
    views: int = 6,
    fit: str = "square",
) -> Path:
    """Write a PNG: a row for each image, the whole of it first, then views as training sees them.

    The images are spread evenly over the training part of the default split; their views are the
    first that a bank of these images alone holds, without whole images.

    Args:
        collection: what the images are taken from.
        kind: one of `bench.data.bank.KINDS`.
        size: side in pixels of the square views.
        seed: of the views, not of the split.
        path: of the picture, ending in ".png"; its folder is created if needed.
        images: at most this many rows.
        views: at most this many views next to the whole image, fewer where the kind has fewer.
        fit: how images become squares, in `bench.data.fit.FITS`; padding is pale, as pixels without
            label are.

    Returns:
        The file.

    Raises:
        UserError: there is no such kind or fit, another ending, a size below 1, the collection
            cannot be split or read, or the file cannot be written.
    """
    if path.suffix != ".png":
        raise UserError(f"a preview is a PNG, not '{path.name}': give a name that ends in .png")
    if size < 1:
        raise UserError(f"views of {size} px are none: give a side of 1 px or more")
    items = _spread(split(collection).train, images)
    pairs = [decode(item, collection) for item in items]
    make = partial(Views, pairs, size=size, seed=seed, fit=fit)
    whole = make(views=0, kind="none").draw()
    bank = make(views=(views + 1) * len(items), kind=kind).draw()
    with style():
        figure = draw_preview(collection, kind, items, whole, _without(bank, whole, views), fit)
        (written,) = save(figure, path.with_suffix(""), vector=False)
    return written


def draw_preview(
    collection: Collection,
    kind: str,
    items: list[Item],
    whole: Bank,
    views: Bank,
    fit: str = "square",
) -> Figure:
    """Draw a grid of pictures with the outlines of the classes, one row for each image.

    Args:
        collection: gives the names of the classes.
        kind: one of `bench.data.bank.KINDS`, shown in the title.
        items: R images, whose names are shown.
        whole: the R whole images.
        views: R x N views; view n of image r is row n R + r.
        fit: in `bench.data.fit.FITS`, shown in the title if it is not "square".

    Raises:
        KeyError: there is no such kind or fit.
    """
    rows, columns = len(items), 1 + len(views) // len(items)
    wide = max(_SIDE * columns, _NARROWEST)
    title = f"{collection.name}, augmentation '{kind}': {KINDS[kind].text}"
    if fit != "square":
        title += f"; fit '{fit}': {FITS[fit]}"
    lines = textwrap.wrap(title, round(_LETTERS * wide))
    figure = Figure(
        figsize=(wide, _SIDE * rows + 0.6 + 0.17 * len(lines)),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0),
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for row, item in enumerate(items):
        _show(grid[row, 0], whole.images[row], whole.masks[row])
        grid[row, 0].set_ylabel(textwrap.shorten(item.name, 22, placeholder="…"), fontsize=9)
        for column in range(1, columns):
            view = (column - 1) * rows + row
            _show(grid[row, column], views.images[view], views.masks[view])
    for column, axes in enumerate(grid[0]):
        axes.set_title(f"view {column}" if column else "whole image", fontsize=9)
    figure.suptitle("\n".join(lines), fontsize=10)
    classes = list(enumerate(collection.classes))[1:]
    handles = [Patch(color=class_colour(index), label=name) for index, name in classes]
    if any((bank.masks == IGNORE).any() for bank in (whole, views)):
        padding = " or padding" if fit == "pad" else ""
        handles.append(Patch(color=FAINT, label=f"not labelled{padding} (pale)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, 5))
    return figure


def _spread(items: tuple[Item, ...], count: int) -> list[Item]:
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def _without(bank: Bank, whole: Bank, views: int) -> Bank:
    """At most so many views of each image, without the first where these are the whole images."""
    rows = len(whole)
    first = rows if np.array_equal(bank.images[:rows], whole.images) else 0
    kept = slice(first, first + views * rows)
    return Bank(bank.images[kept], bank.masks[kept])


def _show(axes: Axes, image: Pixels, mask: Pixels) -> None:
    """The image, pale where it is not labelled, with the outline of every class but the first."""
    shown = image / 255.0
    shown[mask == IGNORE] = 0.4 * shown[mask == IGNORE] + 0.6
    axes.imshow(shown, interpolation="nearest")
    for label in np.unique(mask):
        if label not in (0, IGNORE) and (mask != label).any():
            axes.contour(mask == label, levels=[0.5], colors=[class_colour(label)], linewidths=0.9)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
