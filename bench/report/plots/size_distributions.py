"""How many objects of each size each row finds in a test image, next to the truth."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.report.compare.comparison import Comparison
from bench.report.compare.size_distributions import SizeDistribution, size_distributions
from bench.report.plots.style import FAINT, INK, Series, legend_below
from bench.report.records.rows import Row

COLUMNS = 4  # panels next to each other
_TITLE = 34  # characters of a title that fit above a panel


def draw_size_distributions(comparison: Comparison, looks: Mapping[Row, Series]) -> Figure | None:
    """Draw histograms of the equivalent diameters of single objects, a panel for each row.

    Each class has panels of its own. Rows are in the order of the table; those whose records hold
    no sizes of single objects are left out.

    Args:
        comparison: of one table.
        looks: look of each row.

    Returns:
        The figure; None if no row has sizes of single objects.
    """
    drawn = [(row, one) for row in comparison.rows for one in size_distributions(row)]
    if not drawn:
        return None
    classes = list(dict.fromkeys(one.name for _, one in drawn))
    drawn.sort(key=lambda pair: classes.index(pair[1].name))  # stable: rows keep their order
    columns = min(len(drawn), COLUMNS)
    lines = -(-len(drawn) // columns)
    size = max(5.0, 1 + 3.2 * columns), 1.4 + 2.3 * lines
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(textwrap.fill(comparison.title, int(11 * size[0])), fontsize=12)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).flatten()
    for axes in panels[len(drawn) :]:
        axes.set_axis_off()
    limits = _limits([one for _, one in drawn])
    for axes, (row, one) in zip(panels, drawn, strict=False):
        _draw_panel(axes, one, looks[row].colour)
        named = [looks[row].name, *([one.name] if len(classes) > 1 else [])]
        axes.set_title("\n".join(_shortened(part) for part in named), fontsize=10)
        axes.set_ylim(0, limits[one.name])
    panels[0].set_xlim(
        min(one.edges[0] for _, one in drawn), max(one.edges[-1] for _, one in drawn)
    )
    for axes in panels[max(0, len(drawn) - columns) : len(drawn)]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("equivalent diameter (px)")
        axes.xaxis.label.set_visible(True)
    figure.supylabel("objects in an image", fontsize=10)
    marks = [Patch(color=FAINT), Patch(facecolor="none", edgecolor=INK, linewidth=1.6)]
    legend_below(figure, marks, ["truth", "prediction"])
    return figure


def _draw_panel(axes: Axes, one: SizeDistribution, colour: str) -> None:
    """The truth is an area, the prediction a line, in the same bins."""
    centres = np.sqrt(one.edges[:-1] * one.edges[1:])
    bins = list(np.log10(one.edges))  # seaborn takes edges on the scale of the axis
    for counts, look in (
        (one.truth, {"fill": True, "color": FAINT, "alpha": 1.0, "linewidth": 0}),
        (one.prediction, {"fill": False, "color": colour, "linewidth": 1.6}),
    ):
        frame = pd.DataFrame({"diameter": centres, "objects": counts})
        seaborn.histplot(
            frame,
            x="diameter",
            weights="objects",
            bins=bins,
            element="step",
            log_scale=True,
            ax=axes,
            **look,
        )
    axes.set(xlabel="", ylabel="")
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _limits(drawn: Sequence[SizeDistribution]) -> dict[str, float]:
    """The largest number of each class and a little more: its panels have the same scale."""
    limits: dict[str, float] = {}
    for one in drawn:
        top = 1.05 * max(one.truth.max(), one.prediction.max())
        limits[one.name] = max(limits.get(one.name, 0), top)
    return limits


def _shortened(text: str) -> str:
    return text if len(text) <= _TITLE else text[: _TITLE - 3] + "..."
