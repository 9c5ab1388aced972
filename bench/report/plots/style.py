"""One look for all figures: a colour and shape for every method, readable text, equal files."""

import gc
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import pandas as pd
import seaborn
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bench.files import write_atomic
from bench.report.plots.families import look_of
from bench.report.plots.sheet import FONT, printable, wrap_name
from bench.report.records.rows import Row
from bench.wording import counted

# Class 0 is shown as it is; further classes in Okabe and Ito's colours.
_CLASSES = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
# The same lines as seaborn takes them: lengths of dash and gap, in widths of the line.
_DASHES: Mapping[str, str | tuple[float, ...]] = {
    "-": "",
    "--": (3.7, 1.6),
    ":": (1, 1.65),
    "-.": (6.4, 1.6, 1, 1.6),
}

HIGHLIGHTED = 10  # rows of a figure that have their own look; the others are grey
GREY = "#B5B5B5"
INK = "#333333"
FAINT = "#BBBBBB"

_RC = {
    "font.family": FONT,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "figure.dpi": 150,  # as PNGs have: the layout is that of their letters
    "svg.hashsalt": "sam-adapt-bench",
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3, and text stays text
    "ps.fonttype": 42,
}
# Settings in points, which follow the scale of a sheet.
_SIZES = (
    *("font.size", "axes.titlesize", "axes.labelsize", "legend.fontsize"),
    *("lines.linewidth", "lines.markersize", "lines.markeredgewidth", "patch.linewidth"),
    *("axes.linewidth", "grid.linewidth", "axes.labelpad", "axes.titlepad"),
    *(f"{axis}tick.major.{part}" for axis in "xy" for part in ("size", "width", "pad")),
    *(f"{axis}tick.minor.{part}" for axis in "xy" for part in ("size", "width", "pad")),
)
# What a file would say of its origin and time is left out: equal figures give equal files.
_UNSAID: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


@dataclass(frozen=True)
class Series:
    """How a row looks in every figure of the report.

    Attributes:
        name: the label, with the backbone if the report has several, the weights if they are not
            the pretrained ones, and the prompt origin if there are prompts; the label alone for
            methods trained from scratch.
        colour: as "#RRGGBB".
        marker: of matplotlib, such as "o".
        line: of matplotlib, such as "--".
    """

    name: str
    colour: str
    marker: str
    line: str

    @property
    def dashes(self) -> str | tuple[float, ...]:
        """The line as seaborn takes it: dashes and gaps in widths of the line; "" if solid."""
        return _DASHES[self.line]

    @property
    def ink(self) -> tuple[float, float, float]:
        """The colour as red, green and blue in [0, 1], darkened for text on white if needed."""
        red, green, blue = to_rgb(self.colour)
        brightness = 0.299 * red + 0.587 * green + 0.114 * blue
        share = min(1.0, 0.42 / brightness)
        return red * share, green * share, blue * share


def assign(frame: pd.DataFrame, rows: Sequence[Row]) -> Mapping[Row, Series]:
    """Return a look for every row; rows with the same name have the same look in all figures.

    The look follows from method and name alone (`look_of`), not from other rows of the report.

    Args:
        frame: of all records of the report.
        rows: of all comparisons.
    """
    several = len(set(frame["backbone"]) - {"none"}) > 1
    names = {row: _name(row, several) for row in rows}
    return {row: Series(name, *look_of(row.cells[0].method, name)) for row, name in names.items()}


def highlight(rows: Sequence[Row], looks: Mapping[Row, Series]) -> dict[Row, Series]:
    """Return looks in which the first `HIGHLIGHTED` names keep theirs, and the others are grey.

    Args:
        rows: the rows of a figure, the most important first.
        looks: look of each row.
    """
    first = list(dict.fromkeys(looks[row].name for row in rows))[:HIGHLIGHTED]
    return {
        row: looks[row] if looks[row].name in first else replace(looks[row], colour=GREY)
        for row in rows
    }


def grey_note(looks: Mapping[Row, Series]) -> str | None:
    """Return the entry of a legend for the rows that `highlight` made grey; None without any."""
    grey = {look.name for look in looks.values() if look.colour == GREY}
    return f"grey: {counted(len(grey), 'other')}, in the table" if grey else None


def class_colour(label: int) -> str:
    """Return the colour of a class as "#RRGGBB".

    With more than 8 classes, the colours repeat, without that of class 0.

    Args:
        label: class index, from 0.
    """
    return _CLASSES[label if label < len(_CLASSES) else 1 + (label - 1) % (len(_CLASSES) - 1)]


def style(scale: float = 1.0) -> AbstractContextManager[None]:
    """Return a context in which figures have the style of the report.

    Args:
        scale: of letters, lines and marks, as in `Sheet`.
    """
    look: dict[str, Any] = {**seaborn.axes_style("whitegrid"), **_RC}
    if scale != 1.0:
        defaults = cast(dict[str, Any], mpl.rcParamsDefault)
        look |= {key: scale * look.get(key, defaults[key]) for key in _SIZES}
    return mpl.rc_context(cast(Any, look))  # the stubs list every key as a literal


def settle(figure: Figure, passes: int = 1) -> None:
    """Compute the layout of a figure and fix it: drawing is faster afterwards and moves nothing.

    The figure gets a canvas for pixels (Agg) and loses its layout engine.

    Args:
        figure: with a layout engine.
        passes: how often the layout is computed. Ticks can change with the size of a panel: with
            two, the layout is that of the final ones.
    """
    FigureCanvasAgg(figure)
    for _ in range(passes):
        figure.draw_without_rendering()
    figure.set_layout_engine(None)  # with "none", each file would cost one more pass of drawing


def legend_below(
    figure: Figure, handles: Sequence[Artist] | None = None, columns: int = 4, **looks: Any
) -> None:
    """Add a legend below all panels, with as many columns as fit into the width of the figure.

    With one column, names that do not fit have several lines.

    Args:
        figure: gets the legend.
        handles: with labels; None: those of all panels.
        columns: largest number of columns.
        looks: keyword arguments of `Figure.legend`.
    """
    if handles is not None:
        for handle in handles:
            handle.set_label(printable(str(handle.get_label())))
        looks["handles"] = handles
    room = 0.97 * figure.bbox.width
    for count in range(columns, 0, -1):
        legend = figure.legend(loc="outside lower center", ncols=count, **looks)
        wide = legend.get_window_extent().width
        if wide <= room:
            return
        if count > 1:
            legend.remove()
    texts = [(text, text.get_window_extent().width) for text in legend.get_texts()]
    left = room - wide + max(width for _, width in texts)
    for text, width in texts:
        if width > left:
            shown = text.get_text()
            text.set_text(wrap_name(shown, int(len(shown) * left / width)))


def save(figure: Figure, path: Path, *, vector: bool = True) -> list[Path]:
    """Write `path`.png and `path`.svg, byte for byte the same for the same figure.

    This holds inside `style()`, with the same version of matplotlib.

    Args:
        figure: its layout is fixed here.
        path: without suffix; its folder is created if needed.
        vector: False for pictures made of pixels, for which no SVG is written.

    Returns:
        The files.

    Raises:
        UserError: a file cannot be written.
    """
    settle(figure)
    kinds = ("png", "svg") if vector else ("png",)
    return [save_as(figure, path.with_name(f"{path.name}.{kind}"), kind) for kind in kinds]


def save_as(figure: Figure, file: Path, kind: str) -> Path:
    """Write one file of a figure, whose layout is fixed, and return its path.

    Args:
        figure: after `settle`; its `dpi` are those of a PNG.
        file: its folder is created if needed.
        kind: "png", "svg" or "pdf", whatever the name of the file is.

    Raises:
        UserError: the file cannot be written.
    """
    written = io.BytesIO()
    figure.savefig(written, format=kind, dpi=figure.dpi, metadata=dict(_UNSAID[kind]))
    return write_atomic(file, written.getvalue())


@contextmanager
def records_kept() -> Iterator[None]:
    """Let `release` pass over all objects that exist now, such as records and modules."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def release(figure: Figure | None) -> None:
    """Free the memory of a figure that is not needed any more; None is passed over.

    The parts of a figure refer to each other, so that hundreds of figures can be in memory until
    Python looks for such circles.
    """
    if figure is not None:
        figure.clear()
        gc.collect()


def _name(row: Row, several: bool) -> str:
    """The name of a row; with several backbones in the report, that of its backbone is in it."""
    if row.backbone == "none":
        return row.label  # from scratch: there is no model and there are no weights to name
    extra = [row.backbone] if several else []
    if row.weights != "pretrained":
        extra.append(row.weights)
    if row.prompts != "none":
        extra.append(row.prompts)
    return f"{row.label} ({', '.join(extra)})" if extra else row.label
