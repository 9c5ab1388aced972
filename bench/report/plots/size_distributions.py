"""How many objects of each size each row finds in a test image, next to the truth."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.report.compare.comparison import Comparison
from bench.report.compare.size_distributions import SizeDistribution, size_distributions
from bench.report.plots.sheet import REPORT, Sheet, letters, wrap_name
from bench.report.plots.style import FAINT, INK, Series, legend_below
from bench.report.records.rows import Row

COLUMNS = 4  # panels next to each other


def draw_size_distributions(
    comparison: Comparison, looks: Mapping[Row, Series], sheet: Sheet = REPORT
) -> Figure | None:
    """Draw histograms of the equivalent diameters of single objects, a panel for each row.

    Each class has panels of its own. Rows are in the order of the table; those whose records hold
    no sizes of single objects are left out.

    Args:
        comparison: of one table.
        looks: look of each row.
        sheet: size of the figure.

    Returns:
        The figure; None if no row has sizes of single objects.
    """
    drawn = [(row, one) for row in comparison.rows for one in size_distributions(row)]
    if not drawn:
        return None
    classes = list(dict.fromkeys(one.name for _, one in drawn))
    drawn.sort(key=lambda pair: classes.index(pair[1].name))  # stable: rows keep their order
    most = min(len(drawn), COLUMNS)
    natural = max(5.0, 1 + 3.2 * most)
    columns = sheet.columns(most, 2.0, natural)
    lines = -(-len(drawn) // columns)
    figure = sheet.figure(natural, 1.4 + 2.3 * lines)
    sheet.title(figure, comparison.title)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).flatten()
    for axes in panels[len(drawn) :]:
        axes.set_axis_off()
    limits = _limits([one for _, one in drawn])
    for axes, (row, one) in zip(panels, drawn, strict=False):
        _draw_panel(axes, one, looks[row].colour, sheet)
        named = [looks[row].name, *([one.name] if len(classes) > 1 else [])]
        wide = letters(sheet.room(natural) / columns - 0.3)
        title = "\n".join(wrap_name(part, wide, 1) for part in named)
        axes.set_title(title, fontsize=sheet.pt(10))
        axes.set_ylim(0, limits[one.name])
    panels[0].set_xlim(
        min(one.edges[0] for _, one in drawn), max(one.edges[-1] for _, one in drawn)
    )
    for axes in panels[max(0, len(drawn) - columns) : len(drawn)]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(textwrap.fill("equivalent diameter (px)", wide))
        axes.xaxis.label.set_visible(True)
    figure.supylabel("objects in an image", fontsize=sheet.pt(10))
    line: dict[str, Any] = {"facecolor": "none", "edgecolor": INK, "linewidth": sheet.pt(1.6)}
    legend_below(figure, [Patch(color=FAINT, label="truth"), Patch(label="prediction", **line)])
    return figure


def _draw_panel(axes: Axes, one: SizeDistribution, colour: str, sheet: Sheet) -> None:
    """The truth is an area, the prediction a line, in the same bins."""
    centres = np.sqrt(one.edges[:-1] * one.edges[1:])
    bins = list(np.log10(one.edges))  # seaborn takes edges on the scale of the axis
    for counts, look in (
        (one.truth, {"fill": True, "color": FAINT, "alpha": 1.0, "linewidth": 0}),
        (one.prediction, {"fill": False, "color": colour, "linewidth": sheet.pt(1.6)}),
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
